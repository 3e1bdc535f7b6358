//! The directory as the gate uses it: rows resolved once and kept, so that a warm path asks no query. A write in this
//! process drops what is kept at once, a write of another process within the poll of [`Directory::watch`].
//!
//! Status (blocked, expired) is not judged here: that happens on every request, also on a cached identity.

mod freshness;
mod loading;
mod registry;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::freshness::{Clock, Freshness, Lifetimes};
use self::loading::{Loaded, LoadingCache};
pub use self::registry::Registry;
use super::lock::ExclusiveLock;
use super::sqlite::{SqliteStore, Watch};
use super::{DirectoryError, Result, SharedStore};
use crate::config::Config;
use crate::domain::{Budget, EndUser, Identity, KeyHash, Timestamp};

/// How often another process's writes are looked for.
const POLL: Duration = Duration::from_millis(50);

/// The cached directory. Cheap to share; every method may be called from any runtime.
pub struct Directory {
    store: SharedStore,
    freshness: Arc<Freshness>,
    identities: LoadingCache<KeyHash, Identity>,
    users: LoadingCache<Arc<str>, Identity>,
    end_users: LoadingCache<Arc<str>, EndUser>,
    budgets: LoadingCache<Arc<str>, Budget>,
    registry: LoadingCache<(), Registry>,
    /// The file, where the store is one.
    file: Option<PathBuf>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Directory {
    /// Opens the directory that the configuration names: `directory.url`, else `general_settings.database_url`, else
    /// the environment's `DATABASE_URL`, else `sqlite://tollward.db`. Creates and migrates the file where needed; a
    /// file that is something else, or of a newer version, is refused and left as it is.
    pub async fn open(config: &Config) -> Result<Arc<Directory>> {
        let file = file_of(config)?;
        let generation = Arc::new(AtomicU64::new(0));
        let store = SqliteStore::open(&file, Arc::clone(&generation)).await?;
        let general = &config.general_settings;
        let capacity = general.user_api_key_cache_max_size.unwrap_or(config.directory.cache_size);
        let present = general.user_api_key_cache_ttl.map(Duration::from_secs);
        let lifetimes = Lifetimes {
            present: present.unwrap_or(config.directory.cache_ttl.as_duration()),
            absent: config.directory.negative_ttl.as_duration(),
            stale_if_error: config.directory.stale_if_error.as_duration(),
        };
        let directory = Directory::over(Arc::new(store), lifetimes, capacity, generation, Freshness::monotonic());
        Ok(Arc::new(Directory { file: Some(file), ..directory }))
    }

    fn over(
        store: SharedStore,
        lifetimes: Lifetimes,
        capacity: usize,
        generation: Arc<AtomicU64>,
        clock: Clock,
    ) -> Directory {
        let freshness = Arc::new(Freshness::new(lifetimes, generation, clock));
        Directory {
            store,
            identities: LoadingCache::new(capacity, Arc::clone(&freshness)),
            users: LoadingCache::new(capacity, Arc::clone(&freshness)),
            end_users: LoadingCache::new(capacity, Arc::clone(&freshness)),
            budgets: LoadingCache::new(capacity, Arc::clone(&freshness)),
            registry: LoadingCache::new(1, Arc::clone(&freshness)),
            freshness,
            file: None,
        }
    }

    /// The rows themselves, uncached.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// The folder beside the directory's file in which the ledger keeps its spool: `<file>.spool`.
    #[must_use]
    pub fn spool(&self) -> Option<PathBuf> {
        let mut folder = self.file.as_ref()?.as_os_str().to_owned();
        folder.push(".spool");
        Some(folder.into())
    }

    /// Everything a key stands for; `None` where there is no such key. `now` decides whether a rotated key is still in
    /// its grace period.
    pub async fn identity(&self, key: &KeyHash, now: Timestamp) -> Result<Option<Arc<Identity>>> {
        let load = |key: KeyHash| {
            let store = Arc::clone(&self.store);
            async move {
                let identity = store.identity(&key, now).await?;
                // A key found under another hash was rotated, and works until it is revoked.
                let rotated =
                    identity.as_ref().and_then(|found| found.key.as_ref()).is_some_and(|row| row.token != key);
                let until = if rotated { Some(store.revoked_at(&key).await?.unwrap_or_default()) } else { None };
                Ok(Loaded { value: identity.map(Arc::new), until })
            }
        };
        self.identities.get(key, now, |key| *key, load).await
    }

    /// The identity of a user without a key.
    pub async fn user_identity(&self, user_id: &str) -> Result<Option<Arc<Identity>>> {
        let load = |id: Arc<str>| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(store.user_identity(&id).await?)) }
        };
        self.users.get(user_id, Timestamp::default(), |id| Arc::from(id), load).await
    }

    /// An end user with the limits of its budget row.
    pub async fn end_user(&self, user_id: &str) -> Result<Option<Arc<EndUser>>> {
        let load = |id: Arc<str>| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(store.end_user(&id).await?)) }
        };
        self.end_users.get(user_id, Timestamp::default(), |id| Arc::from(id), load).await
    }

    pub async fn budget(&self, budget_id: &str) -> Result<Option<Arc<Budget>>> {
        let load = |id: Arc<str>| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(store.budget(&id).await?)) }
        };
        self.budgets.get(budget_id, Timestamp::default(), |id| Arc::from(id), load).await
    }

    /// All tags and access groups by name.
    pub async fn registry(&self) -> Result<Arc<Registry>> {
        let load = |()| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(Some(Registry::new(store.tags().await?, store.access_groups().await?)))) }
        };
        let found = self.registry.get(&(), Timestamp::default(), |()| (), load).await?;
        Ok(found.unwrap_or_default())
    }

    /// Drops everything kept. A load that is under way is not kept either.
    pub fn invalidate(&self) {
        self.freshness.invalidate();
    }

    /// Looks for writes of other processes until it is cancelled, and drops what is kept when there was one. While
    /// it cannot look, what is kept is read again after a second.
    pub async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let Some(file) = self.file.clone() else {
            cancel.cancelled().await;
            return;
        };
        let directory = Arc::clone(&self);
        self.freshness.seen();
        let watch = Watch::begin(file, POLL, move |seen| {
            if seen.changed {
                directory.invalidate();
            }
            directory.freshness.seen();
        });
        cancel.cancelled().await;
        watch.end().await;
        self.freshness.unwatched();
    }

    /// Takes the directory for this process alone, for as long as the lock lives: counters in memory know nothing of
    /// another process's, so a second one would multiply every limit.
    pub async fn exclusive_lock(&self) -> Result<ExclusiveLock> {
        match &self.file {
            Some(file) => ExclusiveLock::take(file),
            None => Err(DirectoryError::Unavailable("this directory is no file that could be locked".to_owned())),
        }
    }
}

/// What is true until something is written.
fn forever<V>(value: Option<V>) -> Loaded<V> {
    Loaded { value: value.map(Arc::new), until: None }
}

/// The file behind the URL.
fn file_of(config: &Config) -> Result<PathBuf> {
    let configured = config.directory.url.as_ref().or(config.general_settings.database_url.as_ref());
    let environment = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty());
    let url = configured.map(|url| url.expose().to_owned()).or_else(environment);
    let url = url.unwrap_or_else(|| "sqlite://tollward.db".to_owned());
    let file = url.strip_prefix("sqlite://").filter(|file| !file.is_empty() && !file.starts_with(':'));
    // What follows the scheme may hold a password and is not repeated.
    file.map(PathBuf::from).ok_or_else(|| {
        let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
        DirectoryError::Unavailable(format!(
            "directory.url has {scheme:?} where sqlite://FILE is expected, as in sqlite://tollward.db"
        ))
    })
}
