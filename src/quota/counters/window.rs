//! A strict sliding minute. Charges are summed in buckets of 5 s, and a bucket leaves 60 s after its *last* charge: no
//! interval of 60 s ever holds more than was allowed, a burst of the whole limit passes, and the time to wait is exact.

use std::time::Duration;

use smallvec::SmallVec;

use crate::domain::{Amount, Timestamp};

const WINDOW: i64 = 60_000;
const BUCKET: i64 = 5_000;

/// What was charged in the last 60 s. At most 13 buckets are live at once; they are kept in the order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlidingWindow {
    sum: Amount,
    held: Amount,
    buckets: SmallVec<[Bucket; 2]>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Which 5 s since 1970.
    number: i64,
    /// Time of the last charge, in milliseconds.
    last: i64,
    /// All that was charged, and the part of it that is only held and may come back.
    sum: Amount,
    held: Amount,
}

impl Bucket {
    fn leaves_at(&self) -> i64 {
        self.last.saturating_add(WINDOW)
    }
}

impl SlidingWindow {
    /// Drops what has left by `now`. Call it before any question; time never goes back.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let gone = self.buckets.iter().take_while(|bucket| bucket.leaves_at() <= now.as_millis()).count();
        if gone > 0 {
            for bucket in self.buckets.drain(..gone) {
                self.sum = self.sum.saturating_sub(bucket.sum);
                self.held = self.held.saturating_sub(bucket.held);
            }
        }
    }

    /// Spent, then held.
    pub(crate) fn standing(&self) -> (Amount, Amount) {
        (self.sum.saturating_sub(self.held), self.held)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Charges `amount` now; `held` where a settlement will say how much of it stays.
    pub(crate) fn charge(&mut self, now: Timestamp, amount: Amount, held: bool) {
        if amount <= 0 {
            return;
        }
        let (now, number) = (now.as_millis(), now.as_millis().div_euclid(BUCKET));
        if self.buckets.last().is_none_or(|bucket| bucket.number != number) {
            self.buckets.push(Bucket { number, last: now, sum: 0, held: 0 });
        }
        if let Some(bucket) = self.buckets.last_mut() {
            bucket.last = now;
            bucket.sum = bucket.sum.saturating_add(amount);
            self.sum = self.sum.saturating_add(amount);
            if held {
                bucket.held = bucket.held.saturating_add(amount);
                self.held = self.held.saturating_add(amount);
            }
        }
    }

    /// Replaces `amount`, held at `charged_at`, by what was really used: a surplus returns to its own bucket if that is
    /// still live, an excess is charged now.
    pub(crate) fn settle(&mut self, now: Timestamp, charged_at: Timestamp, amount: Amount, used: Amount) {
        let used = used.max(0);
        self.take_back(charged_at, amount.saturating_sub(used).max(0), amount);
        self.charge(now, used.saturating_sub(amount), false);
    }

    /// Gives back a charge that was never held (a request that did not take place).
    pub(crate) fn give_back(&mut self, charged_at: Timestamp, amount: Amount) {
        self.take_back(charged_at, amount, 0);
    }

    fn take_back(&mut self, charged_at: Timestamp, surplus: Amount, held: Amount) {
        let number = charged_at.as_millis().div_euclid(BUCKET);
        let Some(at) = self.buckets.iter().position(|bucket| bucket.number == number) else { return };
        let bucket = &mut self.buckets[at];
        bucket.sum = bucket.sum.saturating_sub(surplus);
        bucket.held = bucket.held.saturating_sub(held);
        self.sum = self.sum.saturating_sub(surplus);
        self.held = self.held.saturating_sub(held);
        if bucket.sum == 0 {
            self.buckets.remove(at);
        }
    }

    /// How long until `amount` fits under `limit` if nothing else is charged; `None` where it never does.
    pub(crate) fn wait(&self, now: Timestamp, amount: Amount, limit: Amount) -> Option<Duration> {
        if amount > limit {
            return None;
        }
        let mut sum = self.sum;
        let mut fits_at = now.as_millis();
        for bucket in &self.buckets {
            if sum.saturating_add(amount) <= limit {
                break;
            }
            sum = sum.saturating_sub(bucket.sum);
            fits_at = bucket.leaves_at();
        }
        Some(Timestamp::millis(fits_at).since(now))
    }

    /// How long until the window is empty if nothing else is charged.
    pub(crate) fn reset(&self, now: Timestamp) -> Duration {
        self.buckets.last().map_or(Duration::ZERO, |bucket| Timestamp::millis(bucket.leaves_at()).since(now))
    }
}

#[cfg(test)]
mod tests;
