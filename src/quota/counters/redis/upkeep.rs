//! The tasks beside the requests: hearing of room that other replicas make, telling the backlog when Redis answers again,
//! ending what is overdue, and loading budgets again. What is booked and not yet written is for [`super::streams`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::{FromRedisValue, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{CountersError, Settled, Terms};
use super::RedisCounters;
use super::backlog::Told;
use super::message::{Reader, Writer};
use super::places::{How, account_name, shard_of};
use super::turns::unavailable;
use crate::domain::{Account, Record, Timestamp};

/// How often a silent Redis is asked whether it answers again.
const PROBE: Duration = Duration::from_millis(50);
/// How often the replicas tell that they are alive.
const BEAT: Duration = Duration::from_secs(1);
/// In how many beats Redis is asked for its eviction policy.
const POLICY_EVERY: u32 = 60;
/// In how many beats shards are told of meters that others heard of; a meter counts as alive for 30 s.
const METERS_EVERY: u32 = 5;
/// Budgets marked in one message; Redis does nothing else meanwhile.
const RELOADED_AT_ONCE: usize = 256;
/// What took place before is in no window any more.
const MINUTE: Duration = Duration::from_secs(60);
/// Messages of the backlog that are told at once.
const TOLD_AT_ONCE: usize = 64;

impl RedisCounters {
    /// Runs the upkeep until it is cancelled, and then drops what is written by then. `written` brings the records that
    /// are in the directory now, and whether each was new there.
    pub async fn run(
        self: Arc<Self>,
        mut written: mpsc::UnboundedReceiver<(Vec<Record>, Vec<bool>)>,
        stop: CancellationToken,
    ) {
        {
            let dropping = async {
                while let Some((records, new)) = written.recv().await {
                    self.drop_written(&records, &new).await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.listen() => {}
                () = self.tell() => {}
                () = self.beat() => {}
                () = self.search() => {}
                () = self.load_again() => {}
                () = dropping => {}
            }
        }
        while let Ok((records, new)) = written.try_recv() {
            self.drop_written(&records, &new).await;
        }
        self.load_again_now().await;
        let mut message = Writer::list(2);
        message.bytes("O").bytes(&self.remote.turns.replica);
        if let Err(error) = self.remote.ask_all(&message.take()).await {
            tracing::debug!(%error, "the others were not told that this replica stops");
        }
    }

    /// What Redis does when its memory is full: `noeviction` where it keeps what it is given.
    pub async fn eviction_policy(&self) -> Result<String, CountersError> {
        let mut command = redis::cmd("INFO");
        command.arg("memory");
        // A Cluster answers for each node.
        let infos = match self.remote.turns.command(&command).await? {
            Value::Map(nodes) => nodes.into_iter().map(|(_, info)| info).collect(),
            info => vec![info],
        };
        for info in infos {
            let info = String::from_redis_value(info);
            let info = info.map_err(|_| unavailable("what it says of its memory cannot be read"))?;
            let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:")).map(str::trim);
            if let Some(policy) = policy.filter(|policy| *policy != "noeviction") {
                return Ok(policy.to_owned());
            }
        }
        Ok("noeviction".to_owned())
    }

    /// Says so where Redis may throw counters away by now; at the start it may not have been there to be asked.
    async fn watch_eviction(&self) {
        match self.eviction_policy().await {
            Ok(policy) if policy != "noeviction" => {
                tracing::error!(
                    policy,
                    "redis may throw counters away, and limits are then not kept: set maxmemory-policy"
                );
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "redis could not be asked for its maxmemory-policy"),
        }
    }

    /// Hears of room that is made by any replica.
    async fn listen(&self) {
        loop {
            if let Ok(mut pubsub) = self.remote.turns.target.listen().await
                && pubsub.psubscribe(self.remote.turns.rooms()).await.is_ok()
            {
                let mut messages = pubsub.on_message();
                while let Some(message) = messages.next().await {
                    let told = Reader::new(Bytes::copy_from_slice(message.get_payload_bytes()));
                    if self.remote.shared.rooms.hear(told).is_err() {
                        tracing::error!("a message of another replica cannot be read");
                    }
                }
            }
            // Whoever waits meanwhile asks again when its patience ends.
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Asks a silent Redis until it answers, then tells it what happened meanwhile.
    async fn tell(&self) {
        loop {
            if !self.is_down() && self.backlog.len() == 0 {
                let _ = tokio::time::timeout(PROBE, self.told.notified()).await;
                continue;
            }
            if self.is_down() {
                for shard in (0..self.remote.turns.shards()).filter(|shard| self.remote.turns.is_down(*shard)) {
                    let mut message = Writer::list(1);
                    message.bytes("N");
                    // Its answer ends the outage by itself.
                    let _ = self.remote.ask(shard, message.take()).await;
                }
                if self.is_down() {
                    tokio::time::sleep(PROBE).await;
                    continue;
                }
            }
            for told in self.backlog.first(TOLD_AT_ONCE) {
                match self.tell_one(told).await {
                    Ok(()) => self.backlog.done(),
                    Err(CountersError::Unavailable(error)) => {
                        tracing::debug!(error, "what happened without redis could not be told yet");
                        tokio::time::sleep(PROBE).await;
                        break;
                    }
                    Err(error @ CountersError::Full(_)) => {
                        tracing::error!(%error, "something that happened without redis could not be told to it");
                        self.backlog.done();
                    }
                }
            }
        }
    }

    async fn tell_one(&self, told: Told) -> Result<(), CountersError> {
        match told {
            Told::Undo(hold) => self.remote.forget(&hold).await,
            Told::Admit(hold, gateway) => {
                let age = Timestamp::now().since(hold.admitted_at);
                let how = if age < MINUTE { How::Charge } else { How::ChargeLate };
                self.remote.admit(&hold, Terms { gateway, meter_required: false }, how).await?;
                self.local.forget(hold.id).await;
                Ok(())
            }
            Told::Start(hold, gateway, progress) => self.remote.start(&hold, gateway, progress).await.map(drop),
            Told::Release(hold) => self.remote.release(hold).await.map(drop),
            Told::Settle(hold, tokens, record) => {
                match self.remote.settle(&hold, tokens, Record::clone(&record), false).await? {
                    Settled::Forgotten if !self.remote.shared.books.knows(hold.id).await? => {
                        self.remote.settle(&hold, tokens, *record, true).await.map(drop)
                    }
                    Settled::Forgotten => {
                        // It is booked, and whatever else has heard of it or not.
                        self.remote.shared.again.lock().extend(record.accounts);
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    /// Tells that this replica is alive, and hears how many are.
    async fn beat(&self) {
        let replica = &self.remote.turns.replica;
        let mut beats = 0_u32;
        loop {
            if !self.is_down() {
                let mut message = Writer::list(2);
                message.bytes("H").bytes(replica);
                if let Ok(mut answers) = self.remote.ask_all(&message.take()).await
                    && let Some(answer) = answers.first_mut()
                    && let Ok(alive) = answer.said.count()
                {
                    self.replicas.store(alive.max(1), Ordering::Relaxed);
                }
                beats += 1;
                if beats.is_multiple_of(POLICY_EVERY) {
                    self.watch_eviction().await;
                }
                if beats.is_multiple_of(METERS_EVERY)
                    && let Err(error) = self.remote.tell_meters().await
                {
                    tracing::debug!(%error, "not every shard was told which meters live");
                }
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Makes budgets load again of which Redis may know too little, as soon as it answers.
    async fn load_again(&self) {
        loop {
            tokio::time::sleep(PROBE).await;
            if !self.is_down() {
                self.load_again_now().await;
            }
        }
    }

    async fn load_again_now(&self) {
        let accounts: Vec<Account> = self.remote.shared.again.lock().drain().collect();
        if !accounts.is_empty()
            && let Err(error) = self.reload(&accounts).await
        {
            tracing::debug!(%error, "budgets could not be marked to be loaded again");
            self.remote.shared.again.lock().extend(accounts);
        }
    }

    /// Books what waits to be told to Redis and never will be by this replica, which stops. Where Redis has the hold, it
    /// ends there by itself, and finds its record booked.
    pub fn book_backlog(&self) {
        for told in self.backlog.take() {
            if let Told::Settle(hold, _, record) = told {
                self.remote.shared.books.book(Record { id: hold.id, sequence: 0, ..*record });
            }
        }
    }

    /// What is spent on these accounts is loaded from the books when it is next needed; what is held stays.
    pub async fn reload(&self, accounts: &[Account]) -> Result<(), CountersError> {
        let shards = self.remote.turns.shards();
        let mut names: Vec<Vec<String>> = vec![Vec::new(); shards as usize];
        for account in accounts {
            names[shard_of(&account.scope, shards) as usize].push(account_name(account));
        }
        for (shard, mut names) in (0..shards).zip(names) {
            names.sort_unstable();
            names.dedup();
            for some in names.chunks(RELOADED_AT_ONCE) {
                let mut message = Writer::list(2);
                message.bytes("X").array(some.len());
                for name in some {
                    message.bytes(name);
                }
                self.remote.ask(shard, message.take()).await?;
            }
        }
        Ok(())
    }
}
