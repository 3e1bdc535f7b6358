use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::Secret;

/// Where rate limits, in-flight leases and spend are counted.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Counters {
    /// `memory://`: in this process; a second process on the same directory refuses to start.
    #[schemars(extend("default" = "memory://"))]
    pub url: Secret,
    /// Holds that may be open at once; past it admissions answer 503.
    pub max_holds: usize,
}

impl Default for Counters {
    fn default() -> Self {
        Counters { url: Secret::new("memory://"), max_holds: 1_000_000 }
    }
}
