//! Counters: the trait behind which the embedded and the shared form stand. Every admission is one atomic step; a hold
//! is settled once, in whatever order its messages arrive; nothing leaks.

pub mod clock;
pub mod memory;
pub mod redis;
#[cfg(test)]
pub(super) mod suite;
mod window;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{Account, Amount, CounterKey, Hold, HoldId, Money, Progress, Record, Timestamp, Window};

/// What `admit` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All charges are held. One entry a charge, in the order of [`Hold::charges`].
    Admitted { remaining: Vec<Remaining> },
    /// One limit refused; nothing was charged.
    Refused(Refusal),
    /// Budget counters that are not loaded yet: [`Counters::load`] each, and ask again.
    Unseeded(Vec<Unseeded>),
    /// The period of a charge is not the one the counters' own clock is in: compute it again for `now`, and ask again.
    WrongPeriod { now: Timestamp },
    /// This gateway's meter is dead and the caller's money or tokens are limited; nothing was charged. One request is
    /// let through as a probe every few seconds.
    MeterDead { retry_after: Duration },
}

/// A budget counter that is missing (never the same as zero).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unseeded {
    pub counter: CounterKey,
    /// Names the moment: a load that begins with another is in vain.
    pub generation: u64,
}

impl Unseeded {
    /// The account that the counter counts; `None` where it is no budget.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        let Window::Period(period) = &self.counter.window else { return None };
        Some(Account { scope: self.counter.scope.clone(), period: period.clone() })
    }
}

/// A record's hold and sequence.
pub type RecordName = (HoldId, u32);

/// What an account has spent by the books, record by record as far as that matters to whoever counts at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub spent: Money,
    /// Records that are in the sum whether they are durable or not. Of all others those are in it that were durable when
    /// it was read.
    pub counted: HashSet<RecordName, ahash::RandomState>,
    /// Those of them that were booked so lately that not every counter may have been told.
    pub lately: Vec<RecordName>,
}

/// What is left of one limit after an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    pub remaining: Amount,
    /// Until the limit is whole again (its window or period ends).
    pub reset: Duration,
    /// The first admission or settlement that passes a soft limit in this period says so, once.
    pub soft_limit_passed: bool,
}

/// Why an admission was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of [`Hold::charges`] is the limit that refuses; where several do, the one that refuses longest.
    pub charge: usize,
    /// Spent or charged so far, without what is held; then what is held by requests in flight.
    pub spent: Amount,
    pub held: Amount,
    /// Until this limit admits the request if nothing else is charged; a second where only requests in flight are in
    /// its way and nobody knows when they end; zero where `never`.
    pub retry_after: Duration,
    /// Larger than the limit itself, or a budget without an end is spent: waiting never helps.
    pub never: bool,
    /// Every limit that refuses does so only by what is held or in flight: a settlement may soon make room.
    pub may_be_released: bool,
    /// Names the moment of the refusal for [`Counters::wait_for_room`], so that what is released between the two calls
    /// is not missed.
    pub epoch: u64,
}

/// A soft limit was passed by a settlement or an adjustment, where no admission was there to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftLimitPassed {
    pub counter: CounterKey,
    pub soft_limit: Money,
    pub spent: Money,
}

/// What `start` or `release` found: the state before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    Absent,
    Held,
    Started,
    Settled,
    Expired,
    Released,
}

/// What `settle` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The first booking of a hold (held, started, or given back before): booked whole.
    Applied,
    /// The hold had expired and was booked then; the difference is booked now.
    Corrected,
    /// Settled before: nothing changed.
    Duplicate,
    /// The counters cannot be reached: they take it as soon as they can.
    Queued,
    /// The counters have forgotten the hold: nothing changed. The caller asks the ledger whether it knows the hold, and
    /// settles again with `forgotten: true` if it does not.
    Forgotten,
}

/// The counters cannot answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CountersError {
    #[error("the counters are unavailable: {0}")]
    Unavailable(String),
    #[error("too many requests in flight for the counters: {0} holds")]
    Full(usize),
}

/// How an admission is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The Envoy that asks; its meter is alive if one of its streams started lately.
    pub gateway: std::net::IpAddr,
    /// Refuse where this gateway's meter is known to be dead (`metering.required` and a money or token limit binds).
    pub meter_required: bool,
}

/// The counters: rate-limit windows, in-flight leases, spend held and spent. See `docs/holds.md` for the states
/// of a hold and what each call does in each.
#[async_trait]
pub trait Counters: Send + Sync {
    /// Checks every charge of the hold, then charges all of them or none. Idempotent by `hold.id`: a second call
    /// answers as the first did and charges nothing.
    async fn admit(&self, hold: Arc<Hold>, terms: Terms) -> Result<Verdict, CountersError>;

    /// Completes with `true` as soon as something was released, settled or expired on the refused counter since
    /// `epoch` (of the [`Refusal`]), and with `false` after `patience`, or at once where too many wait already.
    async fn wait_for_room(&self, counter: &CounterKey, epoch: u64, patience: Duration) -> bool;

    /// The request reached the upstream. Also tells that the gateway's meter is alive.
    async fn start(
        &self,
        hold: &Arc<Hold>,
        gateway: std::net::IpAddr,
        progress: Progress,
    ) -> Result<HoldState, CountersError>;

    /// The requests are still running, and have used this much.
    async fn renew(&self, running: &[(Arc<Hold>, Progress)]) -> Result<(), CountersError>;

    /// Replaces what was held by what was used and books `record` (through [`Books::book`]) in the same atomic step.
    /// `tokens` is what counts against token limits. Applied once.
    async fn settle(
        &self,
        hold: &Arc<Hold>,
        tokens: Amount,
        record: Record,
        forgotten: bool,
    ) -> Result<Settled, CountersError>;

    /// The Check was cancelled before it was answered: gives back everything, requests included. Never undoes a
    /// started hold.
    async fn release(&self, hold: HoldId) -> Result<HoldState, CountersError>;

    /// Sets a missing budget counter to what the books say, so that every record is counted once, whatever is settled
    /// meanwhile; `false` where it is still missing, and whoever needs it asks again.
    async fn load(&self, missing: &Unseeded, books: &dyn Books) -> Result<bool, CountersError>;

    /// Adds an adjustment, opening or imported amount to the counters of its accounts and books it.
    async fn adjust(&self, record: Record) -> Result<(), CountersError>;

    /// What a counter stands at: spent, then held. `None` where it is not loaded.
    async fn read(&self, counter: &CounterKey) -> Result<Option<(Amount, Amount)>, CountersError>;

    /// Every loaded budget counter and what is spent on it, for `ledger verify`.
    async fn budgets(&self) -> Result<Vec<(Account, Money)>, CountersError>;

    /// Holds by state (held, started), for metrics.
    async fn holds(&self) -> Result<(u64, u64), CountersError>;

    /// Ends what is overdue though nobody asks. Called about once a second.
    async fn sweep(&self);

    /// Soft limits passed by settlements and adjustments since the last call. Those passed by an admission are in its
    /// [`Remaining`] instead.
    fn soft_events(&self) -> Vec<SoftLimitPassed>;

    /// Whether this gateway's meter is known dead (a hold of it expired unstarted and none started since).
    async fn meter_is_dead(&self, gateway: std::net::IpAddr, now: Timestamp) -> Result<bool, CountersError>;
}

/// Where counters book what they settle: the ledger. Called inside the counters' atomic step, so it only enqueues.
#[async_trait]
pub trait Books: Send + Sync {
    /// Takes a record to be made durable. From now on [`Books::spent`] counts it. Never blocks.
    fn book(&self, record: Record);

    /// Notes that a hold started or how far it is, so that a restart after a crash books what was in flight.
    fn started(&self, hold: &Arc<Hold>, progress: Progress);
    fn progressed(&self, running: &[(HoldId, Progress)]);

    /// What an account has spent: durable rows and all that is booked but not written yet.
    async fn spent(&self, account: &Account) -> Result<Money, CountersError>;

    /// The same, for counters that several replicas share.
    async fn sum(&self, account: &Account) -> Result<Sum, CountersError> {
        Ok(Sum { spent: self.spent(account).await?, ..Sum::default() })
    }

    /// Which of these records are durable, for counters that several replicas share.
    async fn are_written(&self, _records: &[RecordName]) -> Result<Vec<bool>, CountersError> {
        Err(CountersError::Unavailable("these books are of one replica".to_owned()))
    }

    /// Whether the books take what is booked: the disks have room, and not too much waits.
    fn is_writable(&self) -> bool {
        true
    }

    /// Whether a record of this hold is booked.
    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError>;
}
