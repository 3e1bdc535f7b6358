mod loading;
mod replicas;

use std::sync::atomic::{AtomicU64, Ordering};

use super::super::suite::counters_suite;
use super::super::suite::world::*;
use super::super::{Refusal, Settled};
use super::*;
use crate::domain::Kind;
use crate::real::redis::{Cluster, Redis, Sentinels};

/// Long, since a busy machine must not fail a test of behaviour.
const UNHURRIED: Duration = Duration::from_secs(10);

fn settings(url: String) -> RedisSettings {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    RedisSettings {
        url: Secret::new(url),
        prefix: format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        shards: 8,
        timeout: UNHURRIED,
        on_failure: OnCounterFailure::default(),
        max_holds: 300,
        max_waiting: 4,
    }
}

fn world_at(url: String) -> World {
    world_of(&settings(url)).1
}

fn world_of(settings: &RedisSettings) -> (Arc<RedisCounters>, World) {
    let (clock, books) = (Arc::new(TestClock::new()), Arc::new(TestBooks::default()));
    let counters = Arc::new(RedisCounters::with_clock(books.clone(), settings, Some(clock.clone())).unwrap());
    let world =
        World { counters: counters.clone(), clock, books, max_holds: 300, max_waiting: 4, journals: false, cases: 48 };
    (counters, world)
}

mod single {
    use super::counters_suite;

    fn world() -> super::World {
        super::world_at(super::Redis::shared().url())
    }

    counters_suite!(world);
}

mod sentinel {
    use super::counters_suite;

    fn world() -> super::World {
        super::world_at(super::Sentinels::shared().url())
    }

    counters_suite!(world);
}

mod cluster {
    use super::counters_suite;

    fn world() -> super::World {
        super::world_at(super::Cluster::shared().url())
    }

    counters_suite!(world);
}
