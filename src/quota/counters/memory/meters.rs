//! Which gateways have a living meter. A hold that expires unstarted on a gateway where no request started for 30 s
//! tells that its meter is dead; the next start there tells that it lives again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::domain::Timestamp;

/// A start tells that the meter is alive for this long.
const ALIVE_FOR: Duration = Duration::from_secs(30);
/// While a meter is dead one request in this time is let through to see whether it lives again.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// A gateway that was silent this long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);
/// Gateways that are remembered at most; the meter of one beyond them is never seen alive.
const MAX_GATEWAYS: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Meters {
    gateways: HashMap<IpAddr, Meter, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Meter {
    last_start: Option<Timestamp>,
    last_probe: Option<Timestamp>,
    touched: Timestamp,
    dead: bool,
}

impl Meters {
    pub(super) fn started(&mut self, gateway: IpAddr, now: Timestamp) {
        if let Some(meter) = self.meter(gateway, now) {
            meter.last_start = Some(now);
            meter.last_probe = None;
            meter.dead = false;
        }
    }

    /// A hold of this gateway was due to start by `deadline` and did not. Whether the meter was alive; if not, it is
    /// dead from now on.
    pub(super) fn missed_start(&mut self, gateway: IpAddr, deadline: Timestamp, now: Timestamp) -> bool {
        let Some(meter) = self.meter(gateway, now) else { return false };
        let alive = meter.last_start.is_some_and(|start| start.plus(ALIVE_FOR) >= deadline);
        meter.dead |= !alive;
        alive
    }

    pub(super) fn is_dead(&self, gateway: IpAddr) -> bool {
        self.gateways.get(&gateway).is_some_and(|meter| meter.dead)
    }

    /// How long until the next probe, where the meter is dead and a probe is under way.
    pub(super) fn refuses(&self, gateway: IpAddr, now: Timestamp) -> Option<Duration> {
        let meter = self.gateways.get(&gateway).filter(|meter| meter.dead)?;
        let next = meter.last_probe?.plus(PROBE_EVERY);
        (now < next).then(|| next.since(now))
    }

    /// A request was let through though the meter is dead.
    pub(super) fn probed(&mut self, gateway: IpAddr, now: Timestamp) {
        if let Some(meter) = self.gateways.get_mut(&gateway).filter(|meter| meter.dead) {
            meter.last_probe = Some(now);
            meter.touched = now;
        }
    }

    pub(super) fn forget_silent(&mut self, now: Timestamp) {
        self.gateways.retain(|_, meter| now.since(meter.touched) < FORGET_AFTER);
    }

    fn meter(&mut self, gateway: IpAddr, now: Timestamp) -> Option<&mut Meter> {
        if self.gateways.len() >= MAX_GATEWAYS && !self.gateways.contains_key(&gateway) {
            return None;
        }
        let meter = self.gateways.entry(gateway).or_default();
        meter.touched = now;
        Some(meter)
    }
}
