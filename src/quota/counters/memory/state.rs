//! All that stands behind the lock: counters, holds and meters, and how a hold ends. Time passes at the start of every
//! call, and what has expired by then ends first.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Notify;

use super::super::{Books, HoldState, Settled, SoftLimitPassed};
use super::MemorySettings;
use super::admission::amount_of;
use super::holds::{Ended, Holds, Open};
use super::meters::Meters;
use super::table::{Body, Budget, Counter, Table};
use crate::domain::{
    Account, Amount, CounterKey, Hold, HoldId, Kind, Money, Progress, Record, RecordStatus, Timestamp, Window,
};

/// Events that wait to be fetched; the oldest makes room for the newest.
const MAX_SOFT_EVENTS: usize = 4_096;
/// Holds that end by themselves within one call; the rest ends in the next.
const EXPIRED_A_CALL: usize = 64;

pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) table: Table,
    pub(super) holds: Holds,
    pub(super) meters: Meters,
    pub(super) max_holds: usize,
    pub(super) max_counters: usize,
    /// Those who wait for room, by seat.
    pub(super) waiting: HashMap<u32, Waiting, ahash::RandomState>,
    pub(super) waiters: usize,
    pub(super) soft_events: VecDeque<SoftLimitPassed>,
    books: Arc<dyn Books>,
}

pub(super) struct Waiting {
    pub(super) notify: Arc<Notify>,
    pub(super) count: usize,
}

/// What becomes of the tokens of a hold that ends. In-flight slots and held money are always freed.
#[derive(Clone, Copy)]
enum End {
    /// The request did not take place: everything returns, the request count too.
    GivenBack,
    /// This many were used.
    Used(Amount),
    /// All that was held counts as used.
    AsHeld,
}

impl State {
    pub(super) fn new(books: Arc<dyn Books>, settings: MemorySettings) -> Self {
        State {
            now: Timestamp::millis(i64::MIN),
            table: Table::default(),
            holds: Holds::new(settings.max_ended),
            meters: Meters::default(),
            max_holds: settings.max_holds,
            max_counters: settings.max_counters,
            waiting: HashMap::default(),
            waiters: 0,
            soft_events: VecDeque::new(),
            books,
        }
    }

    /// Lets time pass, never back, and ends what is overdue. Whether more may be overdue.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        self.now = self.now.max(now);
        for _ in 0..EXPIRED_A_CALL {
            match self.holds.next_overdue(self.now) {
                Some(open) => self.expire(&open),
                None => return self.holds.forget(self.now, EXPIRED_A_CALL),
            }
        }
        true
    }

    /// Ends this hold if it is overdue, though others may be before it.
    fn lapse(&mut self, id: HoldId) {
        if let Some(open) = self.holds.overdue(id, self.now) {
            self.expire(&open);
        }
    }

    pub(super) fn start(&mut self, hold: &Hold, gateway: IpAddr, progress: Progress) -> HoldState {
        self.lapse(hold.id);
        let found = self.holds.state(hold.id);
        self.meters.started(gateway, self.now);
        self.run(hold.id, progress);
        found
    }

    pub(super) fn renew(&mut self, running: &[(Arc<Hold>, Progress)]) {
        let mut known = Vec::with_capacity(running.len());
        for (hold, progress) in running {
            let id = &hold.id;
            self.lapse(*id);
            let Some(open) = self.holds.open(*id) else { continue };
            // A running request whose start was lost has started all the same.
            let unheard_of = open.progress.is_none().then_some(open.gateway);
            if let Some(gateway) = unheard_of {
                self.meters.started(gateway, self.now);
            }
            self.run(*id, *progress);
            known.extend(self.holds.open(*id).and_then(|open| Some((*id, open.progress?))));
        }
        if !known.is_empty() {
            self.books.progressed(&known);
        }
    }

    fn run(&mut self, id: HoldId, progress: Progress) {
        if let Some(hold) = self.holds.run(id, progress, self.now) {
            self.books.started(&hold, progress);
        }
    }

    /// The state found, and the hold where this released it (to be dropped outside the lock).
    pub(super) fn release(&mut self, id: HoldId) -> (HoldState, Option<Open>) {
        self.lapse(id);
        let found = self.holds.state(id);
        if found != HoldState::Held {
            return (found, None);
        }
        let open = self.holds.remove(id);
        if let Some(open) = &open {
            self.close(open, End::GivenBack);
            self.holds.remember(id, Ended { state: HoldState::Released, booked: None }, self.now);
        }
        (found, open)
    }

    /// What was done, and the hold where this ended it (to be dropped outside the lock).
    pub(super) fn settle(
        &mut self,
        hold: &Hold,
        tokens: Amount,
        mut record: Record,
        forgotten: bool,
    ) -> (Settled, Option<Open>) {
        self.lapse(hold.id);
        record.id = hold.id;
        record.sequence = 0;
        let open = self.holds.remove(hold.id);
        let settled = match (&open, self.holds.ended(hold.id)) {
            (Some(open), _) => {
                self.close(open, End::Used(tokens));
                Settled::Applied
            }
            (None, Some(Ended { state: HoldState::Settled, .. })) => return (Settled::Duplicate, None),
            (None, Some(Ended { booked: Some((before, counted)), .. })) => {
                record.sequence = 1;
                record.cost -= before.cost;
                record.usage.input_tokens = record.usage.input_tokens.saturating_sub(before.input_tokens);
                record.usage.output_tokens = record.usage.output_tokens.saturating_sub(before.output_tokens);
                self.charge_late(hold, |held| tokens.saturating_sub(counted.unwrap_or(held)), false);
                Settled::Corrected
            }
            // Given back as if it had not taken place; it did.
            (None, Some(Ended { booked: None, .. })) => {
                self.charge_late(hold, |_| tokens, true);
                Settled::Applied
            }
            (None, None) if forgotten => {
                self.charge_late(hold, |held| tokens.saturating_sub(held), false);
                Settled::Applied
            }
            (None, None) => return (Settled::Forgotten, None),
        };
        self.holds.remember(hold.id, Ended { state: HoldState::Settled, booked: None }, self.now);
        self.book(record);
        (settled, open)
    }

    /// Sets a missing budget; `false` where something was settled on it since `generation`.
    pub(super) fn seed(&mut self, key: &CounterKey, generation: u64, spent: Money) -> bool {
        let now = self.now;
        let Some(counter) = self.table.lookup(key) else { return false };
        match counter.body {
            Body::Unseeded { generation: current, .. } if current == generation => {
                counter.body = Body::Budget(Budget {
                    spent,
                    held: Money::ZERO,
                    soft_limit: None,
                    soft_limit_passed: false,
                    touched: now,
                });
                true
            }
            Body::Unseeded { .. } => false,
            // Another caller was quicker; what it set has counted every settlement since.
            _ => true,
        }
    }

    /// Adds a record to the counters of its accounts and books it, in one step.
    pub(super) fn book(&mut self, record: Record) {
        for account in &record.accounts {
            self.spend(account, record.cost);
        }
        self.books.book(record);
    }

    fn spend(&mut self, account: &Account, cost: Money) {
        let key = CounterKey {
            scope: account.scope.clone(),
            kind: Kind::Spend,
            window: Window::Period(account.period.clone()),
        };
        let Some(seat) = self.table.find(&key) else { return };
        let (now, serial) = (self.now, self.table.next_serial());
        let Some(counter) = self.table.get(seat) else { return };
        match &mut counter.body {
            Body::Budget(budget) => {
                budget.spent += cost;
                budget.touched = now;
                if budget.passes_soft_limit() {
                    let soft_limit = budget.soft_limit.unwrap_or_default();
                    let event = SoftLimitPassed { counter: key, soft_limit, spent: budget.spent };
                    if self.soft_events.len() >= MAX_SOFT_EVENTS {
                        self.soft_events.pop_front();
                    }
                    self.soft_events.push_back(event);
                }
            }
            // Whoever loads this budget now may or may not see the record: it must load again.
            Body::Unseeded { generation, .. } => *generation = serial,
            _ => {}
        }
        if cost < Money::ZERO {
            counter.epoch = serial;
            self.wake(seat);
        }
    }

    /// A hold ends because its time is over.
    fn expire(&mut self, open: &Open) {
        let id = open.hold.id;
        let booked = match open.progress {
            Some(progress) => {
                let tokens = Amount::try_from(progress.input_tokens.saturating_add(progress.output_tokens));
                let tokens = tokens.unwrap_or(Amount::MAX);
                self.close(open, End::Used(tokens));
                self.book(open.hold.estimated(RecordStatus::Unsettled, progress, self.now));
                Some((progress, Some(tokens)))
            }
            None if self.meters.missed_start(open.gateway, open.deadline, self.now) => {
                self.close(open, End::GivenBack);
                None
            }
            None => {
                let (input_tokens, output_tokens) = (open.hold.input_tokens, open.hold.output_tokens);
                let progress = Progress { input_tokens, output_tokens, cost: open.hold.estimate };
                self.close(open, End::AsHeld);
                self.book(open.hold.estimated(RecordStatus::Unmetered, progress, self.now));
                Some((progress, None))
            }
        };
        self.holds.remember(id, Ended { state: HoldState::Expired, booked }, self.now);
    }

    /// Takes what a hold has reserved off its counters, and wakes those who wait for it.
    fn close(&mut self, open: &Open, end: End) {
        let (now, serial) = (self.now, self.table.next_serial());
        let binding = &*open.hold.binding;
        for (at, charge) in open.hold.charges().enumerate().filter(|(at, _)| !binding.is_repeated(*at)) {
            // It is pinned: it still has its seat.
            let Some(seat) = self.seated(binding, at) else { continue };
            let Some(counter) = self.table.get(seat) else { continue };
            counter.pins = counter.pins.saturating_sub(1);
            counter.epoch = serial;
            let amount = amount_of(charge);
            match (&mut counter.body, end) {
                (Body::Requests(window), End::GivenBack) => {
                    window.advance(now);
                    window.give_back(open.charged_at, amount);
                }
                (Body::Requests(_), _) => {}
                (Body::Tokens(window), end) => {
                    window.advance(now);
                    let used = match end {
                        End::GivenBack => 0,
                        End::Used(tokens) => tokens,
                        End::AsHeld => amount,
                    };
                    window.settle(now, open.charged_at, amount, used);
                }
                (Body::InFlight(held), _) => *held = held.saturating_sub(amount),
                (Body::Budget(budget), _) => budget.held -= Money::nanos(amount),
                (Body::Unseeded { .. }, _) => {}
            }
            self.wake(seat);
        }
    }

    /// Charges windows for a request that was settled after its hold had ended: `tokens` of what was held, and the
    /// request itself where that was given back.
    fn charge_late(&mut self, hold: &Hold, tokens: impl Fn(Amount) -> Amount, request: bool) {
        let now = self.now;
        for (at, charge) in hold.charges().enumerate() {
            let amount = match charge.counter.kind {
                Kind::Tokens => tokens(amount_of(charge)),
                Kind::Requests if request => amount_of(charge),
                _ => 0,
            };
            if amount <= 0 || hold.binding.is_repeated(at) {
                continue;
            }
            let seat = self.seat(&hold.binding, at);
            if let Some(Counter { body: Body::Requests(window) | Body::Tokens(window), .. }) = self.table.get(seat) {
                window.advance(now);
                window.charge(now, amount, false);
            }
        }
    }

    /// Wakes those who wait for room on this seat, whose epoch has moved on.
    fn wake(&self, seat: u32) {
        if !self.waiting.is_empty()
            && let Some(waiting) = self.waiting.get(&seat)
        {
            waiting.notify.notify_waiters();
        }
    }
}
