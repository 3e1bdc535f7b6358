//! What operators do to the directory: keys, teams, users, organizations, budgets, members, end users, tags. The
//! management API and the command line both call these operations, so they cannot disagree. Every one checks who acts,
//! refuses what would give a child more than its parent, and leaves a line in the audit log.

mod actor;
mod attributes;
mod audit;
mod budgets;
mod delegation;
mod end_users;
mod error;
mod fresh;
mod key_mappings;
mod keys;
mod members;
mod organizations;
mod permissions;
mod render;
mod sessions;
mod tags;
mod teams;
#[cfg(test)]
pub(crate) mod tests;
mod users;

use std::sync::Arc;

use async_trait::async_trait;

pub use actor::Actor;
pub use attributes::{Attributes, Params};
pub use error::ManageError;
pub use keys::{IssuedKey, KeyName};
pub use sessions::IssuedSession;
pub use users::NewUser;

use fresh::on_fresh_rows;

use crate::config::Config;
use crate::directory::{DirectoryError, SharedStore};
use crate::domain::{Calendar, Money, Scope, Timestamp};

pub type Result<T> = std::result::Result<T, ManageError>;

/// Sets what a scope has spent, by booking the difference in the ledger: only the ledger changes spend.
#[async_trait]
pub trait SpendAdjuster: Send + Sync {
    /// Whether an adjustment can be booked now. Asked before anything is written, so that what cannot be done whole is
    /// not begun.
    async fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// Proves that the books add up and that the counters agree with them. Only a running server has counters.
    async fn verify(&self) -> std::result::Result<crate::directory::Verification, DirectoryError> {
        Err(DirectoryError::Unavailable("only a running server can compare its counters with the ledger".to_owned()))
    }

    async fn adjust(&self, scope: Scope, to: Money) -> std::result::Result<(), DirectoryError>;
}

/// The operations, over one store, one configuration and one moment.
#[derive(Clone)]
pub struct Manager {
    store: SharedStore,
    config: Arc<Config>,
    adjuster: Arc<dyn SpendAdjuster>,
    calendar: Calendar,
    now: Timestamp,
}

impl Manager {
    /// Budget periods in answers follow the configuration's time zone; one that is not valid (the configuration was not
    /// checked) falls back to UTC.
    #[must_use]
    pub fn new(store: SharedStore, config: Arc<Config>, adjuster: Arc<dyn SpendAdjuster>, now: Timestamp) -> Self {
        let settings = &config.litellm_settings;
        let calendar = Calendar::new(&settings.timezone, &settings.budget_reset_time).unwrap_or_default();
        Manager { store, config, adjuster, calendar, now }
    }
}
