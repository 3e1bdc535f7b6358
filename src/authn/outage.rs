//! What the log is told of a server that others ask: one warning when trouble begins and one line when it is over, and
//! no more than one warning a minute however often that is. Each line counts the failures that none has told of.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Between two warnings, in milliseconds.
const EVERY: u64 = 60_000;

/// See the module. Times are milliseconds that only go forward.
pub(super) struct Outage {
    /// As the log shows it.
    server: String,
    /// So that the answers of a server that is well cost a look only.
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Since when nothing is answered.
    since: Option<u64>,
    /// Whether the log knows of the trouble there is.
    is_told: bool,
    warned_at: Option<u64>,
    left_out: u64,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Begins { left_out: u64 },
    GoesOn { left_out: u64 },
    IsOver { left_out: u64, seconds: u64 },
}

impl Outage {
    pub(super) fn of(server: String) -> Self {
        Outage { server, is_on: AtomicBool::new(false), state: Mutex::default() }
    }

    /// A question to the server got no answer that can be used. The reason must be fit for the log.
    pub(super) fn failed(&self, reason: &dyn Display, now: u64) {
        let line = {
            let mut state = self.state.lock();
            self.is_on.store(true, Ordering::Relaxed);
            state.failed(now)
        };
        let server = self.server.as_str();
        match line {
            Some(Line::Begins { left_out }) => {
                tracing::warn!(server, %reason, left_out, "an identity provider gives no answer");
            }
            Some(Line::GoesOn { left_out }) => {
                tracing::warn!(server, %reason, left_out, "an identity provider still gives no answer");
            }
            Some(Line::IsOver { .. }) | None => {}
        }
    }

    /// The server answered.
    pub(super) fn answered(&self, now: u64) {
        if !self.is_on.load(Ordering::Relaxed) {
            return;
        }
        let line = {
            let mut state = self.state.lock();
            self.is_on.store(false, Ordering::Relaxed);
            state.answered(now)
        };
        if let Some(Line::IsOver { left_out, seconds }) = line {
            tracing::info!(server = self.server.as_str(), left_out, seconds, "an identity provider answers again");
        }
    }
}

impl State {
    fn failed(&mut self, now: u64) -> Option<Line> {
        self.since.get_or_insert(now);
        if self.warned_at.is_some_and(|at| now.saturating_sub(at) < EVERY) {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.warned_at = Some(now);
        let left_out = std::mem::take(&mut self.left_out);
        let was_told = std::mem::replace(&mut self.is_told, true);
        Some(if was_told { Line::GoesOn { left_out } } else { Line::Begins { left_out } })
    }

    fn answered(&mut self, now: u64) -> Option<Line> {
        let since = self.since.take()?;
        // Who comes and goes many times a minute is told of once: what follows is in the count of the next line.
        if !std::mem::take(&mut self.is_told) {
            return None;
        }
        let left_out = std::mem::take(&mut self.left_out);
        Some(Line::IsOver { left_out, seconds: now.saturating_sub(since) / 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_begins_once_a_minute_and_when_it_is_over() {
        let mut state = State::default();
        assert_eq!(state.answered(0), None, "there is none");
        assert_eq!(state.failed(1_000), Some(Line::Begins { left_out: 0 }));
        assert_eq!([2_000, 3_000, 60_999].map(|now| state.failed(now)), [None, None, None]);
        assert_eq!(state.failed(61_000), Some(Line::GoesOn { left_out: 3 }));
        assert_eq!(state.failed(62_000), None);
        assert_eq!(state.answered(71_000), Some(Line::IsOver { left_out: 1, seconds: 70 }));
        assert_eq!(state.answered(72_000), None, "once");
        assert_eq!(state.failed(200_000), Some(Line::Begins { left_out: 0 }));
    }

    #[test]
    fn a_server_that_comes_and_goes_is_told_of_once_a_minute() {
        let mut state = State::default();
        let mut lines = Vec::new();
        for turn in 0..120 {
            lines.extend(state.failed(turn * 1_000));
            lines.extend(state.answered(turn * 1_000 + 500));
        }
        let over = |left_out| Line::IsOver { left_out, seconds: 0 };
        assert_eq!(lines, [Line::Begins { left_out: 0 }, over(0), Line::Begins { left_out: 59 }, over(0)]);
    }

    #[test]
    fn trouble_that_began_too_early_to_be_told_is_told_when_a_minute_is_over() {
        let mut state = State::default();
        assert_eq!(state.failed(0), Some(Line::Begins { left_out: 0 }));
        assert_eq!(state.answered(1_000), Some(Line::IsOver { left_out: 0, seconds: 1 }));
        assert_eq!(state.failed(10_000), None);
        assert_eq!(state.failed(60_000), Some(Line::Begins { left_out: 1 }));
        assert_eq!(state.answered(70_000), Some(Line::IsOver { left_out: 0, seconds: 60 }));
    }
}
