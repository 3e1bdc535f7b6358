use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::{BudgetDuration, Secret};

/// Where keys, teams, budgets and the ledger live.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// `sqlite://FILE`. The environment variable `DATABASE_URL` stands where this is absent.
    pub url: Option<Secret>,
    /// How long a resolved key is kept before it is read again. A write is seen within 100 ms whatever this says.
    pub cache_ttl: BudgetDuration,
    /// How long an unknown key is remembered as unknown.
    pub negative_ttl: BudgetDuration,
    /// How long a cached key may be used while the directory does not answer.
    pub stale_if_error: BudgetDuration,
    /// Keys kept in the cache.
    pub cache_size: usize,
}

impl Default for Directory {
    fn default() -> Self {
        Directory {
            url: None,
            cache_ttl: BudgetDuration::seconds(60),
            negative_ttl: BudgetDuration::seconds(5),
            stale_if_error: BudgetDuration::seconds(600),
            cache_size: 100_000,
        }
    }
}
