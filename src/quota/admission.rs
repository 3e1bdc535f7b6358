//! Admission: asks the counters, loads the budgets they miss, and waits a little where only running requests stand in
//! the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use super::adjust::Adjusting;
use super::counters::{Books, Counters, CountersError, Refusal, Remaining, Terms, Unseeded, Verdict};
use super::session::Running;
use super::token::Signer;
use crate::domain::{Account, Hold, HoldId, Kind, Timestamp, Window};
use crate::flights::Flights;
use crate::spend::Prices;

/// How often budgets are loaded and periods recomputed for one admission before it gives up.
const MAX_ROUNDS: usize = 8;

/// The longest that loading a budget may take, for all who wait for it.
const LOADED_WITHIN: Duration = Duration::from_secs(5);

/// Cancelled Checks whose holds wait to be released.
const MAX_RELEASES: usize = 65_536;

/// The counters, the books behind them, and what settlement needs.
pub struct Quota {
    releases: mpsc::Sender<HoldId>,
    pub(super) counters: Arc<dyn Counters>,
    pub(super) books: Arc<dyn Books>,
    pub(super) signer: Signer,
    pub(super) prices: Arc<Prices>,
    pub(super) running: Running,
    loads: Flights<Unseeded, Result<bool, CountersError>>,
    pub(super) adjusting: Adjusting,
    soft_limits_passed: AtomicU64,
}

/// An admitted hold.
#[derive(Clone, Debug)]
pub struct Admitted {
    pub hold: Arc<Hold>,
    /// What is left of each of the hold's charges.
    pub remaining: Vec<Remaining>,
}

/// Why there is no admission.
#[derive(Clone, Debug)]
pub enum Refused {
    Limit {
        hold: Arc<Hold>,
        refusal: Refusal,
    },
    /// A budget period ended between its naming and the charge: name it anew.
    WrongPeriod {
        now: Timestamp,
    },
    /// The gateway's meter is dead, and the caller's limits need it.
    MeterDead {
        retry_after: Duration,
    },
    Unavailable(CountersError),
}

impl From<CountersError> for Refused {
    fn from(error: CountersError) -> Self {
        Refused::Unavailable(error)
    }
}

struct ReleaseOnDrop<'q> {
    quota: &'q Quota,
    hold: Option<HoldId>,
}

impl Drop for ReleaseOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold {
            self.quota.release(hold);
        }
    }
}

impl Quota {
    /// The quota, and the task that releases the holds of cancelled Checks; it ends when the quota is dropped.
    pub fn new(
        counters: Arc<dyn Counters>,
        books: Arc<dyn Books>,
        signer: Signer,
        prices: Arc<Prices>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (releases, mut cancelled) = mpsc::channel(MAX_RELEASES);
        let giving_back = Arc::clone(&counters);
        let task = async move {
            while let Some(hold) = cancelled.recv().await {
                if let Err(error) = giving_back.release(hold).await {
                    // It ends with the hold, 30 s after admission.
                    tracing::warn!(%error, %hold, "a cancelled check's hold could not be released");
                }
            }
        };
        (
            Arc::new(Quota {
                releases,
                counters,
                books,
                signer,
                prices,
                running: Running::default(),
                loads: Flights::default(),
                adjusting: Adjusting::default(),
                soft_limits_passed: AtomicU64::new(0),
            }),
            task,
        )
    }

    /// Holds all charges or none. A refusal caused only by what is held or in flight is asked again, for at most
    /// `patience`, whenever something was given back.
    pub async fn admit(&self, hold: Hold, terms: Terms, patience: Duration) -> Result<Admitted, Refused> {
        // What cannot be booked is not begun.
        if !self.books.is_writable() {
            return Err(CountersError::Unavailable("the ledger cannot be written".to_owned()).into());
        }
        let hold = Arc::new(hold);
        // Whoever drops this future may have been admitted without knowing.
        let mut guard = ReleaseOnDrop { quota: self, hold: Some(hold.id) };
        let admitted = self.admit_guarded(&hold, terms, patience).await;
        guard.hold = None;
        admitted
    }

    async fn admit_guarded(&self, hold: &Arc<Hold>, terms: Terms, patience: Duration) -> Result<Admitted, Refused> {
        let mut rounds = 0;
        let mut deadline = None;
        loop {
            match self.counters.admit(Arc::clone(hold), terms).await? {
                Verdict::Admitted { remaining } => {
                    self.watch_soft_limits(hold, &remaining);
                    return Ok(Admitted { hold: Arc::clone(hold), remaining });
                }
                Verdict::Unseeded(missing) => {
                    rounds += 1;
                    if rounds > MAX_ROUNDS {
                        let error = "budgets changed faster than they could be loaded";
                        return Err(CountersError::Unavailable(error.to_owned()).into());
                    }
                    try_join_all(missing.into_iter().map(|missing| self.load(missing))).await?;
                }
                Verdict::WrongPeriod { now } => return Err(Refused::WrongPeriod { now }),
                Verdict::MeterDead { retry_after } => return Err(Refused::MeterDead { retry_after }),
                Verdict::Refused(refusal) => {
                    let now = Instant::now();
                    let until = *deadline.get_or_insert(now + patience);
                    let left = until.saturating_duration_since(now);
                    let waited = match hold.charge(refusal.charge) {
                        Some(charge) if refusal.may_be_released && !left.is_zero() => {
                            self.counters.wait_for_room(charge.counter, refusal.epoch, left).await
                        }
                        _ => false,
                    };
                    if !waited {
                        return Err(Refused::Limit { hold: Arc::clone(hold), refusal });
                    }
                }
            }
        }
    }

    /// Loads a budget; who misses what is being loaded waits for that.
    async fn load(&self, missing: Unseeded) -> Result<bool, CountersError> {
        let (counters, books) = (Arc::clone(&self.counters), Arc::clone(&self.books));
        let load = |missing| async move {
            let loading = tokio::time::timeout(LOADED_WITHIN, async { counters.load(&missing, &*books).await });
            let late = |_| Err(CountersError::Unavailable("a budget could not be loaded in time".to_owned()));
            loading.await.unwrap_or_else(late)
        };
        self.loads.join(missing.clone(), || load(missing)).await
    }

    fn watch_soft_limits(&self, hold: &Hold, remaining: &[Remaining]) {
        for (charge, _) in hold.charges().zip(remaining).filter(|(_, left)| left.soft_limit_passed) {
            self.soft_limits_passed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(scope = %charge.counter.scope, soft_budget = ?charge.soft_limit, "a soft budget is passed");
        }
    }

    /// Soft limits passed by admissions since the last call, for metrics.
    pub fn take_soft_limits_passed(&self) -> u64 {
        self.soft_limits_passed.swap(0, Ordering::Relaxed)
    }

    /// Gives back what a Check held that was cancelled before its answer was sent. Never waits.
    pub fn release(&self, hold: HoldId) {
        if self.releases.try_send(hold).is_err() {
            tracing::warn!(%hold, "too many cancelled checks at once; this hold ends with its time");
        }
    }

    /// Appends the signed token of a hold, for Envoy's dynamic metadata.
    pub fn sign(&self, hold: &Hold, out: &mut String) {
        self.signer.sign_into(hold, out);
    }

    #[must_use]
    pub fn counters(&self) -> &Arc<dyn Counters> {
        &self.counters
    }

    #[must_use]
    pub fn books(&self) -> &Arc<dyn Books> {
        &self.books
    }

    #[must_use]
    pub fn prices(&self) -> &Arc<Prices> {
        &self.prices
    }

    /// What a charge's account has spent, for explanations. `None` where it is not a budget.
    pub async fn spent(&self, charge: crate::domain::Charge<'_>) -> Result<Option<i64>, CountersError> {
        let (Kind::Spend, Window::Period(period)) = (charge.counter.kind, &charge.counter.window) else {
            return Ok(None);
        };
        let account = Account { scope: charge.counter.scope.clone(), period: period.clone() };
        Ok(Some(self.books.spent(&account).await?.as_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use async_trait::async_trait;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::domain::{Money, Progress, Record};
    use crate::quota::counters::memory::{MemoryCounters, MemorySettings};
    use crate::quota::counters::suite::world::{GATEWAY, hold};
    use crate::spend::PriceBook;

    /// Books that are read when the test lets them.
    struct SlowBooks {
        readings: AtomicUsize,
        may_read: Semaphore,
    }

    #[async_trait]
    impl Books for SlowBooks {
        fn book(&self, _: Record) {}
        fn started(&self, _: &Arc<Hold>, _: Progress) {}
        fn progressed(&self, _: &[(HoldId, Progress)]) {}
        async fn spent(&self, _: &Account) -> Result<Money, CountersError> {
            self.readings.fetch_add(1, Ordering::Relaxed);
            let _one = self.may_read.acquire().await.unwrap();
            Ok(Money::nanos(50))
        }
        async fn knows(&self, _: HoldId) -> Result<bool, CountersError> {
            Ok(false)
        }
    }

    #[tokio::test]
    async fn all_who_miss_a_budget_wait_for_one_reading_of_the_books() {
        let books = Arc::new(SlowBooks { readings: AtomicUsize::new(0), may_read: Semaphore::new(0) });
        let counters = Arc::new(MemoryCounters::new(books.clone(), MemorySettings::default()));
        let prices = Arc::new(Prices::new(PriceBook::builtin()));
        let (quota, _) = Quota::new(counters, books.clone(), Signer::new(&[0; 32]), prices);
        let ask = |number| {
            let one = Arc::unwrap_or_clone(hold(0).numbered(number).spend(10, 100).done());
            quota.admit(one, Terms { gateway: GATEWAY, meter_required: false }, Duration::ZERO)
        };
        let mut asking = Box::pin(futures_util::future::join_all((0..20).map(ask)));
        assert!(futures_util::poll!(&mut asking).is_pending());
        books.may_read.add_permits(1);
        let admitted = asking.await.into_iter().filter(Result::is_ok).count();
        assert_eq!((admitted, books.readings.load(Ordering::Relaxed)), (5, 1));
    }
}
