//! Counters that several replicas share: Redis, checked before it is relied upon, and the books behind it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::directory::SharedStore;
use crate::domain::{Account, Hold, HoldId, Money, Progress, Record};
use crate::quota::counters::redis::{AddressError, RedisCounters, RedisSettings, SharedBooks, Unwritten};
use crate::quota::counters::{Books, CountersError};
use crate::spend::ledger::Ledger;

/// The longest a call from beside the replicas may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the end of the upkeep may take.
const END: Duration = Duration::from_secs(5);

type Written = (Vec<Record>, Vec<bool>);

/// Shared counters, and what their upkeep needs.
pub struct Shared {
    pub counters: Arc<RedisCounters>,
    pub books: Arc<SharedBooks>,
    written: Mutex<Option<mpsc::UnboundedReceiver<Written>>>,
    upkeep: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
}

/// Opens the counters and asks whether Redis keeps what it is given; that it cannot be asked now is no reason not to
/// start, since what happens then is the operator's choice.
pub async fn open(
    config: &Config,
    books: &Arc<dyn Books>,
    ledger: &Arc<Ledger>,
    store: &SharedStore,
) -> anyhow::Result<Shared> {
    let counters = RedisCounters::new(Arc::clone(books), &settings(config)).context("counters.url")?;
    let counters = Arc::new(counters);
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
    Ok(Shared {
        counters,
        books,
        written: Mutex::new(Some(written)),
        upkeep: Mutex::default(),
        stop: CancellationToken::new(),
    })
}

/// The counters that replicas share, for a process that changes what they count from beside them; nothing is asked yet.
pub fn beside(config: &Config) -> Result<RedisCounters, AddressError> {
    let settings = settings(config);
    // Nobody's request waits for it.
    let timeout = settings.timeout.max(PATIENCE);
    RedisCounters::new(Arc::new(Elsewhere), &RedisSettings { timeout, ..settings })
}

fn settings(config: &Config) -> RedisSettings {
    RedisSettings {
        url: config.counters.url(),
        prefix: config.counters.prefix.clone(),
        shards: config.counters.shards,
        timeout: Duration::from_millis(config.counters.timeout_ms),
        on_failure: config.quota.on_counter_failure,
        max_holds: config.counters.max_holds,
        max_waiting: config.quota.max_waiting,
    }
}

impl Shared {
    /// Starts the upkeep, until [`Shared::end`].
    pub fn begin(&self) {
        if let Some(written) = self.written.lock().take() {
            let upkeep = tokio::spawn(Arc::clone(&self.counters).run(written, self.stop.clone()));
            *self.upkeep.lock() = Some(upkeep);
        }
    }

    /// Ends the upkeep, after the ledger: what it wrote last is told to Redis first.
    pub async fn end(&self) {
        self.stop.cancel();
        let upkeep = self.upkeep.lock().take();
        if let Some(upkeep) = upkeep
            && tokio::time::timeout(END, upkeep).await.is_err()
        {
            tracing::warn!("redis could not be told what was written last; another replica finds it");
        }
    }
}

/// Books that others keep. What ends by its time when such a process asks stands in Redis, and the next replica that
/// looks for it books it.
struct Elsewhere;

#[async_trait]
impl Books for Elsewhere {
    fn book(&self, _: Record) {}

    fn started(&self, _: &Arc<Hold>, _: Progress) {}

    fn progressed(&self, _: &[(HoldId, Progress)]) {}

    async fn spent(&self, _: &Account) -> Result<Money, CountersError> {
        Err(elsewhere())
    }

    async fn knows(&self, _: HoldId) -> Result<bool, CountersError> {
        Err(elsewhere())
    }
}

fn elsewhere() -> CountersError {
    CountersError::Unavailable("the books are kept by the replicas".to_owned())
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
