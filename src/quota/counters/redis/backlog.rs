//! What the counters are to be told when they answer again, in the order it happened.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::{Amount, Hold, HoldId, Progress, Record};

/// Messages that are kept at most.
const MOST: usize = 200_000;

/// One of them. Each may be told twice: the counters know holds by name.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// An admission whose answer never came: it did not take place.
    Undo(Arc<Hold>),
    /// Admitted by this replica alone.
    Admit(Arc<Hold>, IpAddr),
    Start(Arc<Hold>, IpAddr, Progress),
    Settle(Arc<Hold>, Amount, Box<Record>),
    Release(HoldId),
}

impl Told {
    fn hold(&self) -> HoldId {
        match self {
            Told::Undo(hold) | Told::Admit(hold, _) | Told::Start(hold, ..) | Told::Settle(hold, ..) => hold.id,
            Told::Release(hold) => *hold,
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Backlog(Mutex<State>);

#[derive(Default)]
struct State {
    told: VecDeque<Told>,
    holds: HashMap<HoldId, u32, ahash::RandomState>,
}

impl Backlog {
    /// Keeps a message; `false` where there are too many.
    pub(super) fn push(&self, told: Told) -> bool {
        let mut state = self.0.lock();
        // An undo that is not told ends with its hold; what was used must be told.
        let most = if matches!(told, Told::Undo(_)) { MOST / 4 } else { MOST };
        if state.told.len() >= most {
            return false;
        }
        *state.holds.entry(told.hold()).or_default() += 1;
        state.told.push_back(told);
        true
    }

    /// Whether something of this hold waits: then whatever follows must wait behind it.
    pub(super) fn has(&self, hold: HoldId) -> bool {
        let state = self.0.lock();
        !state.told.is_empty() && state.holds.contains_key(&hold)
    }

    /// The oldest messages, which stay until [`Backlog::done`].
    pub(super) fn first(&self, count: usize) -> Vec<Told> {
        self.0.lock().told.iter().take(count).cloned().collect()
    }

    /// The oldest message is told.
    pub(super) fn done(&self) {
        let mut state = self.0.lock();
        let Some(told) = state.told.pop_front() else { return };
        let hold = told.hold();
        if let Some(count) = state.holds.get_mut(&hold) {
            *count -= 1;
            if *count == 0 {
                state.holds.remove(&hold);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().told.len()
    }

    /// All that is left, which nobody will tell any more.
    pub(super) fn take(&self) -> VecDeque<Told> {
        let mut state = self.0.lock();
        state.holds.clear();
        std::mem::take(&mut state.told)
    }

    /// Whether new admissions would find place for all that follows them.
    pub(super) fn has_room(&self) -> bool {
        self.len() < MOST / 2
    }
}
