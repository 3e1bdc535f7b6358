//! The holds that are open, when each of them ends by itself, and short memories of those that ended, so that late and
//! repeated messages find out what became of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::HoldState;
use super::spread::{HoldMap, Queue};
use crate::domain::{Amount, Hold, HoldId, Progress, Timestamp};

/// From admission until the request must have reached its upstream.
pub(super) const UNTIL_START: Duration = Duration::from_secs(30);
/// From a start or renewal until the next.
pub(super) const UNTIL_RENEWAL: Duration = Duration::from_secs(45);
/// How long an ended hold is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// A hold that is held or started.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) hold: Arc<Hold>,
    pub(super) gateway: IpAddr,
    pub(super) charged_at: Timestamp,
    pub(super) deadline: Timestamp,
    /// `None` until it starts.
    pub(super) progress: Option<Progress>,
}

impl Open {
    pub(super) fn state(&self) -> HoldState {
        if self.progress.is_some() { HoldState::Started } else { HoldState::Held }
    }
}

/// What is remembered of a hold that ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) state: HoldState,
    /// Usage and cost that were booked when it ended, and tokens that stayed charged (`None`: all that was held);
    /// nothing where all was given back.
    pub(super) booked: Option<(Progress, Option<Amount>)>,
}

#[derive(Debug)]
pub(super) struct Holds {
    open: HoldMap<Box<Open>>,
    started: usize,
    ended: HoldMap<Ended>,
    /// Until when each ended hold is remembered, oldest first.
    memories: Queue<(Timestamp, HoldId)>,
    max_ended: usize,
    /// Deadlines of holds not started and of started ones. Each is appended with the same delay to a clock that never
    /// goes back, so each is in order; a line whose deadline is no longer its hold's is void.
    unstarted_until: Queue<(Timestamp, HoldId)>,
    running_until: Queue<(Timestamp, HoldId)>,
}

impl Holds {
    pub(super) fn new(max_ended: usize) -> Self {
        Holds {
            open: HoldMap::default(),
            started: 0,
            ended: HoldMap::default(),
            memories: Queue::default(),
            max_ended,
            unstarted_until: Queue::default(),
            running_until: Queue::default(),
        }
    }

    pub(super) fn open(&self, id: HoldId) -> Option<&Open> {
        self.open.get(id).map(Box::as_ref)
    }

    pub(super) fn ended(&self, id: HoldId) -> Option<Ended> {
        self.ended.get(id).copied()
    }

    pub(super) fn state(&self, id: HoldId) -> HoldState {
        let ended = || self.ended.get(id).map_or(HoldState::Absent, |ended| ended.state);
        self.open.get(id).map_or_else(ended, |open| open.state())
    }

    /// Open holds: not started, started.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.open.len() - self.started, self.started)
    }

    pub(super) fn insert(&mut self, open: Open) {
        self.unstarted_until.push_back((open.deadline, open.hold.id));
        self.open.insert(open.hold.id, Box::new(open));
    }

    /// A start, a renewal, or news of a running hold: it lives on. Returns the hold where this is its start.
    pub(super) fn run(&mut self, id: HoldId, progress: Progress, now: Timestamp) -> Option<Arc<Hold>> {
        let open = self.open.get_mut(id)?;
        let deadline = now.plus(UNTIL_RENEWAL);
        if open.progress.is_none() || open.deadline != deadline {
            open.deadline = deadline;
            self.running_until.push_back((deadline, id));
        }
        let Some(known) = &mut open.progress else {
            open.progress = Some(progress);
            self.started += 1;
            return Some(open.hold.clone());
        };
        // Messages overtake one another; use only grows.
        known.input_tokens = known.input_tokens.max(progress.input_tokens);
        known.output_tokens = known.output_tokens.max(progress.output_tokens);
        known.cost = known.cost.max(progress.cost);
        None
    }

    pub(super) fn remove(&mut self, id: HoldId) -> Option<Open> {
        let open = self.open.remove(id)?;
        self.started -= usize::from(open.progress.is_some());
        Some(*open)
    }

    /// Remembers how a hold ended; the oldest memory makes room where there are too many.
    pub(super) fn remember(&mut self, id: HoldId, ended: Ended, now: Timestamp) {
        if self.ended.insert(id, ended).is_none() {
            self.memories.push_back((now.plus(REMEMBERED_FOR), id));
        }
        while self.ended.len() > self.max_ended {
            let Some((_, oldest)) = self.memories.pop_front() else { break };
            self.ended.remove(oldest);
        }
    }

    /// Forgets what was remembered long enough, at most `most` of it. Whether there may be more.
    pub(super) fn forget(&mut self, now: Timestamp, most: usize) -> bool {
        for _ in 0..most {
            match self.memories.front() {
                Some(&(until, id)) if until <= now => {
                    self.memories.pop_front();
                    self.ended.remove(id);
                }
                _ => return false,
            }
        }
        true
    }

    /// The next hold whose time is over, in the order of deadlines.
    pub(super) fn next_overdue(&mut self, now: Timestamp) -> Option<Open> {
        loop {
            let due = |queue: &Queue<(Timestamp, HoldId)>| queue.front().copied().filter(|(at, _)| *at <= now);
            let (deadline, id) = match (due(&self.unstarted_until), due(&self.running_until)) {
                (None, None) => return None,
                (Some(one), Some(other)) if other.0 < one.0 => self.running_until.pop_front().unwrap_or(other),
                (Some(one), _) => self.unstarted_until.pop_front().unwrap_or(one),
                (None, Some(other)) => self.running_until.pop_front().unwrap_or(other),
            };
            if self.open.get(id).is_some_and(|open| open.deadline == deadline) {
                return self.remove(id);
            }
        }
    }

    /// This hold, if its time is over.
    pub(super) fn overdue(&mut self, id: HoldId, now: Timestamp) -> Option<Open> {
        self.open.get(id).filter(|open| open.deadline <= now)?;
        self.remove(id)
    }
}
