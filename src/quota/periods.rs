//! Current budget periods, computed once each and looked up until they end.

use ahash::AHashMap;
use parking_lot::RwLock;

use crate::domain::{BudgetDuration, Calendar, Period, Timestamp};

/// The current period of every duration in use.
pub struct Periods {
    calendar: Calendar,
    current: RwLock<AHashMap<BudgetDuration, Period>>,
}

impl Periods {
    #[must_use]
    pub fn new(calendar: Calendar) -> Self {
        Periods { calendar, current: RwLock::default() }
    }

    /// The period of `duration` that holds `now`; `None` is for life.
    #[must_use]
    pub fn at(&self, duration: Option<BudgetDuration>, now: Timestamp) -> Period {
        let Some(duration) = duration else { return Period::total() };
        if let Some(period) = self.current.read().get(&duration).filter(|period| period.contains(now)) {
            return period.clone();
        }
        let period = self.calendar.period(duration, now);
        self.current.write().insert(duration, period.clone());
        period
    }
}
