//! Roles: what a caller is to the whole gate, and what a member is to a team.

use serde::{Deserialize, Serialize};

/// The role of a caller; LiteLLM's names. An unknown or missing role in the directory is `InternalUser`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    ProxyAdmin,
    ProxyAdminViewer,
    OrgAdmin,
    #[default]
    InternalUser,
    InternalUserViewer,
    Team,
    Customer,
}

impl Role {
    pub const ALL: [Role; 7] = [
        Role::ProxyAdmin,
        Role::ProxyAdminViewer,
        Role::OrgAdmin,
        Role::InternalUser,
        Role::InternalUserViewer,
        Role::Team,
        Role::Customer,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::ProxyAdmin => "proxy_admin",
            Role::ProxyAdminViewer => "proxy_admin_viewer",
            Role::OrgAdmin => "org_admin",
            Role::InternalUser => "internal_user",
            Role::InternalUserViewer => "internal_user_viewer",
            Role::Team => "team",
            Role::Customer => "customer",
        }
    }

    /// This role, held down to a ceiling: the lower of the two; where neither includes the other, what both may do.
    #[must_use]
    pub fn narrowed_to(self, ceiling: Role) -> Role {
        if self.includes(ceiling) {
            ceiling
        } else if ceiling.includes(self) {
            self
        } else {
            // `proxy_admin_viewer` beside a role that may call models: both may look at what is theirs.
            Role::InternalUserViewer
        }
    }

    /// Whether whatever the other role may do, this one may do too.
    #[must_use]
    pub fn includes(self, other: Role) -> bool {
        use Role::{Customer, InternalUser, InternalUserViewer, OrgAdmin, ProxyAdmin, ProxyAdminViewer, Team};
        match self {
            ProxyAdmin => true,
            ProxyAdminViewer => matches!(other, ProxyAdminViewer | InternalUserViewer | Team | Customer),
            OrgAdmin => matches!(other, OrgAdmin | InternalUser | InternalUserViewer | Team | Customer),
            InternalUser => matches!(other, InternalUser | InternalUserViewer | Team | Customer),
            InternalUserViewer => matches!(other, InternalUserViewer | Team | Customer),
            Team | Customer => matches!(other, Team | Customer),
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// What a member is inside a team.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TeamRole {
    Admin,
    #[default]
    User,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_holds_down_and_never_lifts() {
        for role in Role::ALL {
            for ceiling in Role::ALL {
                let narrowed = role.narrowed_to(ceiling);
                assert!(
                    role.includes(narrowed) && ceiling.includes(narrowed),
                    "{role:?} under {ceiling:?}: {narrowed:?}"
                );
            }
            assert_eq!(role.narrowed_to(Role::ProxyAdmin), role);
            assert_eq!(role.narrowed_to(role), role);
        }
        assert_eq!(Role::ProxyAdminViewer.narrowed_to(Role::InternalUser), Role::InternalUserViewer);
    }
}
