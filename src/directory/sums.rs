//! What a batch of records adds to which row: summed first, written once for each row, in the order of the keys, so
//! that two writers never wait for each other in a circle.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::day_of;
use crate::domain::{Period, Record, RecordStatus, Scope};

/// The sums of a batch.
#[derive(Default)]
pub(super) struct Sums {
    /// Nano-dollars by scope and period.
    pub periods: BTreeMap<(Scope, Arc<str>), (Period, i64)>,
    /// By day, scope and model.
    pub days: BTreeMap<(i64, Scope, Arc<str>), Day>,
    /// Nano-dollars each scope ever spent: what its entity's `spend` grows by.
    pub entities: BTreeMap<Scope, i64>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Day {
    pub requests: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub spend: i64,
}

impl Sums {
    pub(super) fn add(&mut self, record: &Record) {
        let cost = record.cost.as_nanos();
        for account in &record.accounts {
            let place = (account.scope.clone(), Arc::clone(&account.period.id));
            let (_, sum) = self.periods.entry(place).or_insert_with(|| (account.period.clone(), 0));
            *sum = sum.saturating_add(cost);
            if !account.period.is_total() {
                continue;
            }
            let sum = self.entities.entry(account.scope.clone()).or_default();
            *sum = sum.saturating_add(cost);
            let day = (day_of(record.admitted_at), account.scope.clone(), Arc::clone(&record.model));
            self.days.entry(day).or_default().add(record);
        }
    }
}

impl Day {
    fn add(&mut self, record: &Record) {
        let requested =
            matches!(record.status, RecordStatus::Usage | RecordStatus::Unsettled | RecordStatus::Unmetered);
        let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        // A correction (sequence 1) is of a request that was counted.
        self.requests += i64::from(requested && record.sequence == 0);
        self.input_tokens = self.input_tokens.saturating_add(tokens(record.usage.all_input_tokens()));
        self.output_tokens = self.output_tokens.saturating_add(tokens(record.usage.all_output_tokens()));
        self.spend = self.spend.saturating_add(record.cost.as_nanos());
    }
}
