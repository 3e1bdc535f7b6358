use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::domain::Secret;

/// One entry of LiteLLM's `model_list`. Several entries of one name are one model; the dearest price among them is
/// held, the last given is booked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct ModelEntry {
    /// The name clients use; may hold `*`.
    pub model_name: String,
    /// What the entry says of the provider; prices by LiteLLM's names (`input_cost_per_token` …) may stand here too.
    #[serde(default)]
    pub litellm_params: LiteLlmParams,
    /// What the entry says of the model; prices by LiteLLM's names may stand here too.
    #[serde(default)]
    pub model_info: ModelInfo,
}

/// What the entry says of the provider.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LiteLlmParams {
    /// The provider's name of the model, `openai/gpt-4o`: its price is used.
    pub model: Option<String>,
    /// The provider's key: injected on routes whose `context_extensions.tollward_provider` names this provider.
    pub api_key: Option<Secret>,
    /// Prices and other parameters, by LiteLLM's names.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Map<String, Value>,
}

/// What the entry says of the model.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ModelInfo {
    /// Access groups this model belongs to: names that allowlists may hold in its place.
    pub access_groups: Vec<String>,
    /// Output tokens held where a request has no cap.
    pub default_output_tokens: Option<u64>,
    /// Requests a minute of one key on this model that has no limit of its own.
    pub default_api_key_rpm_limit: Option<u64>,
    /// Tokens a minute of one key on this model that has no limit of its own.
    pub default_api_key_tpm_limit: Option<u64>,
    /// Prices and other properties, by LiteLLM's names.
    #[serde(flatten)]
    #[schemars(skip)]
    pub other: Map<String, Value>,
}
