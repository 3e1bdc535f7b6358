//! Who may do what to which row: proxy admins everything, organization admins their organizations, team admins their
//! teams, owners their keys, plain members of a team what the team lets them.

use super::{Actor, ManageError, Manager, Result};
use crate::domain::{Key, Team, TeamRole};

/// Routes every member of a team may use on the team's keys.
const MEMBER_ROUTES: [&str; 2] = ["/key/info", "/key/health"];

/// What an actor is to a team or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Stranger,
    Viewer,
    Member,
    Owner,
    TeamAdmin,
    OrgAdmin,
    ProxyAdmin,
}

/// What is done to a key, by the route that does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyAction {
    Generate,
    Info,
    Update,
    Delete,
    Block,
    Regenerate,
}

impl KeyAction {
    const fn route(self) -> &'static str {
        match self {
            KeyAction::Generate => "/key/generate",
            KeyAction::Info => "/key/info",
            KeyAction::Update => "/key/update",
            KeyAction::Delete => "/key/delete",
            KeyAction::Block => "/key/block",
            KeyAction::Regenerate => "/key/regenerate",
        }
    }
}

impl Manager {
    /// Operations of admins, open also to a key that was given their route by name.
    pub(super) fn require_admin(&self, actor: &Actor) -> Result<()> {
        if actor.has_granted_route() { Ok(()) } else { self.require_role_of_admin(actor) }
    }

    /// What no grant of a route opens.
    pub(super) fn require_role_of_admin(&self, actor: &Actor) -> Result<()> {
        if actor.is_admin() { Ok(()) } else { Err(ManageError::forbidden("only a proxy_admin may do this")) }
    }

    pub(super) fn require_viewer(&self, actor: &Actor) -> Result<()> {
        let may = actor.sees_everything() || actor.has_granted_route();
        if may { Ok(()) } else { Err(ManageError::forbidden("only a proxy_admin or proxy_admin_viewer may see this")) }
    }

    pub(super) fn administers(&self, actor: &Actor, organization: Option<&str>) -> bool {
        let own = actor.user().map_or(&[][..], |user| &user.admin_of);
        organization.is_some_and(|organization| own.iter().any(|id| &**id == organization))
    }

    /// What the actor is to a team.
    pub(super) async fn standing_in(&self, actor: &Actor, team: &Team) -> Result<Standing> {
        if actor.is_admin() {
            return Ok(Standing::ProxyAdmin);
        }
        if self.administers(actor, team.organization_id.as_deref()) {
            return Ok(Standing::OrgAdmin);
        }
        if let Some(user) = actor.user_id() {
            let memberships = self.store.memberships_of_user(user).await?;
            match memberships.iter().find(|member| member.team_id == team.team_id).map(|member| member.role) {
                Some(TeamRole::Admin) => return Ok(Standing::TeamAdmin),
                Some(TeamRole::User) => return Ok(Standing::Member),
                None => {}
            }
        }
        Ok(if actor.sees_everything() { Standing::Viewer } else { Standing::Stranger })
    }

    /// Lets the actor do this to a key, or says why not. Answers what the actor is to the key.
    pub(super) async fn authorize_key(&self, actor: &Actor, key: &Key, action: KeyAction) -> Result<Standing> {
        if actor.is_admin() {
            return Ok(Standing::ProxyAdmin);
        }
        if self.administers(actor, key.organization_id.as_deref()) {
            return Ok(Standing::OrgAdmin);
        }
        let reads = action == KeyAction::Info;
        if reads && (actor.sees_everything() || actor.key_hash() == Some(key.token)) {
            return Ok(Standing::Viewer);
        }
        let team = match &key.team_id {
            Some(id) => self.store.team(id).await?,
            None => None,
        };
        let standing = match &team {
            Some(team) => self.standing_in(actor, team).await?,
            None => Standing::Stranger,
        };
        if standing >= Standing::TeamAdmin {
            return Ok(standing);
        }
        let owns = key.user_id.is_some() && key.user_id.as_ref() == actor.user_id();
        // A member of a team makes team keys only where the team lets members do so, own keys included; and nobody
        // lifts a block that an admin set.
        if owns && action != KeyAction::Block && (action != KeyAction::Generate || team.is_none()) {
            return Ok(Standing::Owner);
        }
        match (standing, team) {
            (Standing::Member, Some(team)) => {
                let route = action.route();
                let granted = team.team_member_permissions.iter().any(|granted| granted == route);
                if granted || MEMBER_ROUTES.contains(&route) {
                    return Ok(Standing::Member);
                }
                Err(ManageError::team_member(format!("members of team {:?} may not use {route}", team.team_id)))
            }
            (_, Some(_)) => Err(ManageError::team_member("you are not in the team of this key")),
            _ => Err(ManageError::forbidden("this key belongs to somebody else")),
        }
    }
}
