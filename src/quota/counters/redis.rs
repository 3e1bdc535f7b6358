//! The shared counters: every replica asks the same Redis or Valkey, and each decision is one atomic step there. What is
//! held and spent outlives every replica; a hold whose replica died is ended by any other. While Redis does not answer,
//! each kind of limit does what the operator chose, and what happened meanwhile is told when it answers again.

mod backlog;
mod books;
mod link;
mod loading;
mod local;
mod message;
mod news;
mod outage;
mod places;
mod remote;
mod rooms;
mod script;
mod settling;
mod streams;
#[cfg(test)]
mod tests;
mod turns;
mod upkeep;
mod verdict;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::clock::Clock;
use super::{Books, Counters, CountersError, HoldState, Settled, SoftLimitPassed, Terms, Unseeded, Verdict};
use crate::config::OnCounterFailure;
use crate::domain::{Account, Amount, CounterKey, Hold, HoldId, Money, Progress, Record, Secret, Timestamp};
use backlog::{Backlog, Told};
use local::Local;
use remote::Remote;

pub use books::{SharedBooks, Unwritten};
pub use link::AddressError;

/// How Redis is used.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// `redis://`, `rediss://`, `redis+sentinel://`, `redis+cluster://`.
    pub url: Secret,
    /// What every key begins with.
    pub prefix: String,
    /// Hash tags over which a Cluster spreads the counters; a single node and Sentinel have one. Must be the same on
    /// all replicas.
    pub shards: u32,
    /// The longest a call may take.
    pub timeout: Duration,
    pub on_failure: OnCounterFailure,
    /// Holds that may be open at once, in each shard.
    pub max_holds: usize,
    /// Callers that may wait for room at once, in this replica.
    pub max_waiting: usize,
}

/// Epochs of Redis count on from the microseconds since 1970, those of counters in this process from nothing.
const SERIALS: u64 = 1 << 40;

/// The counters in Redis. [`RedisCounters::run`] must run as long as they are used.
pub struct RedisCounters {
    remote: Remote,
    local: Local,
    backlog: Backlog,
    /// Wakes the task that tells the backlog.
    told: Notify,
    /// Replicas last seen, this one included.
    replicas: AtomicU64,
    /// A record that stands in a stream for so long, and is not known to be waiting here, belongs to nobody.
    orphaned: Duration,
    max_waiting: usize,
}

impl RedisCounters {
    /// Counters at this address; nothing is asked yet.
    pub fn new(books: Arc<dyn Books>, settings: &RedisSettings) -> Result<RedisCounters, AddressError> {
        RedisCounters::with_clock(books, settings, None)
    }

    fn with_clock(
        books: Arc<dyn Books>,
        settings: &RedisSettings,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<RedisCounters, AddressError> {
        Ok(RedisCounters {
            remote: Remote::new(books, settings, clock)?,
            local: Local::new(settings.on_failure, settings.max_holds, settings.max_waiting),
            backlog: Backlog::default(),
            told: Notify::new(),
            replicas: AtomicU64::new(1),
            orphaned: streams::ORPHANED,
            max_waiting: settings.max_waiting,
        })
    }

    /// Messages that wait to be told to Redis.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Replicas last seen, this one included.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Whether some of Redis does not answer.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.remote.turns.any_down()
    }

    /// Whether what concerns this hold must wait.
    fn waits(&self, hold: &Hold) -> bool {
        self.remote.is_down(hold) || self.backlog.has(hold.id)
    }

    fn keep(&self, told: Told) -> bool {
        let kept = self.backlog.push(told);
        self.told.notify_one();
        kept
    }

    /// An admission without Redis, as the policy says.
    async fn admit_alone(&self, hold: &Arc<Hold>, gateway: IpAddr) -> Result<Verdict, CountersError> {
        if !self.backlog.has_room() {
            return Err(turns::unavailable("it has not answered for long, and too much waits to be told"));
        }
        let verdict = self.local.admit(hold, gateway, self.replicas()).await?;
        if matches!(verdict, Verdict::Admitted { .. }) {
            self.keep(Told::Admit(Arc::clone(hold), gateway));
        }
        Ok(verdict)
    }
}

#[async_trait]
impl Counters for RedisCounters {
    async fn admit(&self, hold: Arc<Hold>, terms: Terms) -> Result<Verdict, CountersError> {
        if self.remote.is_down(&hold) {
            return self.admit_alone(&hold, terms.gateway).await;
        }
        match self.remote.admit(&hold, terms, places::How::Both).await {
            Err(CountersError::Unavailable(why)) => {
                // It may have been admitted all the same.
                self.keep(Told::Undo(Arc::clone(&hold)));
                let alone = self.admit_alone(&hold, terms.gateway).await;
                alone.map_err(|error| match error {
                    CountersError::Unavailable(_) => CountersError::Unavailable(why),
                    full @ CountersError::Full(_) => full,
                })
            }
            verdict => verdict,
        }
    }

    async fn wait_for_room(&self, counter: &CounterKey, epoch: u64, patience: Duration) -> bool {
        let shard = places::shard_of(&counter.scope, self.remote.turns.shards());
        if epoch < SERIALS || self.remote.turns.is_down(shard) {
            return self.local.wait_for_room(counter, epoch, patience).await;
        }
        self.remote.shared.rooms.wait(&places::name(counter), epoch, patience, self.max_waiting).await
    }

    async fn start(&self, hold: &Arc<Hold>, gateway: IpAddr, progress: Progress) -> Result<HoldState, CountersError> {
        self.local.start(hold.id, gateway, progress).await;
        if !self.waits(hold) {
            match self.remote.start(hold, gateway, progress).await {
                Err(CountersError::Unavailable(_)) => {}
                found => return found,
            }
        }
        // Where it finds no place the settlement stands for it.
        self.keep(Told::Start(Arc::clone(hold), gateway, progress));
        Ok(HoldState::Held)
    }

    async fn renew(&self, running: &[(Arc<Hold>, Progress)]) -> Result<(), CountersError> {
        self.local.renew(running).await;
        self.remote.renew(running).await
    }

    async fn settle(
        &self,
        hold: &Arc<Hold>,
        tokens: Amount,
        record: Record,
        forgotten: bool,
    ) -> Result<Settled, CountersError> {
        if self.local.counts(hold.id) {
            self.local.settle(hold.id, tokens).await;
        }
        if !self.waits(hold) {
            match self.remote.settle(hold, tokens, record.clone(), forgotten).await {
                Err(CountersError::Unavailable(_)) => {}
                settled => return settled,
            }
        }
        if self.keep(Told::Settle(Arc::clone(hold), tokens, Box::new(record))) {
            return Ok(Settled::Queued);
        }
        Err(turns::unavailable("it has not answered for long, and too much waits to be told"))
    }

    async fn release(&self, hold: HoldId) -> Result<HoldState, CountersError> {
        self.local.forget(hold).await;
        if !self.is_down() && !self.backlog.has(hold) {
            match self.remote.release(hold).await {
                Err(CountersError::Unavailable(_)) => {}
                found => return found,
            }
        }
        // Where it finds no place it ends with its time.
        self.keep(Told::Release(hold));
        Ok(HoldState::Held)
    }

    async fn load(&self, missing: &Unseeded, books: &dyn Books) -> Result<bool, CountersError> {
        self.load_from(missing, books).await
    }

    async fn adjust(&self, record: Record) -> Result<(), CountersError> {
        self.remote.adjust(record).await
    }

    async fn read(&self, counter: &CounterKey) -> Result<Option<(Amount, Amount)>, CountersError> {
        self.remote.read(counter).await
    }

    async fn budgets(&self) -> Result<Vec<(Account, Money)>, CountersError> {
        self.remote.budgets().await
    }

    async fn holds(&self) -> Result<(u64, u64), CountersError> {
        self.remote.holds().await
    }

    async fn sweep(&self) {
        self.local.sweep().await;
        if !self.is_down()
            && let Err(error) = self.remote.holds().await
        {
            tracing::debug!(%error, "holds could not be swept");
        }
    }

    fn soft_events(&self) -> Vec<SoftLimitPassed> {
        self.remote.shared.take_softs()
    }

    async fn meter_is_dead(&self, gateway: IpAddr, _now: Timestamp) -> Result<bool, CountersError> {
        self.remote.meter_is_dead(gateway).await
    }
}
