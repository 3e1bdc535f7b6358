use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::{BudgetDuration, Secret};

/// Where keys, teams, budgets and the ledger live.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Directory {
    /// `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`. The environment variable `DATABASE_URL` stands where
    /// this is absent.
    pub url: Option<Secret>,
    /// A read replica of PostgreSQL, asked for lists and reports only; what decides about a request is always read from
    /// `url`.
    pub read_url: Option<Secret>,
    /// PostgreSQL without the pooler that `url` leads through: listening and locks need a connection of their own.
    pub listen_url: Option<Secret>,
    /// What happens at start when the tables are older than this version: `auto` brings them up to date, `check` refuses
    /// to start, `off` does not look. `tollward migrate` does it beforehand.
    pub migrate: Migrate,
    /// `off` where a pooler in transaction mode, such as PgBouncer, stands before PostgreSQL.
    pub prepared_statements: PreparedStatements,
    /// Connections to PostgreSQL, besides the one that listens; as many again to `read_url`.
    pub pool_size: usize,
    /// How long a resolved key is kept before it is read again. A write is seen within 100 ms whatever this says.
    pub cache_ttl: BudgetDuration,
    /// How long an unknown key is remembered as unknown.
    pub negative_ttl: BudgetDuration,
    /// How long a cached key may be used while the directory does not answer.
    pub stale_if_error: BudgetDuration,
    /// Keys kept in the cache.
    pub cache_size: usize,
}

/// What happens at start when the tables are old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Migrate {
    #[default]
    Auto,
    Check,
    Off,
}

/// Whether statements are prepared once and kept by their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PreparedStatements {
    #[default]
    On,
    Off,
}

/// Whether a URL leads to PostgreSQL.
#[must_use]
pub fn is_postgres(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

impl Default for Directory {
    fn default() -> Self {
        Directory {
            url: None,
            read_url: None,
            listen_url: None,
            migrate: Migrate::Auto,
            prepared_statements: PreparedStatements::On,
            pool_size: 10,
            cache_ttl: BudgetDuration::seconds(60),
            negative_ttl: BudgetDuration::seconds(5),
            stale_if_error: BudgetDuration::seconds(600),
            cache_size: 100_000,
        }
    }
}
