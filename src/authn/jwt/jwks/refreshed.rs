//! A copy of one document of keys: fetched by one flight at a time that all who need it join, used when it is old while
//! the provider fails, and fetched early, within limits, for a name that is not in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::pace::{Bucket, pause_millis};
use super::place::{LoadError, Place};
use super::{Algorithm, Found, KeyError, KeySet, KeySettings, PublicKey, UNKNOWN_KID, chosen, exact};
use crate::authn::fetch::Fetch;
use crate::authn::outage::Outage;
use crate::uptime::Uptime;

/// Who has an old copy waits this long for a new one: less than Envoy waits for an answer.
const PATIENCE: Duration = Duration::from_millis(400);
/// Fetches for unknown names: two at once, so that a rotation is seen though a name was made up just before, and then
/// one each interval.
const LOOKS: u64 = 2;
const LOOK_MILLIS: u64 = 5_000;
/// A name that the provider does not know is asked for again after this time.
const ABSENT_MILLIS: u64 = 60_000;
/// A flight that takes longer has lost the runtime that carried it, and is not joined any more.
const ABANDONED_MILLIS: u64 = 60_000;

/// See the module.
pub(super) struct Refreshed {
    inner: Arc<Inner>,
}

struct Inner {
    outage: Outage,
    place: Place,
    fetch: Fetch,
    clock: Uptime,
    ttl: u64,
    stale_ttl: u64,
    copy: ArcSwapOption<Held>,
    /// Until when the provider is left alone after a failure.
    retry_at: AtomicU64,
    /// How many flights have begun: the number of the next one.
    begun: AtomicU64,
    state: Mutex<State>,
}

struct Held {
    set: KeySet,
    /// When the flight began that brought it.
    at: u64,
}

struct State {
    flight: Option<Flight>,
    failures: u32,
    /// Whether the last answer was that there is no such key.
    is_absent: bool,
    looks: Bucket,
}

type Landing = Result<Arc<Held>, LoadError>;

#[derive(Clone)]
struct Flight {
    id: u64,
    at: u64,
    /// Somebody's patience has ended: nobody with an old copy waits for it.
    is_slow: bool,
    load: Shared<BoxFuture<'static, Landing>>,
}

/// What a newer copy is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Token,
    /// A name that the copy does not have.
    Look,
    /// The copy will be too old soon, or there is none yet.
    Renewal,
}

/// What there is for one who needs a newer copy.
enum Next {
    Flight(Flight),
    /// A copy newer than the one that did not suffice.
    Landed(Arc<Held>),
    Failing(KeyError),
    /// Too many names were looked for.
    NotNow,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Refreshed {
    pub(super) fn new(place: Place, fetch: Fetch, settings: KeySettings) -> Self {
        let (ttl, stale_ttl) = (millis(settings.ttl), millis(settings.stale_ttl));
        let looks = Bucket::new(LOOKS, LOOK_MILLIS);
        Refreshed {
            inner: Arc::new(Inner {
                outage: Outage::of(format!("keys at {place}")),
                place,
                fetch,
                clock: settings.clock,
                ttl,
                stale_ttl,
                copy: ArcSwapOption::empty(),
                retry_at: AtomicU64::new(0),
                begun: AtomicU64::new(0),
                state: Mutex::new(State { flight: None, failures: 0, is_absent: false, looks }),
            }),
        }
    }

    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, KeyError> {
        // A flight with this number or a later one has seen the provider after the token was.
        let arrived = self.inner.begun.load(Ordering::Acquire);
        let (copy, flight) = self.inner.usable().await?;
        match copy.set.find(kid, algorithm) {
            Found::UnknownKid if flight.is_none_or(|flight| flight < arrived) => {
                self.inner.look(copy, kid, algorithm, arrived).await
            }
            found => chosen(found),
        }
    }

    /// Fetches where the copy will be too old `ahead` of now, and waits for that. A provider that failed a token is left alone
    /// as long as tokens leave it alone; one that fails here is asked by the next token all the same.
    pub(super) async fn renew(&self, ahead: Duration) {
        let (copy, now) = (self.inner.copy.load_full(), (self.inner.clock)());
        let then = now.saturating_add(millis(ahead));
        if copy.as_ref().is_none_or(|copy| !self.inner.is_fresh(copy, then))
            && let Next::Flight(flight) = self.inner.next(now, copy.as_ref(), Why::Renewal)
        {
            // Whoever needs the keys is told what is wrong, and the log is.
            let _ = flight.load.await;
        }
    }

    pub(super) fn at_hand(&self, kid: &str, algorithm: Algorithm) -> Option<Arc<PublicKey>> {
        let copy = self.inner.copy.load();
        let copy = copy.as_ref().filter(|copy| self.inner.is_fresh(copy, (self.inner.clock)()))?;
        exact(&copy.set, kid, algorithm)
    }

    pub(super) fn is_current(&self, key: &PublicKey) -> bool {
        let (copy, now) = (self.inner.copy.load(), (self.inner.clock)());
        let is_failing = || now < self.inner.retry_at.load(Ordering::Acquire);
        copy.as_ref().is_some_and(|copy| {
            let is_in_force = self.inner.is_fresh(copy, now) || is_failing() && self.inner.is_usable(copy, now);
            is_in_force && copy.set.contains(key.fingerprint())
        })
    }
}

impl Inner {
    fn is_fresh(&self, copy: &Held, now: u64) -> bool {
        now.saturating_sub(copy.at) < self.ttl
    }

    fn is_usable(&self, copy: &Held, now: u64) -> bool {
        now.saturating_sub(copy.at) < self.ttl.saturating_add(self.stale_ttl)
    }

    /// The copy in force, and the flight that has brought it where one was waited for.
    async fn usable(self: &Arc<Self>) -> Result<(Arc<Held>, Option<u64>), KeyError> {
        let now = (self.clock)();
        let copy = self.copy.load_full();
        if let Some(copy) = copy.as_ref().filter(|copy| self.is_fresh(copy, now)) {
            return Ok((Arc::clone(copy), None));
        }
        let next = self.next(now, copy.as_ref(), Why::Token);
        let old = copy.filter(|copy| self.is_usable(copy, now));
        let flight = match next {
            Next::Flight(flight) => flight,
            Next::Landed(copy) => return Ok((copy, None)),
            Next::Failing(error) => return old.map(|old| (old, None)).ok_or(error),
            Next::NotNow => return Err(KeyError::Unavailable),
        };
        let landing = match &old {
            None => flight.load.await,
            Some(old) if flight.is_slow => return Ok((Arc::clone(old), None)),
            Some(old) => match tokio::time::timeout(PATIENCE, flight.load).await {
                Ok(landing) => landing,
                Err(_) => {
                    self.mark_slow(flight.id);
                    return Ok((Arc::clone(old), None));
                }
            },
        };
        match (landing, old) {
            (Ok(copy), _) => Ok((copy, Some(flight.id))),
            (Err(LoadError::Absent), _) => Err(UNKNOWN_KID),
            (Err(_), Some(old)) if self.is_usable(&old, (self.clock)()) => Ok((old, None)),
            (Err(_), _) => Err(KeyError::Unavailable),
        }
    }

    /// Looks for a name that `copy` does not have in what the provider says after the name was heard of.
    async fn look(
        self: &Arc<Self>,
        mut copy: Arc<Held>,
        kid: Option<&str>,
        algorithm: Algorithm,
        arrived: u64,
    ) -> Result<Arc<PublicKey>, KeyError> {
        loop {
            let is_last = match self.next((self.clock)(), Some(&copy), Why::Look) {
                Next::Landed(newer) => {
                    copy = newer;
                    false
                }
                Next::Flight(flight) => {
                    copy = flight.load.await.map_err(|error| match error {
                        LoadError::Absent => UNKNOWN_KID,
                        _ => KeyError::Unavailable,
                    })?;
                    flight.id >= arrived
                }
                Next::Failing(error) => return Err(error),
                Next::NotNow => return Err(UNKNOWN_KID),
            };
            match copy.set.find(kid, algorithm) {
                Found::UnknownKid if !is_last => {}
                found => return chosen(found),
            }
        }
    }

    /// The way to a newer copy than `seen`: one that has landed, the flight under way, or a new one.
    fn next(self: &Arc<Self>, now: u64, seen: Option<&Arc<Held>>, why: Why) -> Next {
        let mut state = self.state.lock();
        if let Some(copy) = self.copy.load_full()
            && seen.is_none_or(|seen| !Arc::ptr_eq(seen, &copy))
            && self.is_fresh(&copy, now)
        {
            return Next::Landed(copy);
        }
        if let Some(flight) = &state.flight
            && now.saturating_sub(flight.at) < ABANDONED_MILLIS
        {
            return Next::Flight(flight.clone());
        }
        if now < self.retry_at.load(Ordering::Acquire) {
            return Next::Failing(if state.is_absent { UNKNOWN_KID } else { KeyError::Unavailable });
        }
        if why == Why::Look && !state.looks.take(now) {
            return Next::NotNow;
        }
        let id = self.begun.fetch_add(1, Ordering::AcqRel);
        let inner = Arc::clone(self);
        let load = async move {
            let loaded = inner.place.load(&inner.fetch).await;
            inner.land(id, now, why, loaded)
        };
        let flight = Flight { id, at: now, is_slow: false, load: load.boxed().shared() };
        state.flight = Some(flight.clone());
        // It goes on, in bounded time, when all who wait for it have gone.
        tokio::spawn(flight.load.clone());
        Next::Flight(flight)
    }

    fn mark_slow(&self, id: u64) {
        if let Some(flight) = self.state.lock().flight.as_mut().filter(|flight| flight.id == id) {
            flight.is_slow = true;
        }
    }

    fn land(&self, id: u64, at: u64, why: Why, loaded: Result<KeySet, LoadError>) -> Landing {
        let mut state = self.state.lock();
        if state.flight.as_ref().is_some_and(|flight| flight.id == id) {
            state.flight = None;
        }
        let now = (self.clock)();
        match &loaded {
            Ok(_) | Err(LoadError::Absent) => self.outage.answered(now),
            Err(error) => self.outage.failed(error, now),
        }
        match loaded {
            Ok(set) => {
                (state.failures, state.is_absent) = (0, false);
                self.retry_at.store(0, Ordering::Release);
                let copy = Arc::new(Held { set, at });
                // A flight that was given up may land after the one that took its place.
                if self.copy.load().as_ref().is_none_or(|other| other.at <= at) {
                    self.copy.store(Some(Arc::clone(&copy)));
                }
                Ok(copy)
            }
            Err(LoadError::Absent) => {
                (state.failures, state.is_absent) = (0, true);
                self.retry_at.store(now + ABSENT_MILLIS, Ordering::Release);
                self.copy.store(None);
                Err(LoadError::Absent)
            }
            // It is tried again soon, and nobody was waiting for it.
            Err(error) if why == Why::Renewal => Err(error),
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                state.is_absent = false;
                self.retry_at.store(now + pause_millis(state.failures), Ordering::Release);
                Err(error)
            }
        }
    }
}
