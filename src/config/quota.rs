use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How limits and budgets are enforced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// What is held until the true cost is known.
    pub reserve: Reserve,
    /// Writes an output cap into requests that have none (needs the answering ext_proc filter), so that what is held is
    /// a bound and concurrent requests cannot pass a budget.
    pub cap_output: bool,
    /// Output tokens held where neither the request nor the model says how many there may be; against a token limit, a
    /// quarter of it at most.
    pub default_output_tokens: u64,
    /// How the input is bounded when money is held: `bytes` (no tokeniser makes more tokens than bytes: a true bound)
    /// or `estimate` (four bytes a token). Token limits always use the estimate and are corrected at settlement.
    pub input_bound: InputBound,
    /// Tokens held for each image part of a prompt.
    pub image_tokens: u64,
    /// Milliseconds a request that only running requests refuse waits for one of them to end.
    pub release_wait_ms: u64,
    /// Requests that may wait so at once.
    pub max_waiting: usize,
    /// What happens to requests while Redis does not answer.
    pub on_counter_failure: OnCounterFailure,
}

impl Default for Quota {
    fn default() -> Self {
        Quota {
            reserve: Reserve::WorstCase,
            cap_output: false,
            default_output_tokens: 4_096,
            input_bound: InputBound::Bytes,
            image_tokens: 2_048,
            release_wait_ms: 50,
            max_waiting: 1_024,
            on_counter_failure: OnCounterFailure::default(),
        }
    }
}

/// What is held until the true cost is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reserve {
    /// The dearest case the request can reach.
    WorstCase,
    /// Nothing: a request passes while anything is left, as LiteLLM's classic check does.
    None,
}

/// How the input of a request is bounded when money is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputBound {
    Bytes,
    Estimate,
}

/// What happens to requests while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnCounterFailure {
    /// Limits of requests and tokens a minute, and of requests in flight. `local`: each replica counts for itself,
    /// against the limit divided by the replicas last seen; `deny`: 503; `allow`: the limit is not looked at.
    pub rate_limits: RateLimitsWithout,
    /// Budgets. `deny`: 503, so a budget is never passed; `allow`: not looked at, and what is spent meanwhile counts when
    /// Redis is back.
    pub budgets: BudgetsWithout,
}

/// What rate limits do while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RateLimitsWithout {
    #[default]
    Local,
    Deny,
    Allow,
}

/// What budgets do while Redis does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetsWithout {
    #[default]
    Deny,
    Allow,
}
