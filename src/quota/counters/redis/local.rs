//! Counting alone: while Redis does not answer, rate limits are counted in this process, against this replica's part of
//! each limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::super::memory::{MemoryCounters, MemorySettings};
use super::super::{Books, Counters, CountersError, Refusal, Remaining, Terms, Verdict};
use super::turns::unavailable;
use crate::config::{BudgetsWithout, OnCounterFailure, RateLimitsWithout};
use crate::domain::{
    Account, Amount, Amounts, Binding, CounterKey, Hold, HoldId, Kind, Limit, Money, Progress, Record, RecordStatus,
    Timestamp,
};

/// Books nothing: what is used is booked when the counters are back.
struct NoBooks;

#[async_trait]
impl Books for NoBooks {
    fn book(&self, _: Record) {}
    fn started(&self, _: &Arc<Hold>, _: Progress) {}
    fn progressed(&self, _: &[(HoldId, Progress)]) {}
    async fn spent(&self, _: &Account) -> Result<Money, CountersError> {
        Ok(Money::ZERO)
    }
    async fn knows(&self, _: HoldId) -> Result<bool, CountersError> {
        Ok(false)
    }
}

/// See the module.
pub(super) struct Local {
    counters: MemoryCounters,
    policy: OnCounterFailure,
    /// The part of each hold that is counted here.
    holds: Mutex<HashMap<HoldId, Arc<Hold>, ahash::RandomState>>,
}

impl Local {
    pub(super) fn new(policy: OnCounterFailure, max_holds: usize, max_waiting: usize) -> Local {
        let settings = MemorySettings { max_holds, max_waiting, ..MemorySettings::default() };
        Local { counters: MemoryCounters::new(Arc::new(NoBooks), settings), policy, holds: Mutex::default() }
    }

    pub(super) fn counts(&self, hold: HoldId) -> bool {
        self.holds.lock().contains_key(&hold)
    }

    /// Judges a hold as the policy says, against one part in `replicas` of each limit.
    pub(super) async fn admit(
        &self,
        hold: &Arc<Hold>,
        gateway: IpAddr,
        replicas: u64,
    ) -> Result<Verdict, CountersError> {
        let OnCounterFailure { rate_limits, budgets } = self.policy;
        let (mut limits, mut amounts, mut places) = (Vec::new(), Amounts::new(), Vec::new());
        for (at, charge) in hold.charges().enumerate() {
            let is_budget = charge.counter.kind == Kind::Spend;
            if (is_budget && budgets == BudgetsWithout::Deny) || (!is_budget && rate_limits == RateLimitsWithout::Deny)
            {
                return Err(unavailable(format!("it does not answer, and {} is counted there", charge.counter.scope)));
            }
            if !is_budget && rate_limits == RateLimitsWithout::Local {
                limits.push(Limit {
                    counter: charge.counter.clone(),
                    limit: part_of(charge.limit, replicas),
                    soft_limit: None,
                });
                amounts.push(charge.amount);
                places.push(at);
            }
        }
        let binding = Binding::new(limits, Vec::new(), hold.binding.parties.clone(), Arc::clone(&hold.binding.model));
        let part = Arc::new(Hold { binding: Arc::new(binding), amounts, ..Hold::clone(hold) });
        let terms = Terms { gateway, meter_required: false };
        let remaining_of = |charge: crate::domain::Charge<'_>| Remaining {
            remaining: charge.limit.max(0),
            reset: Duration::ZERO,
            soft_limit_passed: false,
        };
        Ok(match self.counters.admit(Arc::clone(&part), terms).await? {
            Verdict::Admitted { remaining } => {
                self.holds.lock().insert(hold.id, part);
                let mut all: Vec<Remaining> = hold.charges().map(remaining_of).collect();
                for (left, at) in remaining.into_iter().zip(places) {
                    all[at] = left;
                }
                Verdict::Admitted { remaining: all }
            }
            Verdict::Refused(refusal) => {
                let charge = places.get(refusal.charge).copied().unwrap_or_default();
                // An amount over this replica's part may still fit when all count together again.
                let fits = hold.charge(charge).is_some_and(|charge| charge.amount <= charge.limit);
                let retry_after = if fits { refusal.retry_after.max(Duration::from_secs(1)) } else { Duration::ZERO };
                Verdict::Refused(Refusal { charge, never: refusal.never && !fits, retry_after, ..refusal })
            }
            other => other,
        })
    }

    pub(super) async fn wait_for_room(&self, counter: &CounterKey, epoch: u64, patience: Duration) -> bool {
        self.counters.wait_for_room(counter, epoch, patience).await
    }

    pub(super) async fn start(&self, hold: HoldId, gateway: IpAddr, progress: Progress) {
        let part = self.holds.lock().get(&hold).cloned();
        if let Some(part) = part {
            // Counting here cannot fail.
            let _ = self.counters.start(&part, gateway, progress).await;
        }
    }

    pub(super) async fn renew(&self, running: &[(Arc<Hold>, Progress)]) {
        let parts: Vec<_> = {
            let holds = self.holds.lock();
            running.iter().filter_map(|(hold, progress)| Some((Arc::clone(holds.get(&hold.id)?), *progress))).collect()
        };
        let _ = self.counters.renew(&parts).await;
    }

    /// The request is over: `tokens` were used.
    pub(super) async fn settle(&self, hold: HoldId, tokens: Amount) {
        let part = self.holds.lock().remove(&hold);
        if let Some(part) = part {
            // Nobody books it.
            let record = part.estimated(RecordStatus::Usage, Progress::default(), Timestamp::now());
            let _ = self.counters.settle(&part, tokens, record, false).await;
        }
    }

    /// The hold is counted where it belongs, or did not take place.
    pub(super) async fn forget(&self, hold: HoldId) {
        if self.holds.lock().remove(&hold).is_some() {
            let _ = self.counters.release(hold).await;
        }
    }

    pub(super) async fn sweep(&self) {
        Counters::sweep(&self.counters).await;
        let open: Vec<HoldId> = self.holds.lock().keys().copied().collect();
        if let Ok((0, 0)) = self.counters.holds().await
            && !open.is_empty()
        {
            let mut holds = self.holds.lock();
            for hold in open {
                holds.remove(&hold);
            }
        }
    }
}

/// One part in `replicas`, and never nothing of something.
fn part_of(limit: Amount, replicas: u64) -> Amount {
    let replicas = Amount::try_from(replicas.max(1)).unwrap_or(Amount::MAX);
    if limit <= 0 { limit } else { (limit / replicas).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_limit_is_never_more_than_its_share_nor_nothing() {
        for (limit, replicas, part) in [(1_000, 3, 333), (2, 3, 1), (0, 3, 0), (-1, 2, -1), (7, 0, 7)] {
            assert_eq!(part_of(limit, replicas), part, "{limit} among {replicas}");
        }
    }
}
