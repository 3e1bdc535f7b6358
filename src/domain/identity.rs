//! Who calls: what the directory knows of a credential, and what the gate made of it.

use std::sync::Arc;

use super::entity::{Key, Member, Organization, Project, Team, User};
use super::grant::Grant;
use super::role::Role;

/// Those a token names, where it is no key: the directory knows what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principal {
    pub user_id: Option<Arc<str>>,
    pub team_id: Option<Arc<str>>,
    /// The organization, where it is not the one of the team or the user.
    pub organization_id: Option<Arc<str>>,
}

/// Everything the directory knows of one credential, read by one query. Limits already include those of linked budget
/// rows; status (blocked, expired) is evaluated by the gate on every request. Most keys have few of the others, and share
/// them with many keys: a hundred thousand are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    pub key: Option<Key>,
    /// The key's owner.
    pub user: Option<Arc<User>>,
    pub team: Option<Arc<Team>>,
    /// The owner's membership in the team.
    pub member: Option<Box<Member>>,
    /// The key's own organization, else its team's.
    pub organization: Option<Arc<Organization>>,
    pub project: Option<Arc<Project>>,
    /// A key, user, team or project that the key names and the directory does not have: the gate refuses it rather
    /// than let its limits fall away.
    pub dangling: Option<String>,
}

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    MasterKey,
    VirtualKey,
    /// A token that an issuer signed, in whatever header.
    Jwt,
    /// A token that an authorization server knows (RFC 7662), or its userinfo endpoint.
    OAuth2,
    /// Identity headers of a trusted proxy.
    TrustedProxy,
    /// The verified certificate of the peer (`source.principal`).
    Mtls,
    /// Another authoriser said so.
    Custom,
    /// A token of our own, issued after a login.
    Session,
    /// A public route: nobody in particular.
    Public,
}

impl AuthMethod {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthMethod::MasterKey => "master_key",
            AuthMethod::VirtualKey => "virtual_key",
            AuthMethod::Jwt => "jwt",
            AuthMethod::OAuth2 => "oauth2",
            AuthMethod::TrustedProxy => "trusted_proxy",
            AuthMethod::Mtls => "mtls",
            AuthMethod::Custom => "custom",
            AuthMethod::Session => "session",
            AuthMethod::Public => "public",
        }
    }
}

/// Who, resolved: every later check sees only this, whatever the credential was. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    pub method: AuthMethod,
    pub role: Role,
    pub identity: Arc<Identity>,
    /// What the credential itself allows at most and says besides, where it is more than a name.
    pub grant: Option<Arc<Grant>>,
}

impl Caller {
    /// A caller whose credential says no more than who it is.
    #[must_use]
    pub fn new(method: AuthMethod, role: Role, identity: Arc<Identity>) -> Self {
        Caller { method, role, identity, grant: None }
    }

    #[must_use]
    pub fn user_id(&self) -> Option<&Arc<str>> {
        let key = self.identity.key.as_ref().and_then(|key| key.user_id.as_ref());
        key.or(self.identity.user.as_ref().map(|user| &user.user_id))
    }

    #[must_use]
    pub fn team_id(&self) -> Option<&Arc<str>> {
        let key = self.identity.key.as_ref().and_then(|key| key.team_id.as_ref());
        key.or(self.identity.team.as_ref().map(|team| &team.team_id))
    }

    #[must_use]
    pub fn organization_id(&self) -> Option<&Arc<str>> {
        self.identity.organization.as_ref().map(|organization| &organization.organization_id)
    }

    /// Whether the operator chose that nothing but the routes of its grant is checked.
    #[must_use]
    pub fn is_unchecked(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.is_unchecked)
    }

    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::ProxyAdmin
    }
}
