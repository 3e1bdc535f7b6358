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
}
