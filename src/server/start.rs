//! Start-up and end of `tollward serve`: configuration, directory, ledger, counters, gate, listeners; then the tasks that
//! keep them going, until a signal asks for the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::books::{CountedBooks, WrittenBooks};
use super::engine::Engine;
use super::ops::Readiness;
use super::shared::{self, Shared};
use super::{Listeners, Parts, Shutdown, upkeep};
use crate::config::Config;
use crate::directory::{Directory, ExclusiveLock, SharedStore, SpoolLock};
use crate::domain::{Secret, Timestamp};
use crate::gate::Gate;
use crate::http::HttpState;
use crate::quota::Quota;
use crate::quota::counters::memory::{MemoryCounters, MemorySettings};
use crate::quota::counters::{Books, Counters};
use crate::quota::token::Signer;
use crate::spend::ledger::Ledger;
use crate::spend::{PriceBook, Prices};
use crate::telemetry::Metrics;

/// The setting under which the key that signs hold tokens is kept.
const SIGNING_KEY: &str = "hold_token_key";

/// Everything that answers requests, without ports: what `serve` serves and `check` asks.
pub struct House {
    pub config: Arc<Config>,
    pub directory: Arc<Directory>,
    pub ledger: Arc<Ledger>,
    pub counters: Arc<dyn Counters>,
    /// Where the counters are in Redis.
    pub redis: Option<Shared>,
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    _spool: SpoolLock,
}

/// Serves until SIGINT or SIGTERM; then finishes what is in flight and writes what is booked. `file` is watched for
/// changes.
pub async fn serve(config: Config, file: Option<PathBuf>) -> anyhow::Result<()> {
    let config = Arc::new(config);
    // Ports first: an address in use must not cost a replay.
    let listeners = Listeners::bind(&config)?;
    let directory = Directory::open(&config).await?;
    // Counters in this process know nothing of another's.
    let lock = if config.counters.in_memory() { Some(directory.exclusive_lock().await?) } else { None };
    let tasks = TaskTracker::new();
    let house = House::build(Arc::clone(&config), directory).await?;
    let engine = Arc::new(Engine::new(
        Arc::clone(&house.gate),
        Arc::clone(house.directory.store()),
        Arc::clone(&house.ledger),
        Arc::clone(&house.metrics),
    ));
    let in_force = Arc::new(ArcSwap::new(Arc::clone(&config)));
    let management = crate::http::router(HttpState {
        authorize: Arc::clone(&engine) as _,
        store: Arc::clone(house.directory.store()),
        config: Arc::clone(&in_force),
        adjuster: Arc::clone(&engine) as _,
        now: Timestamp::now,
    });
    let shutdown = Shutdown::new();
    let stop = CancellationToken::new();
    upkeep::spawn(&house, &engine, &in_force, file, &stop, &tasks);

    let addresses = listeners.addresses()?;
    let parts = Parts {
        gate: Arc::clone(&engine),
        metrics: Arc::clone(&house.metrics),
        management,
        metrics_key: metrics_key(&config),
        readiness: readiness(&house),
        shutdown: shutdown.clone(),
    };
    let serving = tokio::spawn(listeners.run(parts));
    tracing::info!(grpc = %addresses[0], http = %addresses[1], ops = %addresses[2], "tollward serves");

    let (served, serving) = until_asked(serving, lock.as_ref()).await?;
    let listen = &config.listen;
    let finished = async {
        if let Some(serving) = serving {
            match serving.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a port ended with an error"),
                Err(error) => tracing::error!(%error, "a port broke off"),
            }
        }
    };
    shutdown.run(listen.drain_delay.as_duration(), listen.drain_timeout.as_duration(), finished).await;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(Duration::from_secs(5), tasks.wait()).await.is_err() {
        tracing::warn!("a background task did not end in time");
    }
    house.end().await?;
    drop(lock);
    tracing::info!("tollward has stopped");
    served
}

type Serving = tokio::task::JoinHandle<Result<(), super::listener::ListenError>>;

/// Waits for a signal, for the ports to end by themselves, or for another process that counts too.
async fn until_asked(
    mut serving: Serving,
    lock: Option<&ExclusiveLock>,
) -> anyhow::Result<(anyhow::Result<()>, Option<Serving>)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let ended = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        ended = &mut serving => Some(ended),
        () = lost(lock) => {
            let why = "another tollward serves this directory now, with counters of its own";
            tracing::error!("stopping: {why}");
            return Ok((Err(anyhow!(why)), Some(serving)));
        }
    };
    Ok(match ended {
        None => {
            tracing::info!("stopping: finishing what is in flight");
            (Ok(()), Some(serving))
        }
        Some(ended) => (ended.map_err(anyhow::Error::from).and_then(|served| served.map_err(Into::into)), None),
    })
}

/// Waits until a lock that is held is lost.
async fn lost(lock: Option<&ExclusiveLock>) {
    match lock {
        Some(lock) => lock.lost().await,
        None => std::future::pending().await,
    }
}

/// The master key, where `/metrics` needs it.
fn metrics_key(config: &Config) -> Option<Secret> {
    let asked = config.litellm_settings.require_auth_for_metrics_endpoint;
    config.general_settings.master_key.clone().filter(|_| asked)
}

/// After this long without an answer the directory is said to be silent.
const DIRECTORY_SILENT: Duration = Duration::from_secs(2);

fn readiness(house: &House) -> Readiness {
    let ledger = Arc::clone(&house.ledger);
    let writable =
        move || if ledger.is_writable() { Ok(()) } else { Err("cannot be written; is the disk full?".to_owned()) };
    let directory = Arc::clone(&house.directory);
    let readiness = Readiness::new().part("ledger", writable).degradable("directory", move || {
        // Known keys go on meanwhile.
        if directory.answered_within(DIRECTORY_SILENT) { Ok(()) } else { Err("does not answer".to_owned()) }
    });
    match &house.redis {
        None => readiness,
        Some(shared) => {
            let counters = Arc::clone(&shared.counters);
            readiness.degradable("counters", move || {
                if counters.is_down() { Err("redis does not answer".to_owned()) } else { Ok(()) }
            })
        }
    }
}

impl House {
    /// Opens the ledger (booking what a crash left in flight), loads prices, and builds counters and gate.
    pub async fn build(config: Arc<Config>, directory: Arc<Directory>) -> anyhow::Result<House> {
        let spool = directory.spool().context("ledger.spool is not set")?;
        House::with_spool(config, directory, spool).await
    }

    /// The same beside a server that uses the configured spool.
    pub async fn with_spool(config: Arc<Config>, directory: Arc<Directory>, spool: PathBuf) -> anyhow::Result<House> {
        let metrics = Arc::new(Metrics::new());
        let store = directory.store();
        let spool_lock = SpoolLock::take(&spool)?;
        let (ledger, recovery) = Ledger::open(Arc::clone(store), &spool, Timestamp::now()).await?;
        if recovery.replayed > 0 || recovery.unsettled > 0 || !recovery.corrupt.is_empty() {
            tracing::info!(?recovery, "the ledger was completed from its spool");
        }
        let books: Arc<dyn Books> =
            Arc::new(CountedBooks { ledger: Arc::clone(&ledger), metrics: Arc::clone(&metrics) });
        let redis =
            if config.counters.in_memory() { None } else { Some(shared::open(&config, &books, &ledger, store).await?) };
        let (counters, books): (Arc<dyn Counters>, Arc<dyn Books>) = match &redis {
            Some(shared) => (Arc::clone(&shared.counters) as _, Arc::clone(&shared.books) as _),
            None => {
                let settings = MemorySettings {
                    max_holds: config.counters.max_holds,
                    max_waiting: config.quota.max_waiting,
                    ..MemorySettings::default()
                };
                (Arc::new(MemoryCounters::new(Arc::clone(&books), settings)), books)
            }
        };
        let prices = Arc::new(Prices::new(prices(&config)?));
        let signer = Signer::new(&signing_key(store).await?);
        let (quota, releasing) = Quota::new(Arc::clone(&counters), books, signer, prices);
        // Not waited for at the end: it ends with the quota, and so does what is held.
        tokio::spawn(releasing);
        let gate = Gate::new(Arc::clone(&config), Arc::clone(&directory), quota).map_err(|error| anyhow!(error))?;
        Ok(House { config, directory, ledger, counters, redis, gate: Arc::new(gate), metrics, _spool: spool_lock })
    }
}

impl House {
    /// Writes what is booked, and tells Redis so.
    pub async fn end(&self) -> anyhow::Result<()> {
        if let Some(shared) = &self.redis {
            shared.counters.book_backlog();
        }
        let written = self.ledger.shutdown().await;
        if let Some(shared) = &self.redis {
            shared.end().await;
        }
        written.context("the ledger could not be written to its end; the spool keeps what is left")
    }
}

/// A gate that answers questions about requests beside a running server: it reads the directory, and neither takes its
/// lock nor touches its spool.
pub async fn gate_to_ask(config: Arc<Config>) -> anyhow::Result<Gate> {
    let directory = Directory::open(&config).await?;
    let books: Arc<dyn Books> = Arc::new(WrittenBooks(Arc::clone(directory.store())));
    let counters = Arc::new(MemoryCounters::new(Arc::clone(&books), MemorySettings::default()));
    let prices = Arc::new(Prices::new(prices(&config)?));
    let (quota, _) = Quota::new(counters, books, Signer::new(&[0; 32]), prices);
    Gate::new(config, directory, quota).map_err(|error| anyhow!(error))
}

/// The price book of a configuration.
pub fn prices(config: &Config) -> anyhow::Result<PriceBook> {
    let map = match &config.metering.price_map {
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read the price map {}", path.display()))?)
        }
        None => None,
    };
    let book = PriceBook::build(map.as_deref(), &config.model_list, config.metering.unknown_model);
    book.with_context(|| match &config.metering.price_map {
        Some(path) => format!("the prices of model_list and {} cannot be used", path.display()),
        None => "the prices of model_list cannot be used".to_owned(),
    })
}

/// The key that signs hold tokens: made once, kept in the directory, the same for all who serve it.
async fn signing_key(store: &SharedStore) -> anyhow::Result<[u8; 32]> {
    let mut fresh = [0u8; 32];
    aws_lc_rs::rand::fill(&mut fresh).map_err(|_| anyhow!("no randomness is available"))?;
    let text = Secret::new(store.setting_or_insert(SIGNING_KEY, &STANDARD.encode(fresh)).await?);
    let bytes = STANDARD.decode(text.expose()).context("the key that signs hold tokens cannot be read")?;
    bytes.try_into().map_err(|_| anyhow!("the key that signs hold tokens has the wrong length"))
}
