//! How often a provider is asked: after failures, and for names that nobody knows.

/// Some at once, and one more each interval.
#[derive(Debug)]
pub(super) struct Bucket {
    capacity: u64,
    interval_millis: u64,
    /// When it would be full again, had nothing been taken since.
    full_at: u64,
}

impl Bucket {
    pub(super) fn new(capacity: u64, interval_millis: u64) -> Self {
        Bucket { capacity, interval_millis, full_at: 0 }
    }

    /// Takes one, where there is one.
    pub(super) fn take(&mut self, now: u64) -> bool {
        let full_at = self.full_at.max(now) + self.interval_millis;
        let fits = full_at - now <= self.capacity * self.interval_millis;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// The pause after so many failures in a row: a second, doubling up to 30.
pub(super) fn pause_millis(failures: u32) -> u64 {
    (1_000 << failures.saturating_sub(1).min(5)).min(30_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_capacity_at_once_and_then_one_each_interval() {
        let mut bucket = Bucket::new(2, 5_000);
        let taken: Vec<u64> = (100_000..120_000).filter(|now| bucket.take(*now)).collect();
        assert_eq!(taken, [100_000, 100_001, 105_000, 110_000, 115_000]);
        assert!(bucket.take(1_000_000) && bucket.take(1_000_000) && !bucket.take(1_000_000), "it never holds more");
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses = [1, 2, 3, 4, 5, 6, 7, 60, 64, 70].map(pause_millis);
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
    }
}
