//! A circuit breaker: a server that keeps failing is left alone, but for one question a second that finds out whether it
//! is back. Times are milliseconds that only go forward.

use parking_lot::Mutex;

/// The calls that [`Opens::half_of`] looks at.
const SECONDS: usize = 10;
/// How often it lets one call through while it is open.
const PROBE_EVERY: u64 = 1_000;

/// What opens a breaker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opens {
    /// So many failures in a row.
    pub in_a_row: u32,
    /// Also that half of at least this many calls of the last ten seconds failed.
    pub half_of: Option<u32>,
}

/// See the module.
pub(super) struct Breaker {
    opens: Opens,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failed_in_a_row: u32,
    seconds: [Second; SECONDS],
    /// When a call was last let through; `None` while it is closed.
    probed_at: Option<u64>,
}

/// The calls that ended in one second.
#[derive(Clone, Copy, Default)]
struct Second {
    second: u64,
    calls: u32,
    failed: u32,
}

impl Breaker {
    pub(super) fn new(opens: Opens) -> Self {
        Breaker { opens, state: Mutex::default() }
    }

    /// Whether a call may be made. While it is open, whoever is let through is the probe of this second.
    pub(super) fn admits(&self, now: u64) -> bool {
        let mut state = self.state.lock();
        match state.probed_at {
            None => true,
            Some(at) if now.saturating_sub(at) >= PROBE_EVERY => {
                state.probed_at = Some(now);
                true
            }
            Some(_) => false,
        }
    }

    /// Notes how a call ended. Returns whether this opened it.
    pub(super) fn note(&self, answered: bool, now: u64) -> bool {
        let mut state = self.state.lock();
        if answered && state.probed_at.is_some() {
            *state = State::default();
        }
        state.count(answered, now);
        if state.probed_at.is_some() || !state.is_too_much(self.opens, now) {
            return false;
        }
        state.probed_at = Some(now);
        true
    }
}

impl State {
    fn count(&mut self, answered: bool, now: u64) {
        self.failed_in_a_row = if answered { 0 } else { self.failed_in_a_row.saturating_add(1) };
        let second = now / 1_000;
        let index = usize::try_from(second % SECONDS as u64).unwrap_or_default();
        let Some(place) = self.seconds.get_mut(index) else { return };
        if place.second != second {
            *place = Second { second, ..Second::default() };
        }
        place.calls = place.calls.saturating_add(1);
        place.failed = place.failed.saturating_add(u32::from(!answered));
    }

    fn is_too_much(&self, opens: Opens, now: u64) -> bool {
        if self.failed_in_a_row >= opens.in_a_row {
            return true;
        }
        let Some(enough) = opens.half_of else { return false };
        let oldest = (now / 1_000).saturating_sub(SECONDS as u64 - 1);
        let recent = self.seconds.iter().filter(|place| place.second >= oldest);
        let (calls, failed) = recent.fold((0_u32, 0_u32), |(calls, failed), place| {
            (calls.saturating_add(place.calls), failed.saturating_add(place.failed))
        });
        calls >= enough && failed.saturating_mul(2) >= calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(in_a_row: u32, half_of: Option<u32>) -> Breaker {
        Breaker::new(Opens { in_a_row, half_of })
    }

    #[test]
    fn failures_in_a_row_open_it_and_one_answer_between_them_does_not() {
        let breaker = breaker(5, None);
        for answered in [false, false, false, false, true, false, false, false, false] {
            assert!(breaker.admits(0));
            assert!(!breaker.note(answered, 0));
        }
        assert!(breaker.note(false, 1), "the fifth in a row");
        assert!(!breaker.admits(2));
    }

    #[test]
    fn while_it_is_open_one_call_a_second_passes_and_an_answer_closes_it() {
        let breaker = breaker(3, None);
        for _ in 0..3 {
            breaker.note(false, 10_000);
        }
        assert_eq!(
            [10_001, 10_999, 11_000, 11_001, 11_999].map(|now| breaker.admits(now)),
            [false, false, true, false, false]
        );
        assert!(!breaker.note(false, 11_500), "it was open before");
        assert!(breaker.admits(12_000));
        assert!(!breaker.admits(12_999) && breaker.admits(13_000), "a probe that never ends holds up a second only");
        breaker.note(true, 13_100);
        assert!(breaker.admits(13_100) && breaker.admits(13_100));
        assert!(!breaker.note(false, 13_200), "what was before is forgotten");
    }

    #[test]
    fn half_of_twenty_within_ten_seconds_open_it_where_that_counts_and_older_ones_do_not() {
        let turns = |half_of: Option<u32>, step: u64| {
            let breaker = breaker(5, half_of);
            (0..40).find(|turn| breaker.note(turn % 2 == 0, 100_000 + turn * step))
        };
        assert_eq!(turns(Some(20), 10), Some(19), "the twentieth call");
        assert_eq!(turns(Some(20), 1_000), None, "ten calls in ten seconds are too few");
        assert_eq!(turns(None, 10), None, "never five in a row");
    }
}
