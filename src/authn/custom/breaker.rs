//! A circuit breaker: an authoriser that keeps failing is left alone, but for one question a second that finds out
//! whether it is back. Times are milliseconds that only go forward.

use parking_lot::Mutex;

/// Failures in a row that open it.
const IN_A_ROW: u32 = 5;
/// It opens too where half of at least this many calls of the last ten seconds failed.
const ENOUGH: u32 = 20;
const SECONDS: usize = 10;
/// How often it lets one call through while it is open.
pub(super) const PROBE_EVERY: u64 = 1_000;

/// See the module.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

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
    /// Whether a call may be made. While it is open, whoever is let through is the probe of this second.
    pub(super) fn admits(&self, now: u64) -> bool {
        let mut state = self.0.lock();
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
        let mut state = self.0.lock();
        if answered && state.probed_at.is_some() {
            *state = State::default();
        }
        state.count(answered, now);
        if state.probed_at.is_some() || !state.is_too_much(now) {
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

    fn is_too_much(&self, now: u64) -> bool {
        if self.failed_in_a_row >= IN_A_ROW {
            return true;
        }
        let oldest = (now / 1_000).saturating_sub(SECONDS as u64 - 1);
        let recent = self.seconds.iter().filter(|place| place.second >= oldest);
        let (calls, failed) = recent.fold((0_u32, 0_u32), |(calls, failed), place| {
            (calls.saturating_add(place.calls), failed.saturating_add(place.failed))
        });
        calls >= ENOUGH && failed.saturating_mul(2) >= calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_open_it_and_one_answer_between_them_does_not() {
        let breaker = Breaker::default();
        for answered in [false, false, false, false, true, false, false, false, false] {
            assert!(breaker.admits(0));
            assert!(!breaker.note(answered, 0));
        }
        assert!(breaker.note(false, 1), "the fifth in a row");
        assert!(!breaker.admits(2));
    }

    #[test]
    fn while_it_is_open_one_call_a_second_passes_and_an_answer_closes_it() {
        let breaker = Breaker::default();
        for _ in 0..IN_A_ROW {
            breaker.note(false, 10_000);
        }
        assert_eq!(
            [10_001, 10_999, 11_000, 11_001, 11_999].map(|now| breaker.admits(now)),
            [false, false, true, false, false]
        );
        assert!(!breaker.note(false, 11_500), "it was open before");
        assert!(breaker.admits(12_000));
        breaker.note(true, 12_100);
        assert!(breaker.admits(12_100) && breaker.admits(12_100));
        assert!(!breaker.note(false, 12_200), "what was before is forgotten");
    }

    #[test]
    fn half_of_twenty_within_ten_seconds_open_it_and_older_ones_do_not_count() {
        let turns = |from: u64, step: u64| {
            let breaker = Breaker::default();
            (0..40).find(|turn| breaker.note(turn % 2 == 0, from + turn * step))
        };
        assert_eq!(turns(100_000, 10), Some(19), "the twentieth call");
        assert_eq!(turns(100_000, 1_000), None, "ten calls in ten seconds are too few");
    }
}
