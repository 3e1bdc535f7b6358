//! Assertions: what an identity provider, a proxy or another authoriser says of a caller, before the directory says what
//! that means. Every way to say who you are but our own keys ends in one.

use std::sync::Arc;

use super::settled::Settled;
use crate::config::Unregistered;
use crate::domain::{AuthMethod, Grant, KeyHash, Role};

/// See the module. Says nothing where a field is empty.
#[derive(Clone, Debug)]
pub struct Assertion {
    pub method: AuthMethod,
    /// The key it stands for: the request is then treated as that key's in every way, and nothing else here counts but
    /// the grant.
    pub key: Option<KeyHash>,
    /// A claim that may stand for a key.
    pub key_claim: Option<KeyClaim>,
    /// The id of the user, ours or the provider's.
    pub user_id: Option<Arc<str>>,
    pub user_email: Option<Arc<str>>,
    pub role: RoleClaim,
    pub teams: TeamClaim,
    pub organization: Option<Named>,
    pub grant: Option<Arc<Grant>>,
    pub rules: Arc<Rules>,
    /// Whom it stands for, once that was looked up.
    pub settled: Settled,
}

impl Assertion {
    /// An assertion that says nothing but how it was made.
    #[must_use]
    pub fn new(method: AuthMethod) -> Self {
        Assertion {
            method,
            key: None,
            key_claim: None,
            user_id: None,
            user_email: None,
            role: RoleClaim::None,
            teams: TeamClaim::default(),
            organization: None,
            grant: None,
            rules: Arc::default(),
            settled: Settled::default(),
        }
    }

    /// The user it names, for comparisons with what another authenticator found.
    #[must_use]
    pub fn names_anyone(&self) -> bool {
        self.key.is_some()
            || self.user_id.is_some()
            || self.user_email.is_some()
            || self.teams.one.is_some()
            || !self.teams.list.is_empty()
    }
}

/// What is said of the role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoleClaim {
    /// Nothing: the role of the user in the directory, else `internal_user`.
    #[default]
    None,
    /// This one, whatever the directory says.
    Is(Role),
    /// The directory's, and this one where it may do less.
    AtMost(Role),
}

/// A name by id or by alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    Id(Arc<str>),
    Alias(Arc<str>),
}

/// What is said of teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamClaim {
    /// The one team.
    pub one: Option<Named>,
    /// Teams to choose from: in the order of their ids, the first that may use model and route.
    pub list: Vec<Arc<str>>,
    /// Whether a list was given, were it empty: then there are no other teams.
    pub list_given: bool,
    /// The team where none is named.
    pub default: Option<Arc<str>>,
}

/// A claim whose value may stand for a virtual key.
#[derive(Clone, Debug)]
pub struct KeyClaim {
    pub issuer: Arc<str>,
    pub claim: Arc<str>,
    /// `None` where the token does not have it.
    pub value: Option<Arc<str>>,
    pub unregistered: Unregistered,
    /// A key made for it may be one that the user has for the team.
    pub map_existing: bool,
}

/// How the directory is asked about what an assertion names, and what is created where it is not there.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Without a team the caller is refused.
    pub team_required: bool,
    pub team_upsert: bool,
    pub user_upsert: bool,
    /// A user that is created becomes a member of the claimed teams.
    pub join_claimed_teams: bool,
    /// A claimed team that cannot be resolved falls back to the user's only team in the directory.
    pub team_claim_fallback: bool,
    /// Without a claimed team the user's teams in the directory are chosen from, and `x-litellm-team-id` may name any.
    pub fallback_to_db_teams: bool,
    /// A request for a model without any team is refused with 403.
    pub enforce_team_based_model_access: bool,
    /// Role and memberships of the user are written to match what is claimed.
    pub sync_user_role_and_teams: bool,
    /// The only domain of addresses.
    pub allowed_email_domain: Option<String>,
    /// Routes of callers who act for a team; empty is any.
    pub team_routes: Vec<String>,
    /// Whether `x-litellm-team-id` may choose among the claimed teams.
    pub team_header: bool,
    /// For an administrator: whether `x-litellm-team-id` may name any team, which then pays for the use of a model.
    pub any_team: bool,
}
