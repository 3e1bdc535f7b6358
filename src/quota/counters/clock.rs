//! The clock the counters live by. Tests bring their own; whatever it says, the counters never let time go back.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::domain::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// Set back by more than this, the clock is worth a word.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// The clock of this machine. Where somebody sets that back this one goes on, at half its pace, until the other has caught
/// up: windows and holds end late, and never stand still.
#[derive(Debug)]
pub struct SystemClock {
    began: Instant,
    steady: Mutex<Steady>,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { began: Instant::now(), steady: Mutex::default() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let mut steady = self.steady.lock();
        let clock = Timestamp::now();
        let told = steady.tell(clock, self.began.elapsed());
        if let Some(behind) = steady.news(clock, told) {
            drop(steady);
            if behind.is_zero() {
                tracing::info!("the machine's clock has caught up: the counters live by it again");
            } else {
                let seconds = behind.as_secs();
                tracing::warn!(seconds, "the machine's clock was set back: the counters go on at half its pace");
            }
        }
        told
    }
}

/// Time that never goes back, from a clock that does.
#[derive(Debug, Default)]
struct Steady {
    /// The clock when it was last believed, and the time since the start then, which nobody sets.
    believed: Timestamp,
    at: Duration,
    behind: bool,
}

impl Steady {
    fn tell(&mut self, clock: Timestamp, since_start: Duration) -> Timestamp {
        let slow = self.believed.plus(since_start.saturating_sub(self.at) / 2);
        if clock < slow {
            return slow;
        }
        (self.believed, self.at) = (clock, since_start);
        clock
    }

    /// How far the clock was set back, once; zero when it has caught up.
    fn news(&mut self, clock: Timestamp, told: Timestamp) -> Option<Duration> {
        let behind = told.since(clock);
        let changed = if self.behind { behind.is_zero() } else { behind > WORTH_TELLING };
        self.behind ^= changed;
        changed.then_some(behind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::millis(millis)
    }

    #[test]
    fn a_clock_that_is_set_back_is_followed_at_half_its_pace_until_it_has_caught_up() {
        let mut steady = Steady::default();
        // The machine's clock, milliseconds since the start, what is told, what is said.
        let steps = [
            (100_000, 0, 100_000, None),
            (100_500, 500, 100_500, None),
            (100_400, 600, 100_550, None),
            (101_500, 1_500, 101_500, None),
            (41_500, 1_500, 101_500, Some(Duration::from_secs(60))),
            (51_500, 11_500, 106_500, None),
            (161_400, 121_400, 161_450, None),
            (161_500, 121_500, 161_500, Some(Duration::ZERO)),
            (161_900, 121_900, 161_900, None),
            // Set forward: that is believed at once.
            (999_000, 122_000, 999_000, None),
        ];
        for (clock, since_start, expected, said) in steps {
            let told = steady.tell(at(clock), Duration::from_millis(since_start));
            assert_eq!(told, at(expected), "at {since_start} ms");
            assert_eq!(steady.news(at(clock), told), said, "at {since_start} ms");
        }
    }

    proptest! {
        #[test]
        fn time_never_goes_back_and_never_stands_still(clocks in prop::collection::vec(-100_000_i64..100_000, 1..60)) {
            let mut steady = Steady::default();
            let mut last: Option<Timestamp> = None;
            for (step, clock) in clocks.into_iter().enumerate() {
                let told = steady.tell(at(1_000_000 + clock), Duration::from_millis(100 * step as u64));
                if let Some(last) = last {
                    prop_assert!(told >= last.plus_millis(50));
                }
                last = Some(told);
            }
        }
    }
}
