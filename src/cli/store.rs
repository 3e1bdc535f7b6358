//! The directory as the command line reaches it: opened for one operation, with the rights of an operator.

use std::sync::Arc;

use async_trait::async_trait;

use crate::config::Config;
use crate::directory::{Directory, DirectoryError, SharedStore};
use crate::domain::{Money, Scope, Timestamp};
use crate::manage::{Actor, Manager, SpendAdjuster};

/// What a command works with.
pub(super) struct Desk {
    pub manager: Manager,
    pub actor: Actor,
}

impl Desk {
    pub async fn open(config: Config) -> anyhow::Result<Desk> {
        let store = open(&config).await?;
        let manager = Manager::new(store, Arc::new(config), Arc::new(ServerAdjustsSpend), Timestamp::now());
        Ok(Desk { manager, actor: Actor::operator() })
    }
}

/// Opens the directory the configuration names.
pub(super) async fn open(config: &Config) -> anyhow::Result<SharedStore> {
    Ok(Arc::clone(Directory::open(config).await?.store()))
}

/// Spend is counted by the server that runs: a command beside it would book what the counters do not see.
struct ServerAdjustsSpend;

#[async_trait]
impl SpendAdjuster for ServerAdjustsSpend {
    async fn adjust(&self, _scope: Scope, _to: Money) -> Result<(), DirectoryError> {
        let reason = "only a running server sets spend; send it POST /key/update";
        Err(DirectoryError::Unavailable(reason.to_owned()))
    }
}
