use schemars::JsonSchema;
use serde::Deserialize;

use super::Session;

/// Ways to say who you are that are neither keys nor LiteLLM's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Sessions of users who have signed in; see `sessions.md`.
    pub session: Session,
}
