//! Counters that several replicas share: Redis, checked before it is relied upon, and the books behind it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::directory::SharedStore;
use crate::domain::{Account, HoldId, Money, Record};
use crate::quota::counters::redis::{RedisCounters, RedisSettings, SharedBooks, Unwritten};
use crate::quota::counters::{Books, CountersError};
use crate::spend::ledger::Ledger;

type Written = (Vec<Record>, Vec<bool>);

/// Shared counters, and what their upkeep needs.
pub struct Shared {
    pub counters: Arc<RedisCounters>,
    pub books: Arc<SharedBooks>,
    written: Mutex<Option<mpsc::UnboundedReceiver<Written>>>,
}

/// Opens the counters and asks whether Redis keeps what it is given; that it cannot be asked now is no reason not to
/// start, since what happens then is the operator's choice.
pub async fn open(
    config: &Config,
    books: &Arc<dyn Books>,
    ledger: &Arc<Ledger>,
    store: &SharedStore,
) -> anyhow::Result<Shared> {
    let settings = RedisSettings {
        url: config.counters.url(),
        prefix: config.counters.prefix.clone(),
        shards: config.counters.shards,
        timeout: Duration::from_millis(config.counters.timeout_ms),
        on_failure: config.quota.on_counter_failure,
        max_holds: config.counters.max_holds,
        max_waiting: config.quota.max_waiting,
    };
    let counters = Arc::new(RedisCounters::new(Arc::clone(books), &settings).context("counters.url")?);
    match counters.eviction_policy().await {
        Ok(policy) if policy == "noeviction" => {}
        Ok(policy) if config.counters.allow_eviction => {
            tracing::warn!(policy, "redis may throw counters away; limits are then not kept");
        }
        Ok(policy) => bail!(
            "redis has maxmemory-policy {policy}, and may throw counters away: set it to noeviction, or set \
             counters.allow_eviction: true and know that limits are then not kept"
        ),
        Err(error) => tracing::warn!(%error, "redis could not be asked for its maxmemory-policy"),
    }
    let (sender, written) = mpsc::unbounded_channel();
    ledger.tell_written(Box::new(move |records, new| {
        // At the end of the process nobody hears it, and the entries are found as a dead replica's.
        let _ = sender.send((records.to_vec(), new.to_vec()));
    }));
    let unwritten = Arc::new(Ours { ledger: Arc::clone(ledger), store: Arc::clone(store) });
    let books = Arc::new(SharedBooks { books: Arc::clone(books), counters: Arc::clone(&counters), unwritten });
    Ok(Shared { counters, books, written: Mutex::new(Some(written)) })
}

impl Shared {
    /// Starts the upkeep; it ends when `stop` is cancelled.
    pub fn spawn(&self, stop: &CancellationToken, tasks: &TaskTracker) {
        if let Some(written) = self.written.lock().take() {
            tasks.spawn(Arc::clone(&self.counters).run(written, stop.clone()));
        }
    }
}

/// This replica's ledger and the directory.
struct Ours {
    ledger: Arc<Ledger>,
    store: SharedStore,
}

#[async_trait]
impl Unwritten for Ours {
    fn pending_on(&self, account: &Account) -> Vec<(HoldId, u32, Money)> {
        self.ledger.pending_on(account)
    }

    async fn written(&self, account: &Account) -> Result<Money, CountersError> {
        self.store.spent(account).await.map_err(|error| CountersError::Unavailable(error.to_string()))
    }

    async fn has_written(&self, records: &[(HoldId, u32)]) -> Result<Vec<bool>, CountersError> {
        let known = self.store.knows_records(records).await;
        known.map_err(|error| CountersError::Unavailable(error.to_string()))
    }
}
