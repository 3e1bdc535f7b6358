//! Judging an admission: every limit is asked before any is charged.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::super::{CountersError, HoldState, Refusal, Remaining, Terms, Unseeded, Verdict};
use super::holds::{Open, UNTIL_START};
use super::state::State;
use super::table::{Body, Counter};
use crate::domain::{Amount, Charge, Hold, Kind, Limit, Money, Period, Timestamp};

/// What a caller is told to wait where only requests in flight are in the way, and nobody knows when they end.
const WHILE_IN_FLIGHT: Duration = Duration::from_secs(1);

/// What a charge takes; a negative amount takes nothing.
pub(super) fn amount_of(charge: Charge<'_>) -> Amount {
    charge.amount.max(0)
}

impl State {
    pub(super) fn admit(&mut self, hold: &Arc<Hold>, terms: Terms) -> Result<Verdict, CountersError> {
        if self.holds.state(hold.id) != HoldState::Absent {
            return Ok(Verdict::Admitted { remaining: self.remaining_again(hold) });
        }
        let now = self.now;
        let (held, started) = self.holds.count();
        if held + started >= self.max_holds {
            return Err(CountersError::Full(held + started));
        }
        if self.table.len() >= self.max_counters {
            return Err(CountersError::Unavailable(format!("{} counters are in use", self.table.len())));
        }
        let binding = &*hold.binding;
        let mut periods = binding.limits().iter().filter_map(|limit| Counter::period(&limit.counter));
        if periods.any(|period| !period.contains(now)) {
            return Ok(Verdict::WrongPeriod { now });
        }
        let metered = |limit: &Limit| matches!(limit.counter.kind, Kind::Tokens | Kind::Spend);
        let needs_meter = terms.meter_required && binding.limits().iter().any(metered);
        if needs_meter && let Some(retry_after) = self.meters.refuses(terms.gateway, now) {
            return Ok(Verdict::MeterDead { retry_after });
        }

        let mut looked: SmallVec<[(u32, Amount); 12]> = SmallVec::new();
        let mut unseeded = Vec::new();
        let mut refusals = Refusals { longest: None, may_be_released: true };
        for (at, charge) in hold.charges().enumerate() {
            let seat = self.seat(binding, at);
            let mut used = 0;
            if let Some(counter) = self.table.get(seat) {
                if let Body::Unseeded { generation, .. } = counter.body {
                    if !binding.is_repeated(at) {
                        unseeded.push(Unseeded { counter: charge.counter.clone(), generation });
                    }
                } else {
                    match admits(counter, at, charge, now) {
                        Ok(standing) => used = standing,
                        Err(refusal) => refusals.push(refusal),
                    }
                }
            }
            looked.push((seat, used));
        }
        if !unseeded.is_empty() {
            return Ok(Verdict::Unseeded(unseeded));
        }
        if let Some(refusal) = refusals.finish() {
            return Ok(Verdict::Refused(refusal));
        }

        let mut remaining = Vec::with_capacity(looked.len());
        for (at, (charge, (seat, used))) in hold.charges().zip(looked).enumerate() {
            // A counter that two limits name is charged once.
            let left = if binding.is_repeated(at) {
                self.remaining(charge, Some(seat))
            } else {
                self.charge(charge, seat, used)
            };
            remaining.push(left);
        }
        let deadline = now.plus(UNTIL_START);
        let hold = hold.clone();
        self.holds.insert(Open { hold, gateway: terms.gateway, charged_at: now, deadline, progress: None });
        if needs_meter {
            self.meters.probed(terms.gateway, now);
        }
        Ok(Verdict::Admitted { remaining })
    }

    /// Charges one counter, of which so much was used before. What is left of its limit.
    fn charge(&mut self, charge: Charge<'_>, seat: u32, used: Amount) -> Remaining {
        let now = self.now;
        let amount = amount_of(charge);
        let remaining = charge.limit.saturating_sub(used.saturating_add(amount)).max(0);
        let mut left = Remaining { remaining, reset: Duration::ZERO, soft_limit_passed: false };
        let Some(counter) = self.table.get(seat) else { return left };
        counter.pins += 1;
        match &mut counter.body {
            Body::Requests(window) => {
                window.charge(now, amount, false);
                left.reset = window.reset(now);
            }
            Body::Tokens(window) => {
                window.charge(now, amount, true);
                left.reset = window.reset(now);
            }
            Body::InFlight(held) => *held = held.saturating_add(amount),
            Body::Budget(budget) => {
                budget.held += Money::nanos(amount);
                budget.soft_limit = charge.soft_limit;
                budget.touched = now;
                left.soft_limit_passed = budget.passes_soft_limit();
                left.reset = Counter::period(charge.counter).map(|period| period.end.since(now)).unwrap_or_default();
            }
            Body::Unseeded { .. } => {}
        }
        left
    }

    fn remaining(&mut self, charge: Charge<'_>, seat: Option<u32>) -> Remaining {
        let now = self.now;
        let nothing = Remaining { remaining: 0, reset: Duration::ZERO, soft_limit_passed: false };
        let Some(counter) = seat.and_then(|seat| self.table.get(seat)) else { return nothing };
        let Some((spent, held)) = counter.standing(now) else { return nothing };
        let remaining = charge.limit.saturating_sub(spent.saturating_add(held)).max(0);
        let period_end = Counter::period(&counter.key).map(|period| period.end.since(now));
        let (reset, soft_limit_passed) = match &mut counter.body {
            Body::Requests(window) | Body::Tokens(window) => (window.reset(now), false),
            Body::Budget(budget) => {
                budget.soft_limit = charge.soft_limit.or(budget.soft_limit);
                (period_end.unwrap_or_default(), budget.passes_soft_limit())
            }
            Body::InFlight(_) | Body::Unseeded { .. } => (Duration::ZERO, false),
        };
        Remaining { remaining, reset, soft_limit_passed }
    }

    /// What is left for a hold that was admitted before. A counter that has left since has nothing charged to it; a
    /// budget that is not loaded is told as used up.
    fn remaining_again(&mut self, hold: &Hold) -> Vec<Remaining> {
        let mut remaining = Vec::with_capacity(hold.amounts.len());
        for (at, charge) in hold.charges().enumerate() {
            let seat = self.seated(&hold.binding, at);
            let mut left = self.remaining(charge, seat);
            if seat.is_none() && charge.counter.kind != Kind::Spend {
                left.remaining = charge.limit.max(0);
            }
            remaining.push(left);
        }
        remaining
    }
}

/// The refusal that lasts longest of those there are; the first of those that last equally long.
struct Refusals {
    longest: Option<Refusal>,
    may_be_released: bool,
}

impl Refusals {
    fn push(&mut self, refusal: Refusal) {
        self.may_be_released &= refusal.may_be_released;
        let rank = |refusal: &Refusal| (refusal.never, refusal.retry_after);
        if self.longest.as_ref().is_none_or(|known| rank(&refusal) > rank(known)) {
            self.longest = Some(refusal);
        }
    }

    fn finish(self) -> Option<Refusal> {
        let may_be_released = self.may_be_released;
        self.longest.map(|refusal| Refusal { may_be_released, ..refusal })
    }
}

/// What is used of a limit, spent and held, where `spent + held + amount <= limit`; else what it has against the charge.
fn admits(counter: &mut Counter, at: usize, charge: Charge<'_>, now: Timestamp) -> Result<Amount, Refusal> {
    let Some((spent, held)) = counter.standing(now) else { return Ok(0) };
    let (amount, used) = (amount_of(charge), spent.saturating_add(held));
    if used.saturating_add(amount) <= charge.limit {
        return Ok(used);
    }
    let too_large = amount > charge.limit;
    let only_held = !too_large && spent.saturating_add(amount) <= charge.limit;
    let endless = Counter::period(&counter.key).is_none_or(Period::is_total);
    let (retry_after, never) = match &counter.body {
        Body::Requests(window) | Body::Tokens(window) => {
            (window.wait(now, amount, charge.limit).unwrap_or_default(), too_large)
        }
        Body::Budget(_) if !only_held => {
            let end = Counter::period(&counter.key).filter(|_| !endless).map(|period| period.end.since(now));
            (end.unwrap_or_default(), too_large || endless)
        }
        _ => (WHILE_IN_FLIGHT, too_large),
    };
    let retry_after = if never { Duration::ZERO } else { retry_after };
    let epoch = counter.epoch;
    Err(Refusal { charge: at, spent, held, retry_after, never, may_be_released: only_held, epoch })
}
