use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How spend is metered and priced.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Metering {
    /// A gateway whose meter is not seen answers 503 to callers under a money or token limit, instead of giving them a
    /// free ride.
    pub required: bool,
    /// Adds `stream_options.include_usage` to streamed OpenAI requests (needs the answering ext_proc filter).
    pub ask_for_usage: bool,
    /// Price map in LiteLLM's JSON format; its entries stand before the built-in table. Read again when it changes.
    pub price_map: Option<PathBuf>,
    /// What a model without a price gets: `deny`, `zero` (it costs nothing, and a spent budget still refuses it), or a
    /// price `{input_cost_per_token, output_cost_per_token}`.
    pub unknown_model: UnknownModel,
    /// What a request gets whose usage cannot be read (WebSockets, unknown paths): `deny` (callers under a money or
    /// token limit only), `allow`, or a price in dollars a request.
    pub unmeterable: Unmeterable,
    /// Bytes of a compressed response that are decoded at most; what lies beyond is estimated.
    pub max_decoded_bytes: u64,
}

impl Default for Metering {
    fn default() -> Self {
        Metering {
            required: true,
            ask_for_usage: true,
            price_map: None,
            unknown_model: UnknownModel::Deny,
            unmeterable: Unmeterable::Deny,
            max_decoded_bytes: 256 * 1024 * 1024,
        }
    }
}

/// What a model without a price gets.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(
    rename_all = "snake_case",
    expecting = "one of deny, zero or {input_cost_per_token: …, output_cost_per_token: …} is expected here"
)]
pub enum UnknownModel {
    Deny,
    Zero,
    #[serde(untagged)]
    Price {
        input_cost_per_token: f64,
        output_cost_per_token: f64,
    },
}

/// What a request gets whose usage cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", expecting = "one of deny, allow or {price: …} is expected here")]
pub enum Unmeterable {
    Deny,
    Allow,
    #[serde(untagged)]
    Price {
        price: f64,
    },
}
