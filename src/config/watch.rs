//! The configuration while the process runs: a changed file is read again, checked as a whole, and handed over. What is
//! wrong is handed over as an error and the owner keeps what it has.
//!
//! The directory is watched, not the file: editors and Kubernetes replace a file (a ConfigMap by swapping a symbolic
//! link) rather than write into it. Where the system gives no notice, the file is looked at every few seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::problem::{ConfigError, Warning};
use super::{Config, load};

/// How long after the last change the file is read: a writer may not be done.
const QUIET: Duration = Duration::from_millis(100);
/// How long a writer that never rests is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the file is looked at besides.
const POLL: Duration = Duration::from_secs(10);

/// Watches one file.
pub struct Watch {
    path: PathBuf,
    /// What the file held when it was last read; a touch that changes nothing is no change.
    seen: Option<String>,
    changed: Arc<Notify>,
    hangup: Option<Signal>,
    poll: tokio::time::Interval,
    /// Ends the notices when dropped.
    _watcher: Option<RecommendedWatcher>,
}

/// What a changed file came to.
pub type Reloaded = Result<(Config, Vec<Warning>), ConfigError>;

impl Watch {
    /// Begins to watch; the file as it is now counts as known. Begin before the first load, so that no change between
    /// the two is missed. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Watch::with_poll(path, POLL)
    }

    fn with_poll(path: &Path, period: Duration) -> Self {
        let changed = Arc::new(Notify::new());
        let mut poll = tokio::time::interval_at(Instant::now() + period, period);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch {
            path: path.to_owned(),
            _watcher: watcher(path, &changed),
            seen: load::read(path).ok(),
            changed,
            hangup: signal(SignalKind::hangup()).ok(),
            poll,
        }
    }

    /// Waits for the next change and reads it. SIGHUP reads the file though it did not change. Safe to cancel.
    pub async fn next(&mut self) -> Reloaded {
        loop {
            let asked = tokio::select! {
                () = self.changed.notified() => false,
                _ = self.poll.tick() => false,
                () = hangup(&mut self.hangup) => true,
            };
            if !asked {
                self.settle().await;
            }
            let read = load::read(&self.path);
            if !asked && read.as_ref().ok() == self.seen.as_ref() {
                continue;
            }
            self.seen = read.as_ref().ok().cloned();
            let file = self.path.display().to_string();
            return read.and_then(|text| Config::parse(&text, &file, &|name| std::env::var(name).ok()));
        }
    }

    /// Waits until nothing changed for a moment.
    async fn settle(&self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if tokio::time::timeout(QUIET, self.changed.notified()).await.is_err() {
                return;
            }
        }
    }
}

async fn hangup(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Notices of the directory; `None` where the system gives none, then polling has to do.
fn watcher(path: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let changed = Arc::clone(changed);
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    };
    let watcher = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match watcher {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, directory = %directory.display(), "no notices of changed files; polling instead");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "general_settings: {master_key: sk-one-good-key}\n";
    const BETTER: &str = "general_settings: {master_key: sk-a-better-key}\n";

    async fn next(watch: &mut Watch) -> Reloaded {
        tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("a change is seen")
    }

    fn key(config: &Config) -> &str {
        config.general_settings.master_key.as_ref().unwrap().expose()
    }

    #[tokio::test]
    async fn a_changed_file_is_read_and_a_bad_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tollward.yaml");
        std::fs::write(&path, GOOD).unwrap();
        let mut watch = Watch::new(&path);
        std::fs::write(&path, BETTER).unwrap();
        assert_eq!(key(&next(&mut watch).await.unwrap().0), "sk-a-better-key");
        std::fs::write(&path, "general_settings: {master_kye: x}\n").unwrap();
        let error = next(&mut watch).await.unwrap_err().to_string();
        assert!(error.contains("master_kye") && error.contains(":1:"), "{error}");
        std::fs::write(&path, GOOD).unwrap();
        assert_eq!(key(&next(&mut watch).await.unwrap().0), "sk-one-good-key");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(next(&mut watch).await, Err(ConfigError::Unreadable { .. })));
    }

    /// As Kubernetes swaps a ConfigMap: the file is a link into a linked directory, and that link is replaced.
    #[tokio::test]
    async fn a_swapped_symbolic_link_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, text) in [("v1", GOOD), ("v2", BETTER)] {
            std::fs::create_dir(at(version)).unwrap();
            std::fs::write(at(version).join("tollward.yaml"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/tollward.yaml", at("tollward.yaml")).unwrap();
        let mut watch = Watch::new(&at("tollward.yaml"));
        std::os::unix::fs::symlink("v2", at("..tmp")).unwrap();
        std::fs::rename(at("..tmp"), at("..data")).unwrap();
        assert_eq!(key(&next(&mut watch).await.unwrap().0), "sk-a-better-key");
    }

    #[tokio::test]
    async fn without_notices_the_file_is_polled() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tollward.yaml");
        std::fs::write(&path, GOOD).unwrap();
        let mut watch = Watch { _watcher: None, ..Watch::with_poll(&path, Duration::from_millis(20)) };
        std::fs::write(&path, BETTER).unwrap();
        assert_eq!(key(&next(&mut watch).await.unwrap().0), "sk-a-better-key");
    }
}
