//! How old an entry may be: one rule for every cache of the directory, and the generation that an invalidation ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::uptime::Uptime;

/// How long entries are used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetimes {
    pub present: Duration,
    pub absent: Duration,
    pub stale_if_error: Duration,
}

/// What the watch on the directory is worth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watchfulness {
    /// It is alive when it saw the directory this lately.
    pub live_for: Duration,
    /// Entries are read again after this time while it is not.
    pub unwatched_ttl: Duration,
}

impl Watchfulness {
    /// A file that is looked at every 50 ms cannot fall silent.
    pub(super) const FILE: Watchfulness =
        Watchfulness { live_for: Duration::from_secs(1), unwatched_ttl: Duration::from_secs(1) };
}

/// See the module.
pub(super) struct Freshness {
    clock: Uptime,
    ttl: u64,
    negative_ttl: u64,
    stale_if_error: u64,
    live_for: u64,
    unwatched_ttl: u64,
    generation: Arc<AtomicU64>,
    /// Whether a watch was begun, and when it last saw the directory.
    watched: AtomicBool,
    seen_at: AtomicU64,
    /// When a load last failed or, since one did, was tried again; 0 while the store answers.
    failed_at: AtomicU64,
}

/// While the store fails, entries that are old are used at once and one try this often asks whether it is back.
const RETRY_AFTER_FAILURE_MILLIS: u64 = 1_000;

/// As of when something was found in the directory that is true until something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    pub(super) generation: u64,
    pub(super) at: u64,
}

impl AsOf {
    /// Of what was found from both.
    #[must_use]
    pub fn and(self, other: AsOf) -> AsOf {
        AsOf { generation: self.generation.min(other.generation), at: self.at.min(other.at) }
    }
}

impl Freshness {
    pub(super) fn new(
        lifetimes: Lifetimes,
        watchfulness: Watchfulness,
        generation: Arc<AtomicU64>,
        clock: Uptime,
    ) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Freshness {
            clock,
            ttl: millis(lifetimes.present),
            negative_ttl: millis(lifetimes.absent),
            stale_if_error: millis(lifetimes.stale_if_error),
            live_for: millis(watchfulness.live_for),
            unwatched_ttl: millis(watchfulness.unwatched_ttl),
            generation,
            watched: AtomicBool::new(false),
            seen_at: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// The watch has just seen the directory.
    pub(super) fn seen(&self) {
        self.seen_as_of(Duration::ZERO);
    }

    /// The watch has just learnt how the directory was `age` ago.
    pub(super) fn seen_as_of(&self, age: Duration) {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.seen_at.store(self.now().saturating_sub(age), Ordering::Relaxed);
        self.watched.store(true, Ordering::Release);
    }

    /// The watch was ended on purpose.
    pub(super) fn unwatched(&self) {
        self.watched.store(false, Ordering::Release);
    }

    /// Whether there is a watch, and it is alive.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire) && !self.watch_is_dead(self.now())
    }

    /// Whether the watch has seen the directory within this time; so it is where there is none.
    pub(super) fn seen_within(&self, time: Duration) -> bool {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        !self.watched.load(Ordering::Acquire) || self.now().saturating_sub(self.seen_at.load(Ordering::Relaxed)) < time
    }

    /// Whether an entry read at `at` may be used at `now`.
    pub(super) fn is_fresh(&self, at: u64, now: u64, present: bool) -> bool {
        let ttl = if present { self.ttl } else { self.negative_ttl };
        now.saturating_sub(at) < if self.watch_is_dead(now) { ttl.min(self.unwatched_ttl) } else { ttl }
    }

    /// Whether what was present as of then would be found again: nothing was invalidated since, and it is fresh.
    pub(super) fn still(&self, as_of: AsOf) -> bool {
        self.generation() == as_of.generation && self.is_fresh(as_of.at, self.now(), true)
    }

    pub(super) fn is_usable_on_error(&self, age: u64) -> bool {
        age < self.ttl.saturating_add(self.stale_if_error)
    }

    /// The store did not answer, whatever it was asked for.
    pub(super) fn failed(&self) {
        self.failed_at.store(self.now().max(1), Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.failed_at.store(0, Ordering::Relaxed);
    }

    /// Whether the store failed so lately that nobody need ask it. When that is a while ago one is told no, and asks.
    pub(super) fn failed_lately(&self, now: u64) -> bool {
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        if failed_at == 0 || now.saturating_sub(failed_at) < RETRY_AFTER_FAILURE_MILLIS {
            return failed_at != 0;
        }
        self.failed_at.compare_exchange(failed_at, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_err()
    }

    fn watch_is_dead(&self, now: u64) -> bool {
        self.watched.load(Ordering::Acquire)
            && now.saturating_sub(self.seen_at.load(Ordering::Relaxed)) >= self.live_for
    }
}
