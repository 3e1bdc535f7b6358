//! What shards say to an admission, and what is told of it where they differ.

use std::time::Duration;

use super::super::{CountersError, Refusal, Remaining, Unseeded, Verdict};
use super::message::{Malformed, join};
use super::places::Part;
use super::turns::Answer;
use crate::domain::{Amount, Hold, Timestamp, Window};

pub(super) const NOTHING_LEFT: Remaining = Remaining { remaining: 0, reset: Duration::ZERO, soft_limit_passed: false };

fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or_default())
}

/// What one shard says to an admission.
pub(super) enum Said {
    Admitted,
    Not(Verdict),
    /// It does not know the binding.
    Unknown,
}

/// Reads it; where it admits, also what is left then.
pub(super) fn said(
    hold: &Hold,
    part: &Part,
    answer: Answer,
    remaining: &mut [Remaining],
) -> Result<Result<Said, CountersError>, Malformed> {
    let Answer { now, mut said } = answer;
    // What its lines stand at has no list around it.
    let length = if said.is_list() { said.list()? } else { 0 };
    let limit_at = |line: i64| {
        let line = usize::try_from(line).map_err(|_| Malformed)?;
        part.limits.get(line).copied().ok_or(Malformed)
    };
    Ok(Ok(Said::Not(match said.int()? {
        0 => {
            for at in &part.limits {
                let Some(charge) = hold.charge(*at) else { return Err(Malformed) };
                let (used, reset, soft_limit_passed) = match &charge.counter.window {
                    Window::Period(period) => {
                        let (hi, lo, held) = (said.int()?, said.int()?, said.int()?);
                        // A budget that left meanwhile tells nothing of what is left.
                        let used = if lo < 0 { Amount::MAX } else { join(hi, lo).saturating_add(held) };
                        (used, period.end.since(Timestamp::millis(now)), said.int()? == 1)
                    }
                    Window::Minute | Window::InFlight => (said.int()?, millis(said.int()?), false),
                };
                let left = charge.limit.saturating_sub(used).max(0);
                if let Some(slot) = remaining.get_mut(*at) {
                    *slot = Remaining { remaining: left, reset, soft_limit_passed };
                }
            }
            return Ok(Ok(Said::Admitted));
        }
        1 => {
            let charge = limit_at(said.int()?)?;
            let (spent, held) = (join(said.int()?, said.int()?), said.int()?);
            let (retry_after, never) = (millis(said.int()?), said.bool()?);
            Verdict::Refused(Refusal {
                charge,
                spent,
                held,
                retry_after,
                never,
                may_be_released: said.bool()?,
                epoch: said.count()?,
            })
        }
        2 => {
            let mut missing = Vec::with_capacity(length / 2);
            for _ in 0..length / 2 {
                let (at, generation) = (limit_at(said.int()?)?, said.count()?);
                let Some(charge) = hold.charge(at) else { return Err(Malformed) };
                missing.push(Unseeded { counter: charge.counter.clone(), generation });
            }
            Verdict::Unseeded(missing)
        }
        3 => Verdict::WrongPeriod { now: Timestamp::millis(now) },
        4 => Verdict::MeterDead { retry_after: millis(said.int()?) },
        6 => return Ok(Ok(Said::Unknown)),
        7 => return Ok(Ok(Said::Admitted)),
        5 => return Ok(Err(CountersError::Full(usize::try_from(said.int()?).unwrap_or(usize::MAX)))),
        _ => return Err(Malformed),
    })))
}

/// Of what two shards have against an admission, what is to be told.
pub(super) fn heavier(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Unseeded(mut one), Verdict::Unseeded(other)) => {
            one.extend(other);
            Verdict::Unseeded(one)
        }
        (Verdict::Refused(one), Verdict::Refused(other)) => {
            let may_be_released = one.may_be_released && other.may_be_released;
            let rank = |refusal: &Refusal| (refusal.never, refusal.retry_after);
            let (one_first, same) = (one.charge < other.charge, rank(&one) == rank(&other));
            let longer = if rank(&other) > rank(&one) || (same && !one_first) { other } else { one };
            Verdict::Refused(Refusal { may_be_released, ..longer })
        }
        (wrong @ Verdict::WrongPeriod { .. }, _) | (_, wrong @ Verdict::WrongPeriod { .. }) => wrong,
        (dead @ Verdict::MeterDead { .. }, _) | (_, dead @ Verdict::MeterDead { .. }) => dead,
        (unseeded @ Verdict::Unseeded(_), _) | (_, unseeded @ Verdict::Unseeded(_)) => unseeded,
        (one, _) => one,
    }
}
