//! A circuit breaker: who failed several times in a row is asked once a second until it answers again.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// Between two questions while it is open.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Breaker {
    began: Instant,
    failures: AtomicU32,
    /// When the next question may be asked, in milliseconds since it began.
    next: AtomicU64,
}

impl Breaker {
    pub fn new(now: Instant) -> Self {
        Breaker { began: now, failures: AtomicU32::new(0), next: AtomicU64::new(0) }
    }

    /// Whether a question may be asked now. While it is open the one who hears yes is the only one for a second.
    pub fn admits(&self, now: Instant) -> bool {
        if self.failures.load(Ordering::Relaxed) < FAILURES {
            return true;
        }
        let (now, next) = (self.millis(now), self.next.load(Ordering::Relaxed));
        now >= next && {
            let after = now + pause();
            self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        }
    }

    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub fn failed(&self, now: Instant) {
        self.next.fetch_max(self.millis(now) + pause(), Ordering::Relaxed);
        // Saturating: it never comes round to none.
        let more = |failures: u32| Some(failures.saturating_add(1));
        let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX / 2)
    }
}

fn pause() -> u64 {
    u64::try_from(PAUSE.as_millis()).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_several_failures_in_a_row_and_lets_one_through_a_second() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let breaker = Breaker::new(start);
        for _ in 0..2 {
            breaker.failed(start);
            assert!(breaker.admits(start), "one failure or two prove nothing");
        }
        breaker.answered();
        for _ in 0..3 {
            breaker.failed(start);
        }
        assert!(!breaker.admits(at(999)));
        assert!(breaker.admits(at(1_000)), "the probe");
        assert!(!breaker.admits(at(1_000)), "one is enough");
        assert!(!breaker.admits(at(1_999)));
        assert!(breaker.admits(at(2_000)), "a probe that never ended holds up the next for a second only");
        breaker.failed(at(2_500));
        assert!(!breaker.admits(at(3_499)));
        assert!(breaker.admits(at(3_500)));
        breaker.answered();
        assert!(breaker.admits(at(3_500)) && breaker.admits(at(3_500)));
    }
}
