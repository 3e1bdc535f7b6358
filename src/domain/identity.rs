//! Who calls: what the directory knows of a credential, and what the gate made of it.

use std::sync::Arc;

use super::entity::{Key, Member, Organization, Project, Team, User};
use super::role::Role;

/// Everything the directory knows of one credential, read by one query. Limits already include those of linked budget
/// rows; status (blocked, expired) is evaluated by the gate on every request. Boxed, since most keys have few of the
/// others, and a hundred thousand are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    pub key: Option<Key>,
    /// The key's owner.
    pub user: Option<Box<User>>,
    pub team: Option<Box<Team>>,
    /// The owner's membership in the team.
    pub member: Option<Box<Member>>,
    /// The key's own organization, else its team's.
    pub organization: Option<Box<Organization>>,
    pub project: Option<Box<Project>>,
    /// A key, user, team or project that the key names and the directory does not have: the gate refuses it rather
    /// than let its limits fall away.
    pub dangling: Option<String>,
}

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthMethod {
    MasterKey,
    VirtualKey,
    /// A public route: nobody in particular.
    Public,
}

impl AuthMethod {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            AuthMethod::MasterKey => "master_key",
            AuthMethod::VirtualKey => "virtual_key",
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
}

impl Caller {
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

    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::ProxyAdmin
    }
}
