//! What happens while Redis does not answer: whether it does, and what each kind of limit does meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;

/// Whether a shard answers. Told by every call, asked before the next.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
}

impl Health {
    /// Whether it answered until now.
    pub(super) fn failed(&self) -> bool {
        !self.down.swap(true, Ordering::AcqRel)
    }

    /// Whether it did not answer until now.
    pub(super) fn answered(&self) -> bool {
        self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}

/// What a rate limit does while the counters cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitsWithout {
    /// Each replica counts for itself, against the limit divided by the replicas last seen.
    #[default]
    Local,
    /// 503.
    Deny,
    /// The limit is not looked at.
    Allow,
}

/// What a budget does while the counters cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetsWithout {
    /// 503: a hard budget is not passed.
    #[default]
    Deny,
    /// The budget is not looked at; what was spent meanwhile is booked, and counts when the counters are back.
    Allow,
}

/// What happens to requests while the counters cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnCounterFailure {
    /// Requests and tokens a minute, requests in flight.
    pub rate_limits: RateLimitsWithout,
    /// Money.
    pub budgets: BudgetsWithout,
}
