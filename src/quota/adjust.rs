//! Adjustments: an operator sets what a scope has spent. The difference is a record like any other, so the books still
//! prove themselves.

use std::sync::Arc;

use super::Quota;
use super::counters::CountersError;
use crate::domain::{
    Account, BudgetDuration, HoldId, Money, Parties, Period, Record, RecordStatus, Scope, Timestamp, Usage,
};

impl Quota {
    /// Sets the spend of a scope, in all and in the current periods of these durations. Answers the change of the
    /// total.
    pub async fn set_spend(
        &self,
        scope: &Scope,
        durations: &[BudgetDuration],
        periods: &super::Periods,
        to: Money,
    ) -> Result<Money, CountersError> {
        let now = Timestamp::now();
        let mut change = Money::ZERO;
        // Accounts that change by the same amount share a record.
        let mut changes: Vec<(Money, Vec<Account>)> = Vec::new();
        let current = durations.iter().map(|duration| periods.at(Some(*duration), now));
        for period in std::iter::once(Period::total()).chain(current) {
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
