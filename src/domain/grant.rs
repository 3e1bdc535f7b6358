//! Grants: what a credential itself allows at most, and what it says of a request besides who asks. The directory's own
//! rules hold too: a grant narrows, it never widens.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::entity::Limits;
use super::money::Money;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// Lists of models, names, patterns or access groups: it is good for what every one of them holds. Without a list
    /// it is good for all, and an empty list holds none.
    pub models: Vec<Vec<String>>,
    /// Lists of routes, paths, patterns or groups, likewise.
    pub routes: Vec<Vec<String>>,
    /// Dollars its user may spend at most, in the user's own period.
    pub max_budget: Option<Money>,
    /// Further limits on its user; each holds where it is the lower one.
    pub limits: Limits,
    /// The end user it speaks for; stands before what the request says.
    pub end_user: Option<Arc<str>>,
    /// The operator chose that nothing but the routes is checked of its callers.
    pub is_unchecked: bool,
    /// What the provider said, for policies and explanations. Never holds the credential.
    pub claims: Map<String, Value>,
}

impl Grant {
    /// Whether the limits of the caller's user change by it.
    #[must_use]
    pub fn limits_user(&self) -> bool {
        self.max_budget.is_some() || !self.limits.is_unlimited()
    }

    /// What both allow: this one with the models, routes and limits of the other holding too. All else stays.
    #[must_use]
    pub fn and(&self, other: &Grant) -> Grant {
        let mut limits = self.limits.clone().lowered(&other.limits);
        limits.max_budget = self.limits.max_budget.into_iter().chain(other.limits.max_budget).min();
        Grant {
            models: [&*self.models, &*other.models].concat(),
            routes: [&*self.routes, &*other.routes].concat(),
            max_budget: self.max_budget.into_iter().chain(other.max_budget).min(),
            limits,
            end_user: self.end_user.clone().or_else(|| other.end_user.clone()),
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_grants_allow_what_both_allow() {
        let grant = |models: &[&str], nanos: Option<i64>| Grant {
            models: models.iter().map(|name| vec![(*name).to_owned()]).collect(),
            max_budget: nanos.map(Money::nanos),
            ..Grant::default()
        };
        for (one, other, expected) in
            [(&[][..], &["a"][..], &["a"][..]), (&["a"], &[], &["a"]), (&["a"], &["b"], &["a", "b"])]
        {
            let shared = grant(one, Some(3)).and(&grant(other, Some(2)));
            assert_eq!(shared, grant(expected, Some(2)), "{one:?} {other:?}: every list holds");
        }
        assert_eq!(grant(&[], None).and(&grant(&[], Some(1))).max_budget, Some(Money::nanos(1)));
    }
}
