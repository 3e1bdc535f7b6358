use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::BudgetDuration;

/// Sessions of users who have signed in; see `sessions.md`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Session {
    /// Whether sessions are issued and accepted.
    pub enabled: bool,
    /// The cookie a session token is read from, where a request shows no other credential.
    pub cookie: String,
    /// Whom the tokens are for; those of another audience are refused. Gates that share a directory and are not to accept
    /// each other's sessions need names of their own.
    pub audience: String,
    /// The longest life of a session, and that of one issued without saying.
    pub ttl: BudgetDuration,
    /// How often another key signs. Tokens of earlier keys stay good until they expire.
    pub rotate_every: BudgetDuration,
    /// Origins besides the gate's own, as `https://app.example.com`, whose pages may change something with the cookie.
    pub allowed_origins: Vec<String>,
}

impl Default for Session {
    fn default() -> Self {
        const HOUR: u32 = 3_600;
        Session {
            enabled: true,
            cookie: "tollward_session".to_owned(),
            audience: "tollward".to_owned(),
            ttl: BudgetDuration::seconds(24 * HOUR),
            rotate_every: BudgetDuration::seconds(7 * 24 * HOUR),
            allowed_origins: Vec::new(),
        }
    }
}
