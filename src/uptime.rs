//! Time that nobody sets: what ages by it (caches, breakers, pauses) needs milliseconds, several times a request.

use std::sync::Arc;

/// Milliseconds that only go forward. Tests turn their own.
pub type Uptime = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The time since this call, as of the kernel's last tick (1 to 10 ms apart). A clock that is exact costs four times as much,
/// and is to be had where a duration of less than that counts.
#[must_use]
pub fn uptime() -> Uptime {
    let start = millis();
    Arc::new(move || millis().saturating_sub(start))
}

#[cfg(target_os = "linux")]
fn millis() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Neither is negative: the kernel counts from its start.
    let (seconds, nanos) = (u64::try_from(time.tv_sec).unwrap_or(0), u64::try_from(time.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000).saturating_add(nanos / 1_000_000)
}

#[cfg(not(target_os = "linux"))]
fn millis() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    /// A tick of the slowest kernel, and what rounding to milliseconds adds.
    const TICK: u128 = 11;

    #[test]
    fn it_begins_at_nought_goes_on_and_is_never_ahead_of_the_exact_clock() {
        let (exact, uptime) = (Instant::now(), super::uptime());
        let mut last = 0;
        while last < 100 {
            let now = uptime();
            let most = exact.elapsed().as_millis() + TICK;
            assert!(last <= now && u128::from(now) <= most, "{last} {now} {most}");
            last = now;
        }
    }
}
