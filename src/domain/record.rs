//! Records: every change of spend, as the ledger keeps it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{HoldId, KeyHash};
use super::money::Money;
use super::period::Period;
use super::scope::Scope;
use super::time::Timestamp;
use super::usage::Usage;

/// Why spend changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// A metered response.
    Usage,
    /// A request whose meter died after it started: input and the output last seen are booked.
    Unsettled,
    /// A request no meter saw: its estimate is booked.
    Unmetered,
    /// A correction by an operator; a reset is a negative one.
    Adjustment,
    /// What an imported entity had spent before.
    Opening,
}

impl RecordStatus {
    pub const ALL: [RecordStatus; 5] = [
        RecordStatus::Usage,
        RecordStatus::Unsettled,
        RecordStatus::Unmetered,
        RecordStatus::Adjustment,
        RecordStatus::Opening,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RecordStatus::Usage => "usage",
            RecordStatus::Unsettled => "unsettled",
            RecordStatus::Unmetered => "unmetered",
            RecordStatus::Adjustment => "adjustment",
            RecordStatus::Opening => "opening",
        }
    }
}

/// Who a request is accounted to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    pub key: Option<KeyHash>,
    pub user_id: Option<Arc<str>>,
    pub team_id: Option<Arc<str>>,
    pub organization_id: Option<Arc<str>>,
    pub project_id: Option<Arc<str>>,
    pub end_user_id: Option<Arc<str>>,
    pub tags: Vec<Arc<str>>,
}

/// One spend counter a record adds to: a scope in one period. [`Period::total`] is all the scope ever spent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    pub scope: Scope,
    pub period: Period,
}

/// One change of spend. `(id, sequence)` is unique for ever: a record that is already there changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: HoldId,
    /// 0 for the first booking of a hold, 1 for a late correction.
    pub sequence: u32,
    pub status: RecordStatus,
    pub admitted_at: Timestamp,
    pub settled_at: Timestamp,
    pub parties: Parties,
    pub model: Arc<str>,
    pub usage: Usage,
    pub cost: Money,
    /// The price book the cost was computed with.
    pub price_version: Arc<str>,
    /// Whether usage was estimated because the response did not tell it.
    pub estimated: bool,
    /// Every account this adds `cost` to.
    pub accounts: Vec<Account>,
}
