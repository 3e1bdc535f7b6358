//! A line of the log that every request could bring about: one a second at most, with the number of those left out.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether a line is due, and how many were left out since the last one.
    pub fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock();
        if state.told.is_some_and(|told| now.saturating_duration_since(told) < EVERY) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_due_and_tells_how_many_were_left_out() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let due = [0, 1, 999, 1_000, 1_500, 2_000, 9_000].map(|at| seldom.due(start + Duration::from_millis(at)));
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
