//! Upkeep: the tasks beside the requests. Holds end in time, streams are renewed, metrics are filled, and files that
//! changed are read again; what is wrong with them leaves the old in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::engine::Engine;
use super::start::{self, House};
use crate::authn::Sessions;
use crate::config::Config;
use crate::config::watch::Watch;
use crate::directory::Directory;
use crate::domain::Timestamp;
use crate::gate::Gate;
use crate::telemetry::Metrics;

/// How often holds are swept and metrics filled.
const SWEEP: Duration = Duration::from_secs(1);
/// How often running streams tell how far they are; a started hold lives three times as long.
const RENEW: Duration = Duration::from_secs(15);
/// How often the keys of identity providers are looked at, beginning at the start; those that will be too old before the
/// next look are fetched.
const KEYS: Duration = Duration::from_secs(10);
/// How often the price map's file is looked at.
const PRICES: Duration = Duration::from_secs(5);

/// How often the ledger is looked at for days that are too old, beginning at the start.
const RETENTION: Duration = Duration::from_secs(3_600);
/// How often sessions that are over are deleted.
const SESSIONS: Duration = Duration::from_secs(3_600);
const DAY_MILLIS: i64 = 86_400_000;

/// Starts all of it; every task ends when `stop` is cancelled.
pub fn spawn(
    house: &House,
    engine: &Arc<Engine>,
    in_force: &Arc<ArcSwap<Config>>,
    file: Option<PathBuf>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    let directory = Arc::clone(&house.directory);
    tasks.spawn(directory.watch(stop.clone()));
    if let Some(shared) = &house.redis {
        shared.begin();
        let (counters, metrics) = (Arc::clone(&shared.counters), Arc::clone(&house.metrics));
        every(SWEEP, stop, tasks, move || {
            metrics.counters.up.set(i64::from(!counters.is_down()));
            metrics.counters.backlog.set(gauge(counters.backlog() as u64));
            metrics.counters.replicas.set(gauge(counters.replicas()));
            std::future::ready(())
        });
    }

    let (counters, ledger, metrics) =
        (Arc::clone(&house.counters), Arc::clone(&house.ledger), Arc::clone(&house.metrics));
    let (quota, directory) = (Arc::clone(house.gate.quota()), Arc::clone(&house.directory));
    every(SWEEP, stop, tasks, move || {
        let (counters, quota) = (Arc::clone(&counters), Arc::clone(&quota));
        let (ledger, metrics, directory) = (Arc::clone(&ledger), Arc::clone(&metrics), Arc::clone(&directory));
        async move {
            let cache = &metrics.cache;
            for (counter, count) in
                [&cache.hits, &cache.misses, &cache.stale].into_iter().zip(directory.take_looked_up())
            {
                counter.inc_by(count);
            }
            counters.sweep().await;
            for passed in counters.soft_events() {
                metrics.soft_budgets.inc();
                let (scope, spent, soft_budget) = (&passed.counter.scope, passed.spent, passed.soft_limit);
                tracing::warn!(%scope, %spent, %soft_budget, "a soft budget is passed");
            }
            metrics.soft_budgets.inc_by(quota.take_soft_limits_passed());
            if let Ok((held, started)) = counters.holds().await {
                metrics.holds.held.set(gauge(held));
                metrics.holds.started.set(gauge(started));
            }
            metrics.ledger.pending.set(gauge(ledger.pending()));
            metrics.ledger.lag_seconds.set(ledger.lag().as_secs_f64());
        }
    });

    let (directory, current) = (Arc::clone(&house.directory), Arc::clone(in_force));
    every(RETENTION, stop, tasks, move || {
        let (directory, config) = (Arc::clone(&directory), current.load_full());
        async move { trim(&directory, &config).await }
    });

    let (directory, current) = (Arc::clone(&house.directory), Arc::clone(in_force));
    every(SESSIONS, stop, tasks, move || {
        let sessions = Sessions::new(&current.load().identity.session, Arc::clone(directory.store()));
        async move {
            if let Err(error) = sessions.sweep(Timestamp::now()).await {
                tracing::warn!(%error, "sessions that are over could not be deleted; it is tried again in an hour");
            }
        }
    });

    let quota = Arc::clone(house.gate.quota());
    every(RENEW, stop, tasks, move || {
        let quota = Arc::clone(&quota);
        async move {
            if let Err(error) = quota.renew().await {
                tracing::warn!(%error, "running streams could not be renewed");
            }
        }
    });

    let gate = Arc::clone(&house.gate);
    let stopping = stop.clone();
    every(KEYS, stop, tasks, move || {
        let (gate, stopping) = (Arc::clone(&gate), stopping.clone());
        async move {
            // A provider that hangs holds up neither the next look at the others nor the end.
            tokio::select! {
                () = stopping.cancelled() => {}
                _ = tokio::time::timeout(KEYS, gate.renew_keys(2 * KEYS)) => {}
            }
        }
    });

    let (gate, metrics, current) = (Arc::clone(&house.gate), Arc::clone(&house.metrics), Arc::clone(in_force));
    let mut seen = current.load().metering.price_map.as_deref().and_then(modified);
    every(PRICES, stop, tasks, move || {
        let config = current.load_full();
        let now = config.metering.price_map.as_deref().and_then(modified);
        if std::mem::replace(&mut seen, now) != now {
            install_prices(&gate, &config, &metrics);
        }
        std::future::ready(())
    });

    if let Some(file) = file {
        let (engine, current) = (Arc::clone(engine), Arc::clone(in_force));
        let (gate, metrics, stop) = (Arc::clone(&house.gate), Arc::clone(&house.metrics), stop.clone());
        tasks.spawn(async move {
            let mut watch = Watch::new(&file);
            loop {
                let reloaded = tokio::select! {
                    () = stop.cancelled() => return,
                    reloaded = watch.next() => reloaded,
                };
                let taken = reloaded.map_err(|error| error.to_string()).and_then(|(config, warnings)| {
                    for warning in warnings {
                        tracing::warn!("{warning}");
                    }
                    let config = Arc::new(config);
                    warn_of_restart(&current.load(), &config);
                    engine.reload(Arc::clone(&config))?;
                    install_prices(&gate, &config, &metrics);
                    current.store(config);
                    Ok(())
                });
                match taken {
                    Ok(()) => {
                        metrics.reload.config_ok.inc();
                        tracing::info!(file = %file.display(), "the configuration was read again");
                    }
                    Err(error) => {
                        metrics.reload.config_failed.inc();
                        tracing::error!(%error, "the changed configuration is not used; the old one stays in force");
                    }
                }
            }
        });
    }
}

/// Runs `work` at once and then every `period`, until `stop`.
fn every<F>(
    period: Duration,
    stop: &CancellationToken,
    tasks: &TaskTracker,
    mut work: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tasks.spawn(async move {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            work().await;
        }
    });
}

/// Takes days out of the ledger that are older than `ledger.keep`.
async fn trim(directory: &Directory, config: &Config) {
    let Some(keep) = config.ledger.keep else { return };
    let keep = i64::try_from(keep.as_duration().as_millis()).unwrap_or(i64::MAX);
    let day = Timestamp::now().as_millis().saturating_sub(keep).div_euclid(DAY_MILLIS);
    match directory.store().trim_ledger(day).await {
        Ok(0) => {}
        Ok(days) => tracing::info!(days, "old days have left the ledger; what they add up to is kept"),
        Err(error) => tracing::warn!(%error, "old days could not leave the ledger; it is tried again in an hour"),
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn install_prices(gate: &Gate, config: &Config, metrics: &Metrics) {
    match start::prices(config) {
        Ok(book) => {
            if gate.quota().prices().install(book) {
                metrics.reload.price_map_ok.inc();
                tracing::info!("new prices are in force");
            }
        }
        Err(error) => {
            metrics.reload.price_map_failed.inc();
            tracing::error!(error = format!("{error:#}"), "new prices are not used; the old ones stay in force");
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Names what a running process cannot change.
fn warn_of_restart(old: &Config, new: &Config) {
    let url = |config: &Config| config.directory.url.as_ref().map(|url| url.expose().to_owned());
    let logs = |config: &Config| (config.telemetry.log.clone(), config.telemetry.log_format);
    let sections = [
        ("listen", format!("{:?}", old.listen) != format!("{:?}", new.listen)),
        ("directory.url", url(old) != url(new)),
        ("ledger.spool", old.ledger.spool != new.ledger.spool),
        ("tls", format!("{:?}", old.tls) != format!("{:?}", new.tls)),
        ("telemetry", logs(old) != logs(new)),
    ];
    for (section, changed) in sections {
        if changed {
            tracing::warn!("{section} has changed; restart to put that in force");
        }
    }
}
