//! A bounded cache that loads what it misses: one load at a time for a key, absent things remembered for a shorter
//! time, old entries used while the store does not answer. What a load found is used only as long as nothing was
//! invalidated since the load began.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::super::{DirectoryError, Result};
use super::freshness::{AsOf, Freshness};
use crate::domain::Timestamp;

/// A load that takes longer is not joined any more.
const ABANDONED_AFTER_MILLIS: u64 = 5_000;
/// Who has an old entry waits this long for a new one: less than Envoy waits for an answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// Names remembered as absent, whoever asks for them: guessed keys never push real ones out.
const ABSENT_ENTRIES: usize = 16_384;

/// What a load found.
pub(super) struct Loaded<V> {
    pub value: Option<Arc<V>>,
    /// The moment from which this is no longer true, where that is known beforehand.
    pub until: Option<Timestamp>,
}

impl<V> Clone for Loaded<V> {
    fn clone(&self) -> Self {
        Loaded { value: self.value.clone(), until: self.until }
    }
}

struct Entry<V> {
    found: Loaded<V>,
    /// When the load began, on the clock of [`Freshness`].
    at: u64,
    /// The generation in which the load began.
    generation: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Self {
        Entry { found: self.found.clone(), at: self.at, generation: self.generation }
    }
}

/// Look-ups since they were last told of, by what the cache had.
#[derive(Debug, Default)]
struct LookedUp {
    fresh: AtomicU64,
    absent: AtomicU64,
    stale: AtomicU64,
}

/// A load under way. All who miss the same key wait for the same one.
struct Flight<V> {
    id: u64,
    at: u64,
    generation: u64,
    load: Shared<BoxFuture<'static, Result<Loaded<V>>>>,
}

/// Where and when a load began.
#[derive(Clone, Copy)]
struct Takeoff {
    id: u64,
    at: u64,
    generation: u64,
}

/// See the module.
pub(super) struct LoadingCache<K, V> {
    inner: Arc<Inner<K, V>>,
}

struct Inner<K, V> {
    present: Cache<K, Entry<V>>,
    absent: Cache<K, Entry<V>>,
    flights: Mutex<HashMap<K, Flight<V>>>,
    next_flight: AtomicU64,
    looked_up: LookedUp,
    freshness: Arc<Freshness>,
}

impl<K, V> LoadingCache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    pub(super) fn new(capacity: usize, freshness: Arc<Freshness>) -> Self {
        LoadingCache {
            inner: Arc::new(Inner {
                present: Cache::new(capacity.max(1)),
                absent: Cache::new(capacity.clamp(1, ABSENT_ENTRIES)),
                flights: Mutex::new(HashMap::new()),
                next_flight: AtomicU64::new(0),
                looked_up: LookedUp::default(),
                freshness,
            }),
        }
    }

    /// The value of `key`: from the cache where it is fresh, else by `load`. `wall` is the time `until` is compared
    /// with.
    pub(super) async fn get<Q, F>(
        &self,
        key: &Q,
        wall: Timestamp,
        own: impl Fn(&Q) -> K,
        load: impl Fn(K) -> F,
    ) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        F: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        let begun = self.inner.freshness.generation();
        match self.get_once(key, wall, None, &own, &load).await {
            // What failed began before the invalidation, which tells that the store answers again.
            Err(DirectoryError::Unavailable(_)) if self.inner.freshness.generation() != begun => {
                self.get_once(key, wall, None, &own, &load).await
            }
            found => found,
        }
    }

    /// The value of `key`, loaded anew unless that was done less than `age` ago: for those who miss something in what
    /// is kept. What is older is not used, even where the store does not answer.
    pub(super) async fn get_younger<Q, F>(
        &self,
        key: &Q,
        age: Duration,
        own: impl Fn(&Q) -> K,
        load: impl Fn(K) -> F,
    ) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        F: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        self.get_once(key, Timestamp::default(), Some(age), &own, &load).await
    }

    /// The value of `key` where it is at hand and fresh. What is not must be asked for by [`LoadingCache::get`].
    pub(super) fn peek<Q>(&self, key: &Q, wall: Timestamp) -> Option<(Arc<V>, AsOf)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let inner = &self.inner;
        let (now, generation) = (inner.freshness.now(), inner.freshness.generation());
        let entry = inner.known(key, generation, wall)?;
        let value = entry.found.value.filter(|_| inner.freshness.is_fresh(entry.at, now, true))?;
        inner.looked_up.fresh.fetch_add(1, Ordering::Relaxed);
        Some((value, AsOf { generation, at: entry.at }))
    }

    async fn get_once<Q, F>(
        &self,
        key: &Q,
        wall: Timestamp,
        younger: Option<Duration>,
        own: &impl Fn(&Q) -> K,
        load: &impl Fn(K) -> F,
    ) -> Result<Option<Arc<V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        F: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        let inner = &self.inner;
        let (now, generation) = (inner.freshness.now(), inner.freshness.generation());
        let young =
            |entry: &Entry<V>| younger.is_none_or(|age| u128::from(now.saturating_sub(entry.at)) < age.as_millis());
        let known = inner.known(key, generation, wall).filter(young);
        if let Some(entry) = &known {
            let age = now.saturating_sub(entry.at);
            let fresh = inner.freshness.is_fresh(entry.at, now, entry.found.value.is_some());
            if fresh || inner.usable_stale(entry, age) && inner.freshness.failed_lately(now) {
                let looked_up = if fresh { &inner.looked_up.fresh } else { &inner.looked_up.stale };
                looked_up.fetch_add(1, Ordering::Relaxed);
                return Ok(entry.found.value.clone());
            }
        }
        inner.looked_up.absent.fetch_add(1, Ordering::Relaxed);
        let has_old = known.as_ref().is_some_and(|entry| inner.usable_stale(entry, now.saturating_sub(entry.at)));
        let loading = inner.join(own(key), now, generation, load);
        let loaded = if has_old {
            tokio::time::timeout(PATIENCE, loading).await.unwrap_or_else(|_| {
                inner.freshness.failed();
                Err(DirectoryError::Unavailable("no answer in time".to_owned()))
            })
        } else {
            loading.await
        };
        match loaded {
            Ok(found) => Ok(found.value.filter(|_| found.until.is_none_or(|until| wall < until))),
            Err(error) => {
                let old = known.filter(|_| matches!(error, DirectoryError::Unavailable(_)));
                // Whatever was invalidated while we waited may be revoked: it is not used.
                let old = old.filter(|entry| entry.generation == inner.freshness.generation());
                let now = inner.freshness.now();
                match old.filter(|entry| inner.usable_stale(entry, now.saturating_sub(entry.at))) {
                    Some(entry) => {
                        inner.looked_up.stale.fetch_add(1, Ordering::Relaxed);
                        Ok(entry.found.value)
                    }
                    None => Err(error),
                }
            }
        }
    }
}

impl<K, V> LoadingCache<K, V> {
    /// Look-ups since this was last asked: answered by what was fresh, loaded, and answered by what was old because the
    /// store failed (some of these after a load that failed).
    pub(super) fn take_looked_up(&self) -> [u64; 3] {
        let LookedUp { fresh, absent, stale } = &self.inner.looked_up;
        [fresh, absent, stale].map(|count| count.swap(0, Ordering::Relaxed))
    }
}

impl<K, V> Inner<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// The entry of this generation, fresh or not.
    fn known<Q>(&self, key: &Q, generation: u64, wall: Timestamp) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let valid =
            |entry: &Entry<V>| entry.generation == generation && entry.found.until.is_none_or(|until| wall < until);
        self.present.get(key).filter(valid).or_else(|| self.absent.get(key).filter(valid))
    }

    /// Only what exists may be used when old: an absent key may have been created since.
    fn usable_stale(&self, entry: &Entry<V>, age: u64) -> bool {
        entry.found.value.is_some() && self.freshness.is_usable_on_error(age)
    }

    /// Waits for the load of `key` that is under way, or begins one.
    fn join<F>(
        self: &Arc<Self>,
        key: K,
        now: u64,
        generation: u64,
        load: &impl Fn(K) -> F,
    ) -> Shared<BoxFuture<'static, Result<Loaded<V>>>>
    where
        F: Future<Output = Result<Loaded<V>>> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(&key)
            && flight.generation == generation
            && now.saturating_sub(flight.at) < ABANDONED_AFTER_MILLIS
        {
            return flight.load.clone();
        }
        let id = self.next_flight.fetch_add(1, Ordering::Relaxed);
        let (inner, loading, name) = (Arc::clone(self), load(key.clone()), key.clone());
        let load = async move {
            let found = loading.await;
            inner.land(&name, Takeoff { id, at: now, generation }, found)
        };
        let load = load.boxed().shared();
        flights.insert(key, Flight { id, at: now, generation, load: load.clone() });
        // It goes on, in bounded time, when all who wait for it have gone: it may hold a connection.
        tokio::spawn(load.clone());
        load
    }

    /// Keeps what a load found. It carries the generation it began in, so a load that was overtaken by an invalidation
    /// is never taken from the cache.
    fn land(&self, key: &K, begun: Takeoff, found: Result<Loaded<V>>) -> Result<Loaded<V>> {
        match &found {
            Ok(found) => {
                self.freshness.answered();
                let entry = Entry { found: found.clone(), at: begun.at, generation: begun.generation };
                let (home, other) =
                    if found.value.is_some() { (&self.present, &self.absent) } else { (&self.absent, &self.present) };
                other.remove(key);
                home.insert(key.clone(), entry);
            }
            Err(DirectoryError::Unavailable(_)) => self.freshness.failed(),
            // This row cannot be read, and others can.
            Err(_) => {}
        }
        let mut flights = self.flights.lock();
        if flights.get(key).is_some_and(|flight| flight.id == begun.id) {
            flights.remove(key);
        }
        found
    }
}
