//! Openings: what an entity had spent before it came, as records. The total goes to the account that never ends, what
//! was spent in the current budget period to that period, so that a budget that was partly used stays partly used.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directory::import::opening_id;
use crate::domain::{
    Account, BudgetDuration, Calendar, Limits, Money, Parties, Period, Record, RecordStatus, Scope, Timestamp, Usage,
};

/// What LiteLLM knows of an entity's spend.
#[derive(Clone, Debug, Default)]
pub(super) struct Spent {
    /// Since the last reset of its budget; in all where it has no period.
    pub spend: Money,
    /// In all, where LiteLLM counts that.
    pub total: Option<Money>,
    /// When its budget is due to be reset.
    pub reset_at: Option<Timestamp>,
    /// In the windows of its further budgets.
    pub windows: Vec<(BudgetDuration, Money)>,
    /// Other scopes that are for life: models of the entity.
    pub others: Vec<(Scope, Money)>,
}

/// Whose it is.
pub(super) struct Entity<'a> {
    pub table: &'a str,
    pub id: &'a str,
    pub scope: Scope,
    pub parties: Parties,
    /// With those of its budget row.
    pub limits: &'a Limits,
}

/// The records of one entity. Accounts that begin with the same amount share a record.
pub(super) fn records(entity: &Entity<'_>, spent: Spent, calendar: &Calendar, now: Timestamp) -> Vec<Record> {
    let limits = entity.limits;
    let bounded = limits.max_budget.is_some() || limits.soft_budget.is_some();
    // A budget for life counts from the last reset, which LiteLLM's own total does not know.
    let for_life = bounded && limits.budget_duration.is_none();
    let total = if for_life { spent.spend } else { spent.total.unwrap_or_default().max(spent.spend) };
    let mut accounts: Vec<(Account, Money)> =
        vec![(Account { scope: entity.scope.clone(), period: Period::total() }, total)];
    let mut periods: BTreeMap<Arc<str>, (Period, Money)> = BTreeMap::new();
    let mut put = |duration: BudgetDuration, amount: Money| {
        let period = calendar.period(duration, now);
        let (_, most) = periods.entry(Arc::clone(&period.id)).or_insert((period, Money::ZERO));
        *most = (*most).max(amount);
    };
    // Past its reset LiteLLM would have set it to zero with the next run of its job.
    let is_current = spent.reset_at.is_none_or(|reset_at| reset_at > now);
    if let Some(duration) = limits.budget_duration.filter(|_| is_current) {
        put(duration, spent.spend);
    }
    spent.windows.into_iter().for_each(|(duration, amount)| put(duration, amount));
    let in_periods = periods.into_values();
    accounts.extend(in_periods.map(|(period, amount)| (Account { scope: entity.scope.clone(), period }, amount)));
    let others = spent.others.into_iter();
    accounts.extend(others.map(|(scope, amount)| (Account { scope, period: Period::total() }, amount)));

    let mut sums: Vec<(Money, Vec<Account>)> = Vec::new();
    for (account, amount) in accounts.into_iter().filter(|(_, amount)| !amount.is_zero()) {
        match sums.iter_mut().find(|(sum, _)| *sum == amount) {
            Some((_, accounts)) => accounts.push(account),
            None => sums.push((amount, vec![account])),
        }
    }
    let id = opening_id(entity.table, entity.id);
    let record = |(n, (cost, accounts)): (usize, (Money, Vec<Account>))| Record {
        id,
        sequence: u32::try_from(n).unwrap_or(u32::MAX),
        status: RecordStatus::Opening,
        admitted_at: now,
        settled_at: now,
        parties: entity.parties.clone(),
        model: "".into(),
        usage: Usage::default(),
        cost,
        price_version: "litellm".into(),
        estimated: false,
        accounts,
    };
    sums.into_iter().enumerate().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booked(limits: &Limits, spent: Spent) -> Vec<(String, i64)> {
        let now = Timestamp::parse("2026-11-24T13:00:00Z").unwrap_or_default();
        let entity = Entity { table: "t", id: "i", scope: Scope::global(), parties: Parties::default(), limits };
        let records = records(&entity, spent, &Calendar::default(), now);
        let accounts = records.iter().flat_map(|record| {
            record.accounts.iter().map(|account| (account.period.id.to_string(), record.cost.as_nanos()))
        });
        accounts.collect()
    }

    #[test]
    fn a_partly_used_budget_stays_partly_used() {
        let money = Money::nanos;
        let daily: Option<BudgetDuration> = "1d".parse().ok();
        let at = |text| Timestamp::parse(text);
        let day = format!("1d@{}", 1_795_478_400);
        let periodic = Limits { max_budget: Some(money(9)), budget_duration: daily, ..Limits::default() };
        let for_life = Limits { max_budget: Some(money(9)), ..Limits::default() };
        let spent = |spend, total, reset_at| Spent { spend: money(spend), total, reset_at, ..Spent::default() };
        let total = |amount| ("total".to_owned(), amount);
        let tomorrow = at("2026-11-25T00:00:00Z");
        for (limits, spent, expected) in [
            (&periodic, spent(5, Some(money(50)), tomorrow), vec![total(50), (day.clone(), 5)]),
            (&periodic, spent(5, None, None), vec![total(5), (day.clone(), 5)]),
            (&periodic, spent(5, Some(money(50)), at("2026-11-24T00:00:00Z")), vec![total(50)]),
            (&for_life, spent(5, Some(money(50)), None), vec![total(5)]),
            (&Limits::default(), spent(5, Some(money(50)), None), vec![total(50)]),
            (&for_life, Spent::default(), vec![]),
        ] {
            assert_eq!(booked(limits, spent.clone()), expected, "{limits:?} {spent:?}");
        }
        let two = Spent { windows: daily.map(|day| (day, money(7))).into_iter().collect(), ..spent(5, None, None) };
        assert_eq!(booked(&periodic, two), [total(5), (day, 7)], "one account, the larger amount");
    }
}
