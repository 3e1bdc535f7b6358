use schemars::JsonSchema;
use serde::Deserialize;

/// What decides without refusing; see `shadow-mode.md`. Policies have a mode of their own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// Puts the whole gate in shadow mode: every request passes. One that would have been refused is logged, counted
    /// and metered, and passes as it came: with its own credential, without a provider key and without identity
    /// headers.
    pub enabled: bool,
    /// Limits in shadow mode, by the reason a refusal by them has: `rate_limit.team.tokens`, `budget.user`; `*` stands
    /// for anything, as in `rate_limit.*`.
    pub limits: Vec<String>,
}
