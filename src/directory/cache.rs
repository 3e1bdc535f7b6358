//! The directory as the gate uses it: rows resolved once and kept, so that a warm path asks no query. A write in this
//! process drops what is kept at once, a write of another process within the poll of [`Directory::watch`].
//!
//! Status (blocked, expired) is not judged here: that happens on every request, also on a cached identity.

mod bounds;
mod common;
mod freshness;
mod loading;
mod named;
mod registry;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::common::Common;
pub use self::freshness::AsOf;
use self::freshness::{Freshness, Lifetimes, Watchfulness};
use self::loading::{Loaded, LoadingCache};
pub use self::named::Named;
pub use self::registry::Registry;
use super::lock::ExclusiveLock;
use super::origin::Origin;
use super::postgres::{self, PostgresStore};
use super::sqlite::{SqliteStore, Watch};
use super::{DirectoryError, Result, SharedStore};
use crate::config::Config;
use crate::domain::{Budget, EndUser, Identity, KeyHash, Member, Principal, SessionKey, Timestamp, UserSession};
use crate::uptime::uptime;

/// How often another process's writes are looked for in a file.
const POLL: Duration = Duration::from_millis(50);
/// A list of session keys that was read this lately is not read again for a key it does not have.
const KEYS_ANEW: Duration = Duration::from_secs(1);

/// The cached directory. Cheap to share; every method may be called from any runtime.
pub struct Directory {
    store: SharedStore,
    freshness: Arc<Freshness>,
    common: Arc<Common>,
    identities: LoadingCache<KeyHash, Identity>,
    principals: LoadingCache<Principal, Identity>,
    named: LoadingCache<Named, Arc<str>>,
    memberships: LoadingCache<Arc<str>, Vec<Member>>,
    end_users: LoadingCache<Arc<str>, EndUser>,
    budgets: LoadingCache<Arc<str>, Budget>,
    registry: LoadingCache<(), Registry>,
    sessions: LoadingCache<Arc<str>, UserSession>,
    session_keys: LoadingCache<(), Vec<SessionKey>>,
    /// Where the rows are; none where a test brings a store of its own.
    origin: Option<Origin>,
    spool: Option<PathBuf>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl Directory {
    /// Opens the directory that the configuration names: `directory.url`, else `general_settings.database_url`, else
    /// the environment's `DATABASE_URL`, else `sqlite://tollward.db`. Creates and migrates its tables as
    /// `directory.migrate` says; a database that is something else, or of a newer version, is refused and left as it is.
    pub async fn open(config: &Config) -> Result<Arc<Directory>> {
        let origin = Origin::of(config)?;
        let generation = Arc::new(AtomicU64::new(0));
        let (store, watchfulness): (SharedStore, _) = match &origin {
            Origin::File(file) => {
                let store = SqliteStore::open(file, config.directory.migrate, Arc::clone(&generation)).await?;
                (Arc::new(store), Watchfulness::FILE)
            }
            Origin::Postgres(place) => {
                let store = PostgresStore::open(place, &config.directory, Arc::clone(&generation)).await?;
                let watchfulness =
                    Watchfulness { live_for: postgres::LIVE_FOR, unwatched_ttl: postgres::UNWATCHED_TTL };
                (Arc::new(store), watchfulness)
            }
        };
        let general = &config.general_settings;
        let capacity = general.user_api_key_cache_max_size.unwrap_or(config.directory.cache_size);
        let present = general.user_api_key_cache_ttl.map(Duration::from_secs);
        let lifetimes = Lifetimes {
            present: present.unwrap_or(config.directory.cache_ttl.as_duration()),
            absent: config.directory.negative_ttl.as_duration(),
            stale_if_error: config.directory.stale_if_error.as_duration(),
        };
        let freshness = Freshness::new(lifetimes, watchfulness, generation, uptime());
        let spool = config.ledger.spool.clone().unwrap_or_else(|| origin.default_spool());
        let directory = Directory::over(store, capacity, freshness);
        Ok(Arc::new(Directory { origin: Some(origin), spool: Some(spool), ..directory }))
    }

    fn over(store: SharedStore, capacity: usize, freshness: Freshness) -> Directory {
        let freshness = Arc::new(freshness);
        Directory {
            store,
            common: Arc::default(),
            identities: LoadingCache::new(capacity, Arc::clone(&freshness)),
            principals: LoadingCache::new(capacity, Arc::clone(&freshness)),
            named: LoadingCache::new(capacity, Arc::clone(&freshness)),
            memberships: LoadingCache::new(capacity, Arc::clone(&freshness)),
            end_users: LoadingCache::new(capacity, Arc::clone(&freshness)),
            budgets: LoadingCache::new(capacity, Arc::clone(&freshness)),
            registry: LoadingCache::new(1, Arc::clone(&freshness)),
            sessions: LoadingCache::new(capacity, Arc::clone(&freshness)),
            session_keys: LoadingCache::new(1, Arc::clone(&freshness)),
            freshness,
            origin: None,
            spool: None,
        }
    }

    /// The rows themselves, uncached.
    #[must_use]
    pub fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Look-ups of callers by their keys since this was last asked: found fresh, loaded, used although old because the
    /// directory did not answer.
    #[must_use]
    pub fn take_looked_up(&self) -> [u64; 3] {
        self.identities.take_looked_up()
    }

    /// The folder in which the ledger keeps its spool: `ledger.spool`, else `<file>.spool` beside the directory's file,
    /// else `tollward.spool`.
    #[must_use]
    pub fn spool(&self) -> Option<PathBuf> {
        self.spool.clone()
    }

    /// Everything a key stands for; `None` where there is no such key. `now` decides whether a rotated key is still in
    /// its grace period.
    pub async fn identity(&self, key: &KeyHash, now: Timestamp) -> Result<Option<Arc<Identity>>> {
        let load = |key: KeyHash| {
            let (store, common) = (Arc::clone(&self.store), Arc::clone(&self.common));
            async move {
                let identity = store.identity(&key, now).await?;
                // A key found under another hash was rotated, and works until it is revoked.
                let rotated =
                    identity.as_ref().and_then(|found| found.key.as_ref()).is_some_and(|row| row.token != key);
                let until = if rotated { Some(store.revoked_at(&key).await?.unwrap_or_default()) } else { None };
                Ok(Loaded { value: identity.map(|identity| Arc::new(common.share(identity))), until })
            }
        };
        self.identities.get(key, now, |key| *key, load).await
    }

    /// [`Directory::identity`] where it is at hand and fresh: without waiting.
    #[must_use]
    pub fn identity_at_hand(&self, key: &KeyHash, now: Timestamp) -> Option<Arc<Identity>> {
        self.identities.peek(key, now).map(|(identity, _)| identity)
    }

    /// [`Directory::principal`] likewise.
    #[must_use]
    pub fn principal_at_hand(&self, principal: &Principal) -> Option<(Arc<Identity>, AsOf)> {
        self.principals.peek(principal, Timestamp::default())
    }

    /// [`Directory::id_of`] likewise; `None` also where there is none.
    #[must_use]
    pub fn id_at_hand(&self, name: &Named) -> Option<(Arc<str>, AsOf)> {
        self.named.peek(name, Timestamp::default()).map(|(id, as_of)| (Arc::clone(&*id), as_of))
    }

    /// Whether what was at hand as of then would be found again.
    #[must_use]
    pub fn still(&self, as_of: AsOf) -> bool {
        self.freshness.still(as_of)
    }

    /// What is known of a user, a team and an organization that a token names. The same snapshot answers until one of
    /// them may have changed. A user whose name is too long to be booked stands for nobody.
    pub async fn principal(&self, principal: &Principal) -> Result<Arc<Identity>> {
        if let Some(id) = principal.user_id.as_deref().filter(|id| !bounds::is_bookable(id)) {
            let dangling = Some(format!("a user with a name of {} bytes", id.len()));
            return Ok(Arc::new(Identity { dangling, ..Identity::default() }));
        }
        let load = |principal: Principal| {
            let (store, common) = (Arc::clone(&self.store), Arc::clone(&self.common));
            async move { Ok(forever(Some(common.share(store.principal(&principal).await?)))) }
        };
        let found = self.principals.get(principal, Timestamp::default(), Clone::clone, load).await?;
        Ok(found.unwrap_or_default())
    }

    /// The id of what a token names otherwise than by its id. Remembered like everything; what there is none of is
    /// looked for again soon.
    pub async fn id_of(&self, name: &Named) -> Result<Option<Arc<str>>> {
        let load = |name: Named| {
            let store = Arc::clone(&self.store);
            async move { Ok(Loaded { value: name.look_up(&*store).await?.map(Arc::new), until: None }) }
        };
        let found = self.named.get(name, Timestamp::default(), Clone::clone, load).await?;
        Ok(found.as_deref().cloned())
    }

    /// The teams a user is in, in the order of their ids.
    pub async fn memberships(&self, user_id: &str) -> Result<Arc<Vec<Member>>> {
        let load = |id: Arc<str>| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(Some(store.memberships_of_user(&id).await?))) }
        };
        let found = self.memberships.get(user_id, Timestamp::default(), |id| Arc::from(id), load).await?;
        Ok(found.unwrap_or_default())
    }

    /// An end user with the limits of its budget row. One whose name is too long to be booked is nobody a request may be
    /// for.
    pub async fn end_user(&self, user_id: &str) -> Result<Option<Arc<EndUser>>> {
        if !bounds::is_bookable(user_id) {
            let dangling = Some(format!("a name of {} bytes", user_id.len()));
            return Ok(Some(Arc::new(EndUser { user_id: user_id.into(), dangling, ..EndUser::default() })));
        }
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

    /// A session, until it is over; revoked ones too. `now` is compared with its end.
    pub async fn session(&self, sid: &str, now: Timestamp) -> Result<Option<Arc<UserSession>>> {
        let load = |sid: Arc<str>| {
            let store = Arc::clone(&self.store);
            async move {
                let session = store.session(&sid).await?;
                let until = session.as_ref().map(|session| session.expires_at);
                Ok(Loaded { value: session.map(Arc::new), until })
            }
        };
        self.sessions.get(sid, now, |sid| Arc::from(sid), load).await
    }

    /// The key of this name that signs sessions. One that is not among the keys read last may have been made since, by
    /// another replica: they are read again, at most once a second.
    pub async fn session_key(&self, kid: &str) -> Result<Option<SessionKey>> {
        let load = |()| {
            let store = Arc::clone(&self.store);
            async move { Ok(forever(Some(store.session_keys().await?))) }
        };
        let named = |keys: Option<Arc<Vec<SessionKey>>>| {
            keys.and_then(|keys| keys.iter().find(|key| &*key.kid == kid).cloned())
        };
        let known = self.session_keys.get(&(), Timestamp::default(), |()| (), load).await?;
        if let Some(key) = named(known) {
            return Ok(Some(key));
        }
        self.session_keys.get_younger(&(), KEYS_ANEW, |()| (), load).await.map(named)
    }

    /// Drops everything kept. A load that is under way is not kept either.
    pub fn invalidate(&self) {
        self.freshness.invalidate();
    }

    /// Looks for writes of other processes until it is cancelled, and drops what is kept when there was one. While
    /// it cannot look, what is kept is read again soon.
    pub async fn watch(self: Arc<Self>, cancel: CancellationToken) {
        let freshness = Arc::clone(&self.freshness);
        self.freshness.seen();
        match &self.origin {
            None => cancel.cancelled().await,
            Some(Origin::File(file)) => {
                let watch = Watch::begin(file.clone(), POLL, move |seen| {
                    if seen.changed {
                        freshness.invalidate();
                    }
                    freshness.seen();
                });
                cancel.cancelled().await;
                watch.end().await;
            }
            Some(Origin::Postgres(place)) => {
                let report = move |seen: postgres::Seen| {
                    if seen.changed {
                        freshness.invalidate();
                    }
                    if let Some(asked) = seen.asked {
                        freshness.seen_as_of(asked.elapsed());
                    }
                };
                postgres::watch(place, &cancel, report).await;
            }
        }
        self.freshness.unwatched();
    }

    /// Whether the directory answered the watch within this time.
    #[must_use]
    pub fn answered_within(&self, time: Duration) -> bool {
        self.freshness.seen_within(time)
    }

    /// Whether a write of another process would be noticed at once.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.freshness.is_watched()
    }

    /// Takes the directory for this process alone, for as long as the lock lives: counters in memory know nothing of
    /// another process's, so a second one would multiply every limit.
    pub async fn exclusive_lock(&self) -> Result<ExclusiveLock> {
        match &self.origin {
            Some(Origin::File(file)) => ExclusiveLock::of_file(file),
            Some(Origin::Postgres(place)) => ExclusiveLock::of_database(place).await,
            None => Err(DirectoryError::Unavailable("this directory is nothing that could be locked".to_owned())),
        }
    }
}

/// What is true until something is written.
fn forever<V>(value: Option<V>) -> Loaded<V> {
    Loaded { value: value.map(Arc::new), until: None }
}
