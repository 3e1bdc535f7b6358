//! The table of counters: each has a seat that stays while a hold or a waiter needs it, so that a settlement finds its
//! counters without looking for their names.

use std::collections::HashMap;
use std::time::Duration;

use super::super::window::SlidingWindow;
use crate::domain::{Amount, CounterKey, Kind, Money, Period, Timestamp, Window};

/// A lifetime budget nobody asked for in this time leaves the table; it is loaded again when it is needed.
const IDLE_BUDGET: Duration = Duration::from_secs(3_600);
/// The same while the table holds more than [`CROWDED`] counters: whoever invents names must not fill it for all.
const IDLE_BUDGET_CROWDED: Duration = Duration::from_secs(30);
const CROWDED: usize = 500_000;
/// A budget that was asked for and never seeded leaves after this long.
const UNSEEDED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Counter {
    pub(super) key: CounterKey,
    /// Holds and waiters that need this seat.
    pub(super) pins: u32,
    /// When something was last released here, in the table's own count.
    pub(super) epoch: u64,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Requests(SlidingWindow),
    Tokens(SlidingWindow),
    InFlight(Amount),
    /// A budget that was asked for and is not loaded yet.
    Unseeded {
        generation: u64,
        asked: Timestamp,
    },
    Budget(Budget),
}

#[derive(Debug)]
pub(super) struct Budget {
    pub(super) spent: Money,
    pub(super) held: Money,
    pub(super) soft_limit: Option<Money>,
    pub(super) soft_limit_passed: bool,
    pub(super) touched: Timestamp,
}

impl Budget {
    /// Whether the soft limit is passed and nobody was told in this period. Tells once.
    pub(super) fn passes_soft_limit(&mut self) -> bool {
        let passes = !self.soft_limit_passed && self.soft_limit.is_some_and(|soft| self.spent >= soft);
        self.soft_limit_passed |= passes;
        passes
    }
}

impl Counter {
    /// The period of a budget; a budget without one never ends.
    pub(super) fn period(key: &CounterKey) -> Option<&Period> {
        match &key.window {
            Window::Period(period) if key.kind == Kind::Spend => Some(period),
            _ => None,
        }
    }

    /// Spent, then held; `None` for a budget that is not loaded.
    pub(super) fn standing(&mut self, now: Timestamp) -> Option<(Amount, Amount)> {
        match &mut self.body {
            Body::Requests(window) | Body::Tokens(window) => {
                window.advance(now);
                Some(window.standing())
            }
            Body::InFlight(held) => Some((0, *held)),
            Body::Budget(budget) => Some((budget.spent.as_nanos(), budget.held.as_nanos())),
            Body::Unseeded { .. } => None,
        }
    }

    /// Whether nothing would be lost if the counter were not there.
    fn is_idle(&mut self, now: Timestamp, idle_budget: Duration) -> bool {
        if self.pins > 0 {
            return false;
        }
        match &mut self.body {
            Body::Requests(window) | Body::Tokens(window) => {
                window.advance(now);
                window.is_empty()
            }
            Body::InFlight(held) => *held == 0,
            Body::Unseeded { asked, .. } => now.since(*asked) >= UNSEEDED,
            Body::Budget(budget) => {
                let ended = Counter::period(&self.key).is_some_and(|period| period.end <= now);
                ended || (now.since(budget.touched) >= idle_budget && !budget.soft_limit_passed)
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    index: HashMap<CounterKey, u32, ahash::RandomState>,
    seats: Vec<Option<Counter>>,
    free: Vec<u32>,
    /// Numbers generations and epochs; never the same twice.
    serial: u64,
}

impl Table {
    pub(super) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    pub(super) fn find(&self, key: &CounterKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&mut self, seat: u32) -> Option<&mut Counter> {
        self.seats.get_mut(seat as usize)?.as_mut()
    }

    /// The seat of a counter that sat at `hint` when it was last looked for.
    pub(super) fn find_near(&self, hint: u32, key: &CounterKey) -> Option<u32> {
        let sits = |counter: &Counter| counter.key == *key;
        if self.seats.get(hint as usize).and_then(Option::as_ref).is_some_and(sits) {
            Some(hint)
        } else {
            self.find(key)
        }
    }

    pub(super) fn lookup(&mut self, key: &CounterKey) -> Option<&mut Counter> {
        let seat = self.find(key)?;
        self.get(seat)
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.seats.iter().flatten()
    }

    /// The seat of a counter, taken now if it has none. A budget starts unseeded.
    pub(super) fn seat(&mut self, key: &CounterKey, now: Timestamp) -> u32 {
        if let Some(seat) = self.find(key) {
            return seat;
        }
        let serial = self.next_serial();
        let body = match key.kind {
            Kind::Requests => Body::Requests(SlidingWindow::default()),
            Kind::Tokens => Body::Tokens(SlidingWindow::default()),
            Kind::InFlight => Body::InFlight(0),
            Kind::Spend => Body::Unseeded { generation: serial, asked: now },
        };
        let counter = Some(Counter { key: key.clone(), pins: 0, epoch: serial, body });
        let seat = match self.free.pop() {
            Some(seat) => {
                self.seats[seat as usize] = counter;
                seat
            }
            None => {
                self.seats.push(counter);
                (self.seats.len() - 1) as u32
            }
        };
        self.index.insert(key.clone(), seat);
        seat
    }

    /// Drops idle counters among `count` seats from `first` on. The seat to go on with, or `None` after the last.
    pub(super) fn sweep(&mut self, first: usize, count: usize, now: Timestamp) -> Option<usize> {
        let end = first.saturating_add(count).min(self.seats.len());
        let idle_budget = if self.len() > CROWDED { IDLE_BUDGET_CROWDED } else { IDLE_BUDGET };
        for seat in first..end {
            if let Some(counter) = self.seats[seat].take_if(|counter| counter.is_idle(now, idle_budget)) {
                self.index.remove(&counter.key);
                self.free.push(seat as u32);
            }
        }
        (end < self.seats.len()).then_some(end)
    }
}
