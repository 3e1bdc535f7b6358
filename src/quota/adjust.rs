//! Adjustments: an operator sets what a scope has spent. The difference is a record like any other, so the books still
//! prove themselves.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::Quota;
use super::counters::CountersError;
use crate::domain::{
    Account, BudgetDuration, HoldId, Money, Parties, Period, Record, RecordStatus, Scope, Timestamp, Usage,
};

/// The scopes that are adjusted at this moment.
#[derive(Default)]
pub(super) struct Adjusting {
    turns: Mutex<HashMap<Scope, Weak<tokio::sync::Mutex<()>>>>,
}

impl Adjusting {
    /// Waits until nobody else adjusts this scope, and keeps others from it as long as the answer lives.
    async fn alone_on(&self, scope: &Scope) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| turn.strong_count() > 0);
            turns.get(scope).and_then(Weak::upgrade).unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(scope.clone(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

impl Quota {
    /// Sets the spend of a scope, in all and in the current periods of these durations. Answers the change of the
    /// total. What is spent between the reading and the booking counts on top. Adjustments of one scope come one after
    /// another in this process: two that read the same would both book the difference.
    pub async fn set_spend(
        &self,
        scope: &Scope,
        durations: &[BudgetDuration],
        periods: &super::Periods,
        to: Money,
    ) -> Result<Money, CountersError> {
        let _alone = self.adjusting.alone_on(scope).await;
        let now = Timestamp::now();
        let mut change = Money::ZERO;
        // Accounts that change by the same amount share a record.
        let mut changes: Vec<(Money, Vec<Account>)> = Vec::new();
        let mut current = vec![Period::total()];
        for period in durations.iter().map(|duration| periods.at(Some(*duration), now)) {
            // Several durations may be one period, as a day and 24 hours are.
            if current.iter().all(|other| other.id != period.id) {
                current.push(period);
            }
        }
        for period in current {
            let is_total = period.is_total();
            let account = Account { scope: scope.clone(), period };
            let difference = to - self.books.spent(&account).await?;
            if is_total {
                change = difference;
            }
            match changes.iter_mut().find(|(amount, _)| *amount == difference) {
                _ if difference.is_zero() => {}
                Some((_, accounts)) => accounts.push(account),
                None => changes.push((difference, vec![account])),
            }
        }
        for (difference, accounts) in changes {
            self.counters.adjust(adjustment(accounts, difference, now)?).await?;
        }
        Ok(change)
    }
}

fn adjustment(accounts: Vec<Account>, cost: Money, now: Timestamp) -> Result<Record, CountersError> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| CountersError::Unavailable("no randomness".to_owned()))?;
    Ok(Record {
        id: HoldId::new(id),
        sequence: 0,
        status: RecordStatus::Adjustment,
        admitted_at: now,
        settled_at: now,
        parties: Parties::default(),
        model: Arc::from(""),
        usage: Usage::default(),
        cost,
        price_version: Arc::from(""),
        estimated: false,
        accounts,
    })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::poll;

    use super::*;
    use crate::domain::{Calendar, Hold, Progress};
    use crate::quota::counters::Books;
    use crate::quota::counters::memory::{MemoryCounters, MemorySettings};
    use crate::quota::token::Signer;
    use crate::spend::{PriceBook, Prices};

    /// Books of one account that others may change before a reader goes on.
    struct OneAccount(Mutex<Money>);

    #[async_trait]
    impl Books for OneAccount {
        fn book(&self, record: Record) {
            *self.0.lock() += record.cost;
        }
        fn started(&self, _: &Arc<Hold>, _: Progress) {}
        fn progressed(&self, _: &[(HoldId, Progress)]) {}
        async fn spent(&self, _: &Account) -> Result<Money, CountersError> {
            let spent = *self.0.lock();
            tokio::task::yield_now().await;
            Ok(spent)
        }
        async fn knows(&self, _: HoldId) -> Result<bool, CountersError> {
            Ok(false)
        }
    }

    #[tokio::test]
    async fn two_who_reset_one_scope_at_once_reset_it_once() {
        let books = Arc::new(OneAccount(Mutex::new(Money::nanos(10))));
        let counters = Arc::new(MemoryCounters::new(books.clone(), MemorySettings::default()));
        let prices = Arc::new(Prices::new(PriceBook::builtin()));
        let (quota, _) = Quota::new(counters, books.clone(), Signer::new(&[0; 32]), prices);
        let periods = super::super::Periods::new(Calendar::default());
        let scope = Scope::global();
        let reset = || quota.set_spend(&scope, &[], &periods, Money::ZERO);
        let (one, other) = tokio::join!(reset(), reset());
        assert_eq!((one.unwrap(), other.unwrap()), (Money::nanos(-10), Money::ZERO));
        assert_eq!(*books.0.lock(), Money::ZERO);
    }

    #[tokio::test]
    async fn a_scope_that_is_adjusted_keeps_no_other_waiting() {
        let adjusting = Adjusting::default();
        let (one, other) = (Scope::global(), Scope::new(crate::domain::ScopeKind::User, &["u"]));
        let alone = adjusting.alone_on(&one).await;
        let mut second = Box::pin(adjusting.alone_on(&one));
        assert!(poll!(&mut second).is_pending());
        drop(adjusting.alone_on(&other).await);
        drop(alone);
        drop(second.await);
        drop(adjusting.alone_on(&one).await);
        assert_eq!(adjusting.turns.lock().len(), 1, "what nobody adjusts any more is forgotten");
    }
}
