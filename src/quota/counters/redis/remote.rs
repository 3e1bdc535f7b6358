//! The counters in Redis, asked directly: what each call is in messages to one shard or several.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::clock::Clock;
use super::super::{Books, CountersError, HoldState, Terms, Verdict};
use super::RedisSettings;
use super::books;
use super::link::{AddressError, Target};
use super::loading::record_name;
use super::message::{self, Malformed, Reader, Writer, join};
use super::news::Shared;
use super::places::{self, Asked, How, Part, Places};
use super::turns::{Answer, Message, Turns, unavailable};
use super::verdict::{NOTHING_LEFT, Said, heavier, said};
use crate::domain::{Account, Amount, Binding, CounterKey, Hold, HoldId, Money, Period, Progress, Record, Timestamp};

/// See the module.
pub(super) struct Remote {
    pub(super) turns: Arc<Turns>,
    pub(super) shared: Arc<Shared>,
    max_holds: u64,
    /// Gateways whose meters were heard of lately, where other shards must hear of them too.
    started: Mutex<HashSet<IpAddr>>,
}

impl Remote {
    pub(super) fn new(
        books: Arc<dyn Books>,
        settings: &RedisSettings,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Remote, AddressError> {
        let target = Target::new(&settings.url)?;
        let shards = if target.is_cluster() { settings.shards.max(1) } else { 1 };
        let shared = Arc::new(Shared::new(books, shards));
        let hear = {
            let shared = Arc::clone(&shared);
            Box::new(move |shard, news| shared.hear(shard, news))
        };
        let turns = Turns::new(target, &settings.prefix, shards, settings.timeout, clock, hear);
        Ok(Remote { turns: Arc::new(turns), shared, max_holds: settings.max_holds as u64, started: Mutex::default() })
    }

    /// Whether a shard of this hold does not answer.
    pub(super) fn is_down(&self, hold: &Hold) -> bool {
        self.places(hold).is_some_and(|places| places.parts.iter().any(|part| self.turns.is_down(part.shard)))
    }

    /// Gives a hold back in every shard, as if it had never been asked for.
    pub(super) async fn forget(&self, hold: &Hold) -> Result<(), CountersError> {
        let places = self.places(hold).ok_or_else(unplaced)?;
        self.undo(hold, &places.parts).await
    }

    /// Tells every shard of the meters that were heard of in any since the last time.
    pub(super) async fn tell_meters(&self) -> Result<(), CountersError> {
        let heard = std::mem::take(&mut *self.started.lock());
        for gateway in heard {
            let mut message = Writer::list(3);
            message.bytes("M").bytes(gateway.to_string()).int(self.turns.server_millis());
            self.ask_all(&message.take()).await?;
        }
        Ok(())
    }

    /// Where the counters of a binding lie.
    pub(super) fn places<'h>(&self, hold: &'h Hold) -> Option<&'h Places> {
        let shards = self.turns.shards();
        let places = hold.binding.places.get_or_init(|| Places::of(&hold.binding, shards))?;
        (places.shards() == shards).then_some(places)
    }

    pub(super) async fn ask(&self, shard: u32, message: impl Into<Message>) -> Result<Answer, CountersError> {
        self.turns.ask(shard, message.into()).await
    }

    /// Sends the same message to every shard; answers in their order.
    pub(super) async fn ask_all(&self, message: &[u8]) -> Result<Vec<Answer>, CountersError> {
        let asking = (0..self.turns.shards()).map(|shard| self.ask(shard, message.to_vec()));
        futures_util::future::join_all(asking).await.into_iter().collect()
    }

    /// Undoes an admission on the shards that gave it, since another one refused.
    async fn undo(&self, hold: &Hold, parts: &[Part]) -> Result<(), CountersError> {
        for part in parts {
            let mut message = Writer::list(3);
            message.bytes("L").bytes(hold.id.as_bytes()).bool(true);
            self.ask(part.shard, message.take()).await?;
        }
        Ok(())
    }

    /// Judges and charges in every shard of the hold, or in none; with [`How::Charge`] it took place already.
    pub(super) async fn admit(&self, hold: &Hold, terms: Terms, how: How) -> Result<Verdict, CountersError> {
        let places = self.places(hold).ok_or_else(unplaced)?;
        let gateway = terms.gateway.to_string();
        let mut asked =
            Asked { gateway: &gateway, meter_required: terms.meter_required, how, max_holds: self.max_holds };
        let mut remaining = Vec::with_capacity(hold.amounts.len());
        remaining.resize(hold.amounts.len(), NOTHING_LEFT);
        let mut refused: Option<Verdict> = None;
        for (at, part) in places.parts.iter().enumerate() {
            let mut in_full = false;
            let verdict = loop {
                let answer = self.ask(part.shard, part.admit(places, hold, &asked, in_full)).await;
                let verdict = answer.and_then(|answer| {
                    said(hold, part, answer, &mut remaining).map_err(unavailable).and_then(std::convert::identity)
                });
                match verdict {
                    Ok(Said::Unknown) if !in_full => in_full = true,
                    Ok(Said::Unknown) => break Err(unavailable(Malformed)),
                    Ok(Said::Admitted) => break Ok(None),
                    Ok(Said::Not(verdict)) => break Ok(Some(verdict)),
                    Err(error) => break Err(error),
                }
            };
            let verdict = match verdict {
                Ok(None) => continue,
                Ok(Some(verdict)) => verdict,
                Err(error) => {
                    if asked.how == How::Both {
                        // They end with their hold where this fails too.
                        let _ = self.undo(hold, &places.parts[..at]).await;
                    }
                    return Err(error);
                }
            };
            if asked.how == How::Both {
                self.undo(hold, &places.parts[..at]).await?;
                asked.how = How::Judge;
            }
            refused = Some(match refused {
                None => verdict,
                Some(known) => heavier(known, verdict),
            });
        }
        Ok(refused.unwrap_or(Verdict::Admitted { remaining }))
    }
}

fn state(code: i64) -> HoldState {
    match code {
        1 => HoldState::Held,
        2 => HoldState::Started,
        3 => HoldState::Settled,
        4 => HoldState::Expired,
        5 => HoldState::Released,
        _ => HoldState::Absent,
    }
}

pub(super) fn unplaced() -> CountersError {
    unavailable("this binding was placed by other counters")
}

impl Remote {
    pub(super) async fn start(
        &self,
        hold: &Arc<Hold>,
        gateway: IpAddr,
        progress: Progress,
    ) -> Result<HoldState, CountersError> {
        let places = self.places(hold).ok_or_else(unplaced)?;
        if self.turns.shards() > 1 {
            self.started.lock().insert(gateway);
        }
        let gateway = gateway.to_string();
        let mut found = HoldState::Absent;
        for (at, part) in places.parts.iter().enumerate() {
            let mut message = Writer::list(6);
            message.bytes("S").bytes(hold.id.as_bytes()).bytes(&gateway);
            write_progress(progress, &mut message);
            let mut answer = self.ask(part.shard, message.take()).await?;
            if at == 0 {
                found = state(answer.said.int().map_err(unavailable)?);
            }
        }
        // Redis is the journal of what is in flight: the books need none.
        Ok(found)
    }

    pub(super) async fn renew(&self, running: &[(Arc<Hold>, Progress)]) -> Result<(), CountersError> {
        let mut asking = Vec::with_capacity(running.len());
        for (hold, progress) in running {
            let places = self.places(hold).ok_or_else(unplaced)?;
            let mut message = Writer::list(5);
            message.bytes("R").bytes(hold.id.as_bytes());
            write_progress(*progress, &mut message);
            let message = message.take();
            asking.extend(places.parts.iter().map(|part| self.ask(part.shard, message.clone())));
        }
        futures_util::future::join_all(asking).await.into_iter().try_for_each(|answer| answer.map(drop))
    }

    pub(super) async fn release(&self, hold: HoldId) -> Result<HoldState, CountersError> {
        let mut message = Writer::list(3);
        message.bytes("L").bytes(hold.as_bytes()).bool(false);
        let mut found = HoldState::Absent;
        for mut answer in self.ask_all(&message.take()).await? {
            let here = state(answer.said.int().map_err(unavailable)?);
            if found == HoldState::Absent {
                found = here;
            }
        }
        Ok(found)
    }

    pub(super) async fn adjust(&self, record: Record) -> Result<(), CountersError> {
        let places = Places::of(
            &Binding::new(Vec::new(), record.accounts.clone(), record.parties.clone(), Arc::clone(&record.model)),
            self.turns.shards(),
        );
        let Some((home, elsewhere)) = places.parts.split_first() else { return Ok(()) };
        let mut message = Writer::list(6);
        message.bytes("J").raw(&home.accounts).money(record.cost);
        message.bytes(record_name((record.id, record.sequence))).bytes(books::to_bytes(&record)?);
        let entry = self.ask(home.shard, message.take()).await?.said.text().map_err(unavailable)?;
        for part in elsewhere {
            // Whoever loads these budgets at this moment has seen the record or not.
            let mut message = Writer::list(2);
            message.bytes("X").raw(&part.accounts);
            if let Err(error) = self.ask(part.shard, message.take()).await {
                tracing::warn!(%error, "an adjustment is booked, and not counted everywhere yet");
                self.shared.load_elsewhere(&record, home.shard);
            }
        }
        self.shared.book(record, home.shard, entry);
        Ok(())
    }

    pub(super) async fn read(&self, counter: &CounterKey) -> Result<Option<(Amount, Amount)>, CountersError> {
        let shard = places::shard_of(&counter.scope, self.turns.shards());
        let mut message = Writer::list(2);
        message.bytes("Q").bytes(places::name(counter));
        let mut said = self.ask(shard, message.take()).await?.said;
        let read = |said: &mut Reader| {
            if said.list()? == 0 {
                return Ok::<_, Malformed>(None);
            }
            Ok(Some((join(said.int()?, said.int()?), said.int()?)))
        };
        read(&mut said).map_err(unavailable)
    }

    pub(super) async fn budgets(&self) -> Result<Vec<(Account, Money)>, CountersError> {
        let mut found = Vec::new();
        for shard in 0..self.turns.shards() {
            let mut cursor = "0".to_owned();
            loop {
                let mut message = Writer::list(2);
                message.bytes("B").bytes(&cursor);
                let mut said = self.ask(shard, message.take()).await?.said;
                cursor = read_budgets(&mut said, &mut found).map_err(unavailable)?;
                if cursor == "0" {
                    break;
                }
            }
        }
        // A scan may come by twice.
        let mut seen = std::collections::HashSet::new();
        found.retain(|(account, _): &(Account, Money)| seen.insert(account.clone()));
        Ok(found)
    }

    pub(super) async fn holds(&self) -> Result<(u64, u64), CountersError> {
        let mut message = Writer::list(1);
        message.bytes("N");
        let (mut held, mut started) = (0, 0);
        for mut answer in self.ask_all(&message.take()).await? {
            answer.said.list().map_err(unavailable)?;
            held += answer.said.count().map_err(unavailable)?;
            started += answer.said.count().map_err(unavailable)?;
        }
        Ok((held, started))
    }

    pub(super) async fn meter_is_dead(&self, gateway: IpAddr) -> Result<bool, CountersError> {
        let mut message = Writer::list(2);
        message.bytes("G").bytes(gateway.to_string());
        let mut dead = false;
        for mut answer in self.ask_all(&message.take()).await? {
            dead |= answer.said.bool().map_err(unavailable)?;
        }
        Ok(dead)
    }
}

fn write_progress(progress: Progress, message: &mut Writer) {
    message.count(progress.input_tokens).count(progress.output_tokens);
    message.int(progress.cost.as_nanos().clamp(0, message::EXACT));
}

pub(super) fn read_progress(said: &mut Reader) -> Result<Progress, Malformed> {
    Ok(Progress { input_tokens: said.count()?, output_tokens: said.count()?, cost: Money::nanos(said.int()?) })
}

fn read_budgets(said: &mut Reader, found: &mut Vec<(Account, Money)>) -> Result<String, Malformed> {
    let count = said.list()?;
    let cursor = said.text()?;
    for _ in 1..count {
        said.list()?;
        let (name, spent) = (said.text()?, said.money()?);
        let (start, end) = (said.optional()?, said.optional()?);
        let Some((scope, id)) = places::budget_of(&name) else { continue };
        let period = match (start, end) {
            (Some(start), Some(end)) => {
                Period { id: id.into(), start: Timestamp::millis(start), end: Timestamp::millis(end) }
            }
            _ => Period::total(),
        };
        found.push((Account { scope, period }, spent));
    }
    Ok(cursor)
}
