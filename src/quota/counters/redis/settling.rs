//! Settling a hold in every shard in which it lies: at its home, where the record is booked, and then at the others.

use std::sync::Arc;

use super::super::{CountersError, Settled};
use super::books;
use super::message::{self, Malformed, Writer, split};
use super::places::{Part, Places};
use super::remote::{Remote, read_progress, unplaced};
use super::turns::{Answer, unavailable};
use crate::domain::{Amount, Hold, Record};

/// What a settlement says of its record.
#[derive(Clone, Copy)]
enum Booking {
    /// The home is to book it.
    Now,
    /// The home has booked it then, by its clock.
    At(i64),
    /// The home has booked it, nobody knows how long ago, or something else before it.
    Before,
}

/// A settlement on its way through the shards of its hold.
pub(super) struct Settling<'s> {
    remote: &'s Remote,
    hold: &'s Hold,
    places: &'s Places,
    tokens: Amount,
    /// What the whole request cost, in nano-dollars.
    cost: i64,
    /// What is booked: less, where something was booked before.
    record: Record,
    /// The record of the whole request, as the home is told it.
    bytes: Vec<u8>,
}

/// What the home of a hold has done.
pub(super) struct AtHome {
    outcome: Settled,
    /// Where the record stands in the home's stream, where it is booked by this.
    entry: Option<String>,
    now: i64,
}

impl Remote {
    pub(super) async fn settle(
        &self,
        hold: &Arc<Hold>,
        tokens: Amount,
        record: Record,
        forgotten: bool,
    ) -> Result<Settled, CountersError> {
        let mut settling = self.settling(hold, tokens, record)?;
        let home = settling.at_home(forgotten).await?;
        settling.elsewhere(home).await
    }

    pub(super) fn settling<'s>(
        &'s self,
        hold: &'s Hold,
        tokens: Amount,
        record: Record,
    ) -> Result<Settling<'s>, CountersError> {
        let places = self.places(hold).ok_or_else(unplaced)?;
        let record = Record { id: hold.id, sequence: 0, ..record };
        let bytes = books::to_bytes(&record)?;
        Ok(Settling { remote: self, hold, places, tokens, cost: record.cost.as_nanos(), record, bytes })
    }
}

impl Settling<'_> {
    /// Settles at the home of the hold, which books the record.
    pub(super) async fn at_home(&mut self, forgotten: bool) -> Result<AtHome, CountersError> {
        let home = self.places.parts.first().ok_or_else(unplaced)?;
        let (code, Answer { mut said, now }) = self.tell(home, Booking::Now, forgotten).await?;
        let outcome = match code {
            0 => Settled::Applied,
            1 => {
                books::correct(&mut self.record, read_progress(&mut said).map_err(unavailable)?);
                Settled::Corrected
            }
            2 => return Ok(AtHome { outcome: Settled::Duplicate, entry: None, now }),
            3 => return Ok(AtHome { outcome: Settled::Forgotten, entry: None, now }),
            _ => return Err(unavailable(Malformed)),
        };
        Ok(AtHome { outcome, entry: Some(said.text().map_err(unavailable)?), now })
    }

    /// Settles in the other shards.
    pub(super) async fn elsewhere(self, home: AtHome) -> Result<Settled, CountersError> {
        let booking = match home.outcome {
            Settled::Forgotten => return Ok(Settled::Forgotten),
            Settled::Applied => Booking::At(home.now),
            _ => Booking::Before,
        };
        // Where one of them does not answer it stays in the stream until it is found there, and they load it from the books.
        self.tell_all(booking, home.entry.is_some()).await?;
        // Only now may it become durable: as long as it stands in the stream, who loads a budget knows that the budget's
        // shard may not have heard of it.
        if let Some(entry) = home.entry {
            self.remote.shared.book(self.record, self.places.parts[0].shard, entry);
        }
        Ok(home.outcome)
    }

    async fn tell_all(&self, booking: Booking, forgotten: bool) -> Result<(), CountersError> {
        for part in self.places.parts.iter().skip(1) {
            let (code, _) = self.tell(part, booking, forgotten).await?;
            if code == 3 {
                self.remote.shared.load_elsewhere(&self.record, self.places.parts[0].shard);
            }
        }
        Ok(())
    }

    /// The code that a shard answers, and what follows it.
    async fn tell(&self, part: &Part, booking: Booking, forgotten: bool) -> Result<(i64, Answer), CountersError> {
        let mut in_full = forgotten;
        loop {
            let mut answer = self.remote.ask(part.shard, self.message(part, booking, in_full, forgotten)).await?;
            answer.said.list().map_err(unavailable)?;
            match answer.said.int().map_err(unavailable)? {
                4 if !in_full => in_full = true,
                code => return Ok((code, answer)),
            }
        }
    }

    fn message(&self, part: &Part, booking: Booking, in_full: bool, forgotten: bool) -> Vec<u8> {
        let (dollars, nanos) = split(self.cost);
        let mut message = Writer::list(10);
        message.bytes("T").bytes(self.hold.id.as_bytes()).int(self.tokens.clamp(0, message::EXACT));
        message.int(dollars).int(nanos).bool(forgotten);
        match booking {
            Booking::Now => message.bytes(&self.bytes),
            Booking::At(millis) => message.int(millis),
            Booking::Before => message.int(0),
        };
        if in_full {
            part.in_full(self.hold, &mut message);
        } else {
            message.bool(false).bool(false).bool(false);
        }
        message.take()
    }
}
