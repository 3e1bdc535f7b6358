use schemars::JsonSchema;
use serde::Deserialize;

/// Which header of a trusted proxy says what of a caller. There are no other fields: whatever else a header could say
/// would be more than who calls and what narrows it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyMappings {
    /// The header with the user's id.
    pub user_id: Option<String>,
    /// The header with the user's address.
    pub user_email: Option<String>,
    /// The header with the team's id.
    pub team_id: Option<String>,
    /// The header with the team's alias.
    pub team_alias: Option<String>,
    /// The header with the organization's id.
    pub org_id: Option<String>,
    /// The header with models, split at commas; only they may be used, of those the directory allows.
    pub models: Option<String>,
    /// The header with a budget in dollars; holds where it is lower than the directory's.
    pub max_budget: Option<String>,
    /// The header with a role; holds where it may do less than the directory's.
    pub user_role: Option<String>,
}

impl ProxyMappings {
    /// Every field by its key, with the header it is mapped to.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, Option<&str>); 8] {
        [
            ("user_id", self.user_id.as_deref()),
            ("user_email", self.user_email.as_deref()),
            ("team_id", self.team_id.as_deref()),
            ("team_alias", self.team_alias.as_deref()),
            ("org_id", self.org_id.as_deref()),
            ("models", self.models.as_deref()),
            ("max_budget", self.max_budget.as_deref()),
            ("user_role", self.user_role.as_deref()),
        ]
    }

    /// Whether any header can name a caller.
    #[must_use]
    pub fn names_anyone(&self) -> bool {
        let naming = [&self.user_id, &self.user_email, &self.team_id, &self.team_alias];
        naming.into_iter().any(Option::is_some)
    }
}
