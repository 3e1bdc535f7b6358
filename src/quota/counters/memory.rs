//! The embedded counters: one process, one lock, exact. Every call is one short step under the lock; no step waits for
//! anything inside it. What is held is lost with the process, what is spent is loaded again from the ledger.

mod admission;
mod holds;
mod meters;
mod seats;
mod spread;
mod state;
mod table;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::clock::{Clock, SystemClock};
use super::{Books, Counters, CountersError, HoldState, Settled, SoftLimitPassed, Terms, Unseeded, Verdict};
use crate::domain::{
    Account, Amount, CounterKey, Hold, HoldId, Kind, Money, Period, Progress, Record, Timestamp, Window,
};
use state::{State, Waiting};
use table::Body;

/// Counters looked at while the lock is held, in a sweep.
const SWEPT_AT_ONCE: usize = 1_024;

/// Bounds of the embedded counters.
#[derive(Clone, Copy, Debug)]
pub struct MemorySettings {
    /// Holds that may be open at once; past it `admit` answers [`CountersError::Full`].
    pub max_holds: usize,
    /// Callers that may wait for room at once.
    pub max_waiting: usize,
    /// Ended holds that are remembered, for ten minutes at most.
    pub max_ended: usize,
    /// Counters in the table; past it `admit` answers [`CountersError::Unavailable`] until a sweep finds idle ones.
    pub max_counters: usize,
}

impl Default for MemorySettings {
    fn default() -> Self {
        MemorySettings { max_holds: 1_000_000, max_waiting: 1_024, max_ended: 500_000, max_counters: 2_000_000 }
    }
}

/// The counters of a single process. Call [`MemoryCounters::sweep`] about once a second, so that holds end in time
/// though nobody asks.
pub struct MemoryCounters {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    max_waiting: usize,
}

impl MemoryCounters {
    #[must_use]
    pub fn new(books: Arc<dyn Books>, settings: MemorySettings) -> Self {
        MemoryCounters::with_clock(books, settings, Arc::new(SystemClock::default()))
    }

    /// Counters that live by another clock than the system's.
    #[must_use]
    pub fn with_clock(books: Arc<dyn Books>, settings: MemorySettings, clock: Arc<dyn Clock>) -> Self {
        MemoryCounters { state: Mutex::new(State::new(books, settings)), clock, max_waiting: settings.max_waiting }
    }

    /// Ends what is overdue by `now` and drops counters that say nothing, a little at a time so that nobody waits long
    /// for the lock. Give it the time of the counters' own clock.
    pub fn sweep(&self, now: Timestamp) {
        while self.state.lock().advance(now) {}
        let mut next = Some(0);
        while let Some(first) = next {
            let mut state = self.state.lock();
            let now = state.now;
            next = state.table.sweep(first, SWEPT_AT_ONCE, now);
        }
        let mut state = self.state.lock();
        let now = state.now;
        state.meters.forget_silent(now);
    }

    /// Counters in the table, for metrics.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.state.lock().table.len()
    }

    /// The state as of now.
    fn state(&self) -> MutexGuard<'_, State> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.advance(now);
        state
    }

    /// Registers a waiter. `Err(true)` where there is news since `epoch` already, `Err(false)` where too many wait.
    fn register(&self, counter: &CounterKey, epoch: u64) -> Result<Place<'_>, bool> {
        let mut state = self.state();
        let seat = state.table.find(counter).ok_or(true)?;
        let known = state.table.get(seat).ok_or(true)?;
        if known.epoch != epoch {
            return Err(true);
        }
        if state.waiters >= self.max_waiting {
            return Err(false);
        }
        state.waiters += 1;
        if let Some(counter) = state.table.get(seat) {
            counter.pins += 1;
        }
        let waiting = state.waiting.entry(seat).or_insert_with(|| Waiting { notify: Arc::default(), count: 0 });
        waiting.count += 1;
        Ok(Place { counters: self, seat, notify: waiting.notify.clone() })
    }
}

/// A waiter's place; leaving it, however that comes, frees it.
struct Place<'c> {
    counters: &'c MemoryCounters,
    seat: u32,
    notify: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.counters.state.lock();
        state.waiters -= 1;
        if let Some(counter) = state.table.get(self.seat) {
            counter.pins = counter.pins.saturating_sub(1);
        }
        if let Some(waiting) = state.waiting.get_mut(&self.seat) {
            waiting.count -= 1;
            if waiting.count == 0 {
                state.waiting.remove(&self.seat);
            }
        }
    }
}

#[async_trait]
impl Counters for MemoryCounters {
    async fn admit(&self, hold: Arc<Hold>, terms: Terms) -> Result<Verdict, CountersError> {
        self.state().admit(&hold, terms)
    }

    async fn wait_for_room(&self, counter: &CounterKey, epoch: u64, patience: Duration) -> bool {
        let place = match self.register(counter, epoch) {
            Ok(place) => place,
            Err(answer) => return answer,
        };
        // Made before the epoch is looked at again: a release in between is seen by one of the two.
        let notified = place.notify.notified();
        let moved = self.state.lock().table.get(place.seat).is_none_or(|counter| counter.epoch != epoch);
        moved || tokio::time::timeout(patience, notified).await.is_ok()
    }

    async fn start(&self, hold: &Arc<Hold>, gateway: IpAddr, progress: Progress) -> Result<HoldState, CountersError> {
        Ok(self.state().start(hold, gateway, progress))
    }

    async fn renew(&self, running: &[(Arc<Hold>, Progress)]) -> Result<(), CountersError> {
        self.state().renew(running);
        Ok(())
    }

    async fn settle(
        &self,
        hold: &Arc<Hold>,
        tokens: Amount,
        record: Record,
        forgotten: bool,
    ) -> Result<Settled, CountersError> {
        let (settled, ended) = self.state().settle(hold, tokens, record, forgotten);
        drop(ended);
        Ok(settled)
    }

    async fn release(&self, hold: HoldId) -> Result<HoldState, CountersError> {
        let (found, ended) = self.state().release(hold);
        drop(ended);
        Ok(found)
    }

    async fn load(&self, missing: &Unseeded, books: &dyn Books) -> Result<bool, CountersError> {
        let Some(account) = missing.account() else { return Ok(false) };
        let spent = books.spent(&account).await?;
        Ok(self.state().seed(&missing.counter, missing.generation, spent))
    }

    async fn adjust(&self, record: Record) -> Result<(), CountersError> {
        self.state().book(record);
        Ok(())
    }

    async fn read(&self, counter: &CounterKey) -> Result<Option<(Amount, Amount)>, CountersError> {
        let mut state = self.state();
        let now = state.now;
        let absent = (counter.kind != Kind::Spend).then_some((0, 0));
        Ok(state.table.lookup(counter).map_or(absent, |counter| counter.standing(now)))
    }

    async fn budgets(&self) -> Result<Vec<(Account, Money)>, CountersError> {
        let state = self.state();
        let budgets = state.table.counters().filter_map(|counter| {
            let Body::Budget(budget) = &counter.body else { return None };
            let period = match &counter.key.window {
                Window::Period(period) => period.clone(),
                Window::Minute | Window::InFlight => Period::total(),
            };
            Some((Account { scope: counter.key.scope.clone(), period }, budget.spent))
        });
        Ok(budgets.collect())
    }

    async fn holds(&self) -> Result<(u64, u64), CountersError> {
        let (held, started) = self.state().holds.count();
        Ok((held as u64, started as u64))
    }

    async fn sweep(&self) {
        MemoryCounters::sweep(self, self.clock.now());
    }

    fn soft_events(&self) -> Vec<SoftLimitPassed> {
        std::mem::take(&mut self.state().soft_events).into()
    }

    async fn meter_is_dead(&self, gateway: IpAddr, now: Timestamp) -> Result<bool, CountersError> {
        let mut state = self.state.lock();
        state.advance(now);
        Ok(state.meters.is_dead(gateway))
    }
}

#[cfg(test)]
mod tests;
