//! The directory as the command line reaches it: opened for one operation, with the rights of an operator.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::config::Config;
use crate::directory::{Directory, DirectoryError, ExclusiveLock};
use crate::domain::{Money, Scope, Timestamp};
use crate::manage::{Actor, ManageError, Manager, SpendAdjuster};
use crate::server::engine::Engine;
use crate::server::start::House;

/// What a command works with.
pub(super) struct Desk {
    pub manager: Manager,
    pub actor: Actor,
}

impl Desk {
    pub async fn open(config: Config) -> anyhow::Result<Desk> {
        let directory = Directory::open(&config).await?;
        let (store, config) = (Arc::clone(directory.store()), Arc::new(config));
        let adjuster = BesideNoServer { directory, config: Arc::clone(&config), lock: Mutex::default() };
        let manager = Manager::new(store, config, Arc::new(adjuster), Timestamp::now());
        Ok(Desk { manager, actor: Actor::operator() })
    }
}

/// Books adjustments. What a running server counts in its memory must not change behind its back, so then none may run;
/// counters in Redis hear of it.
struct BesideNoServer {
    directory: Arc<Directory>,
    config: Arc<Config>,
    /// Held from the moment an adjustment is found possible until it is booked.
    lock: Mutex<Option<ExclusiveLock>>,
}

impl BesideNoServer {
    async fn lock(&self) -> Result<Option<ExclusiveLock>, DirectoryError> {
        if self.config.counters.in_memory() { self.directory.exclusive_lock().await.map(Some) } else { Ok(None) }
    }

    /// Everything that books; beside servers it has a spool of its own, which is empty when it is done.
    async fn house(&self, spool: &TempDir) -> anyhow::Result<House> {
        let (config, directory) = (Arc::clone(&self.config), Arc::clone(&self.directory));
        if self.config.counters.in_memory() {
            House::build(config, directory).await
        } else {
            House::with_spool(config, directory, spool.path().to_owned()).await
        }
    }
}

#[async_trait]
impl SpendAdjuster for BesideNoServer {
    async fn ready(&self) -> Result<(), ManageError> {
        if self.lock.lock().is_some() {
            return Ok(());
        }
        let lock = self.lock().await.map_err(|_| {
            ManageError::conflict(
                "a server runs on this directory and counts what is spent; set it there, with POST /key/update or \
                 POST /key/{key}/reset_spend of the management API",
            )
        })?;
        *self.lock.lock() = lock;
        Ok(())
    }

    async fn adjust(&self, scope: Scope, to: Money) -> Result<(), DirectoryError> {
        let held = self.lock.lock().take();
        let lock = match held {
            Some(lock) => Some(lock),
            None => self.lock().await?,
        };
        let unavailable = |error: &dyn std::fmt::Display| DirectoryError::Unavailable(error.to_string());
        let spool = TempDir::with_prefix("tollward-").map_err(|error| unavailable(&error))?;
        let house = self.house(&spool).await.map_err(|error| unavailable(&format!("{error:#}")))?;
        if let Some(shared) = &house.redis {
            shared.begin();
        }
        let engine = Engine::new(
            Arc::clone(&house.gate),
            Arc::clone(self.directory.store()),
            Arc::clone(&house.ledger),
            Arc::clone(&house.metrics),
        );
        let adjusted = engine.adjust(scope, to).await;
        house.end().await.map_err(|error| unavailable(&format!("{error:#}")))?;
        drop(lock);
        adjusted
    }
}
