use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rules of your own over each request, in the Common Expression Language; see `policies.md`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Asked in their order once the caller is known and may use the route and the models: the first `deny` whose
    /// condition holds refuses with 403, and where there is an `allow`, one of them must hold.
    pub rules: Vec<PolicyRule>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyRule {
    /// Its name in answers, logs and metrics: lower-case letters, digits and `_ . -`.
    pub name: String,
    /// The condition, an expression over `request`, `caller`, `model` and `now`. Typed and bounded when the
    /// configuration is loaded; where it cannot be evaluated on a request, it counts against the request.
    pub when: String,
    /// What follows where the condition holds.
    pub effect: PolicyEffect,
    /// What a refused client is told; without one, the name of the rule. An `allow` rule has none.
    #[serde(default)]
    pub message: Option<String>,
    /// `shadow`: what the rule would have refused is logged and counted, and passes without a provider key and without
    /// identity headers.
    #[serde(default)]
    pub mode: PolicyMode,
}

/// What follows where the condition of a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyEffect {
    Deny,
    Allow,
}

/// Whether a rule is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicyMode {
    #[default]
    Enforce,
    Shadow,
}
