//! Charges: what an admission takes from which counter, and under which limit.

use super::money::Money;
use super::period::Period;
use super::scope::{Scope, ScopeKind};

/// What a limit counts. Amounts are whole numbers of its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Requests in any 60 seconds.
    Requests,
    /// Tokens in any 60 seconds.
    Tokens,
    /// Requests in flight.
    InFlight,
    /// Nano-dollars in a budget period.
    Spend,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Requests, Kind::Tokens, Kind::InFlight, Kind::Spend];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Requests => "requests",
            Kind::Tokens => "tokens",
            Kind::InFlight => "max_parallel_requests",
            Kind::Spend => "spend",
        }
    }

    /// The reason of a refusal by a limit of this kind, and the name such limits have in the configuration:
    /// `rate_limit.team.tokens`, `budget.user`.
    #[must_use]
    pub fn reason(self, scope: ScopeKind) -> String {
        match self {
            Kind::Spend => format!("budget.{}", scope.as_str()),
            kind => format!("rate_limit.{}.{}", scope.as_str(), kind.as_str()),
        }
    }
}

/// An amount in the unit of a [`Kind`]: requests, tokens, slots or nano-dollars.
pub type Amount = i64;

/// Over what a counter sums.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any 60 seconds (requests, tokens).
    Minute,
    /// While requests are in flight.
    InFlight,
    /// A budget period.
    Period(Period),
}

/// The name of one counter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CounterKey {
    pub scope: Scope,
    pub kind: Kind,
    pub window: Window,
}

/// One limit on one counter: admit iff `spent + held + amount <= limit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub counter: CounterKey,
    pub limit: Amount,
    /// Where this is a budget with a soft limit: passing it raises an event once a period, and never refuses.
    pub soft_limit: Option<Money>,
}

/// One line of an admission: a limit, and the amount that is held under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    pub counter: &'a CounterKey,
    pub amount: Amount,
    pub limit: Amount,
    pub soft_limit: Option<Money>,
}

impl Limit {
    #[must_use]
    pub const fn charge(&self, amount: Amount) -> Charge<'_> {
        Charge { counter: &self.counter, amount, limit: self.limit, soft_limit: self.soft_limit }
    }
}
