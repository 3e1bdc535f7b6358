use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::Secret;

/// The URL of counters in this process.
const IN_MEMORY: &str = "memory://";

/// Where rate limits, in-flight leases and spend are counted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// `memory://`: in this process; a second process on the same directory refuses to start. For several replicas Redis
    /// or Valkey, 7.0 or later: `redis://HOST`, `redis+sentinel://HOST:PORT,HOST:PORT/MASTER`,
    /// `redis+cluster://HOST:PORT,HOST:PORT`, each with a second `s` (`rediss…`) for TLS. The environment variable
    /// `REDIS_URL` stands where this is absent, and `memory://` where both are.
    pub url: Option<Secret>,
    /// What every key in Redis begins with. Replicas that share it count together.
    pub prefix: String,
    /// Hash tags over which a Redis Cluster spreads the counters; the same on all replicas.
    pub shards: u32,
    /// Milliseconds a call to Redis may take; after that `quota.on_counter_failure` says what happens.
    pub timeout_ms: u64,
    /// Starts though Redis may throw keys away (`maxmemory-policy` is not `noeviction`): limits are then not kept.
    pub allow_eviction: bool,
    /// Holds that may be open at once; past it admissions answer 503.
    pub max_holds: usize,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            url: None,
            prefix: "tollward".to_owned(),
            shards: 64,
            timeout_ms: 50,
            allow_eviction: false,
            max_holds: 1_000_000,
        }
    }
}

impl Counters {
    /// The URL in force: as configured, else of the environment, else `memory://`.
    #[must_use]
    pub fn url(&self) -> Secret {
        let environment = || std::env::var("REDIS_URL").ok().filter(|url| !url.is_empty()).map(Secret::new);
        self.url.clone().or_else(environment).unwrap_or_else(|| Secret::new(IN_MEMORY))
    }

    /// Whether each process counts for itself.
    #[must_use]
    pub fn in_memory(&self) -> bool {
        self.url().expose() == IN_MEMORY
    }
}
