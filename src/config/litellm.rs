use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{BudgetDuration, Money};

/// LiteLLM's `litellm_settings`, as far as they concern budgets and keys.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LiteLlm {
    /// Dollars the whole gate may spend in `budget_duration`; 0 is no limit, as in LiteLLM.
    pub max_budget: Money,
    /// How long `max_budget` lasts before it begins anew; without it, for life.
    pub budget_duration: Option<BudgetDuration>,
    /// Status of a spent budget: 400, 402, 422 or 429.
    pub budget_exceeded_status_code: u16,
    /// Time zone budgets are aligned to, by its IANA name.
    pub timezone: String,
    /// Time of day budgets begin, `HH:MM`.
    pub budget_reset_time: String,
    /// Share of its rate limits a key keeps that has `throttle_on_budget_exceeded` and no budget left; 0 to 1.
    pub budget_exceeded_throttle_percentage: Option<f64>,
    /// Fills attributes that a new key does not set.
    #[schemars(with = "serde_json::Value")]
    pub default_key_generate_params: Map<String, Value>,
    /// Ceilings for attributes of new keys; absent ones are filled with the ceiling.
    #[schemars(with = "serde_json::Value")]
    pub upperbound_key_generate_params: Map<String, Value>,
    /// Fills attributes that a new user does not set.
    #[schemars(with = "serde_json::Value")]
    pub default_internal_user_params: Map<String, Value>,
    /// LiteLLM's name for `max_budget` of `default_internal_user_params`.
    pub max_internal_user_budget: Option<Money>,
    /// LiteLLM's name for `budget_duration` of `default_internal_user_params`.
    pub internal_user_budget_duration: Option<BudgetDuration>,
    /// Fills attributes that a new team does not set.
    #[schemars(with = "serde_json::Value")]
    pub default_team_params: Map<String, Value>,
    /// A pattern every key alias must match in full; `*` stands for anything.
    pub key_alias_pattern: Option<String>,
    /// The budget row of end users without one of their own.
    pub max_end_user_budget_id: Option<String>,
    /// Ignores end users that the directory does not have.
    pub validate_end_user_id_in_db: bool,
    /// Refuses models without a price, like `metering.unknown_model: deny`.
    pub block_requests_for_models_without_pricing: bool,
    /// Keys of a user may use the models of the user's teams, as far as the user could with a key of the team: not what the
    /// membership or the team's organization keeps from them.
    pub personal_key_model_access_from_teams: bool,
    /// Other names for models, for everyone.
    pub model_alias_map: BTreeMap<String, String>,
    /// `/metrics` needs the master key.
    pub require_auth_for_metrics_endpoint: bool,
    /// Writes the audit log.
    pub store_audit_logs: bool,
}

impl Default for LiteLlm {
    fn default() -> Self {
        LiteLlm {
            max_budget: Money::ZERO,
            budget_duration: None,
            budget_exceeded_status_code: 429,
            timezone: "UTC".to_owned(),
            budget_reset_time: "00:00".to_owned(),
            budget_exceeded_throttle_percentage: None,
            default_key_generate_params: Map::new(),
            upperbound_key_generate_params: Map::new(),
            default_internal_user_params: Map::new(),
            max_internal_user_budget: None,
            internal_user_budget_duration: None,
            default_team_params: Map::new(),
            key_alias_pattern: None,
            max_end_user_budget_id: None,
            validate_end_user_id_in_db: false,
            block_requests_for_models_without_pricing: false,
            personal_key_model_access_from_teams: false,
            model_alias_map: BTreeMap::new(),
            require_auth_for_metrics_endpoint: false,
            store_audit_logs: true,
        }
    }
}

/// What counts against token limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenRateLimitType {
    #[default]
    Total,
    Input,
    Output,
}
