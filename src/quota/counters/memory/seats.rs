//! Where the counters of a binding sit: looked up by name once, then found where they were last.

use std::sync::atomic::{AtomicU32, Ordering};

use super::state::State;
use crate::domain::Binding;

/// For each limit of a binding the seat its counter had. A seat may have been given to another counter since, so each is
/// believed only where the counter still sits there.
struct Hints(Box<[AtomicU32]>);

impl State {
    /// The seat of the counter of one limit, taken now if it has none.
    pub(super) fn seat(&mut self, binding: &Binding, at: usize) -> u32 {
        if let Some(seat) = self.seated(binding, at) {
            return seat;
        }
        let seat = self.table.seat(&binding.limits()[at].counter, self.now);
        note(binding, at, seat);
        seat
    }

    /// The seat of the counter of one limit, where it has one.
    pub(super) fn seated(&self, binding: &Binding, at: usize) -> Option<u32> {
        let key = &binding.limits()[at].counter;
        let Some(hint) = hint(binding, at) else { return self.table.find(key) };
        let known = hint.load(Ordering::Relaxed);
        let seat = self.table.find_near(known, key)?;
        if seat != known {
            hint.store(seat, Ordering::Relaxed);
        }
        Some(seat)
    }
}

fn note(binding: &Binding, at: usize, seat: u32) {
    if let Some(hint) = hint(binding, at) {
        hint.store(seat, Ordering::Relaxed);
    }
}

fn hint(binding: &Binding, at: usize) -> Option<&AtomicU32> {
    let nowhere = || AtomicU32::new(u32::MAX);
    let Hints(hints) = binding.seats.get_or_init(|| Hints(binding.limits().iter().map(|_| nowhere()).collect()))?;
    hints.get(at)
}
