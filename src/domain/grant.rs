//! Grants: what a credential itself allows at most, and what it says of a request besides who asks. The directory's own
//! rules hold too: a grant narrows, it never widens.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::entity::Limits;
use super::glob;
use super::money::Money;

/// See the module. `None` says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grant {
    /// The only models it is good for: names, patterns, access groups; an empty list is none at all.
    pub models: Option<Vec<String>>,
    /// The only routes it is good for: paths, patterns, groups; an empty list is none at all.
    pub routes: Option<Vec<String>>,
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

    /// Its limits with its budget among them.
    #[must_use]
    pub fn all_limits(&self) -> Limits {
        let max_budget = self.limits.max_budget.into_iter().chain(self.max_budget).min();
        Limits { max_budget, ..self.limits.clone() }
    }

    /// What both allow: this one with the models, routes and limits of the other holding too. All else stays.
    #[must_use]
    pub fn and(&self, other: &Grant) -> Grant {
        Grant {
            models: both(self.models.as_deref(), other.models.as_deref()),
            routes: both(self.routes.as_deref(), other.routes.as_deref()),
            max_budget: self.max_budget.into_iter().chain(other.max_budget).min(),
            limits: self.limits.clone().lowered(&other.limits),
            end_user: self.end_user.clone().or_else(|| other.end_user.clone()),
            ..self.clone()
        }
    }
}

/// What stands in two lists: of a name and a pattern over it the name. Names that only a catalog could tell to be one
/// are two here, and fall away.
fn both(one: Option<&[String]>, other: Option<&[String]>) -> Option<Vec<String>> {
    let (one, other) = match (one, other) {
        (None, list) | (list, None) => return list.map(<[String]>::to_vec),
        (Some(one), Some(other)) => (one, other),
    };
    let mut shared: Vec<String> = Vec::new();
    for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
        let narrower = if a == b || glob::matches(b, a) {
            a
        } else if glob::matches(a, b) {
            b
        } else {
            continue;
        };
        if !shared.contains(narrower) {
            shared.push(narrower.clone());
        }
    }
    Some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_grants_allow_what_both_allow() {
        let grant = |models: Option<&[&str]>, nanos: Option<i64>| Grant {
            models: models.map(|list| list.iter().map(|name| (*name).to_owned()).collect()),
            max_budget: nanos.map(Money::nanos),
            ..Grant::default()
        };
        #[rustfmt::skip]
        let cases: [(Option<&[&str]>, Option<&[&str]>, Option<&[&str]>); 7] = [
            (None, None, None),
            (None, Some(&["a"]), Some(&["a"])),
            (Some(&["a"]), None, Some(&["a"])),
            (Some(&["a", "b"]), Some(&["b", "c"]), Some(&["b"])),
            (Some(&["gpt-*"]), Some(&["gpt-4o", "claude"]), Some(&["gpt-4o"])),
            (Some(&["gpt-4o"]), Some(&["*", "gpt-*"]), Some(&["gpt-4o"])),
            (Some(&["a"]), Some(&["b"]), Some(&[])),
        ];
        for (one, other, expected) in cases {
            let shared = grant(one, Some(3)).and(&grant(other, Some(2)));
            assert_eq!(shared, grant(expected, Some(2)), "{one:?} {other:?}");
        }
        assert_eq!(grant(None, None).and(&grant(None, Some(1))).max_budget, Some(Money::nanos(1)));
    }
}
