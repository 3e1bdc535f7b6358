//! Whose a key is: user, team, organization, project. All must exist and belong together, and what they grant bounds the
//! key.

use super::super::attributes::Attributes;
use super::super::delegation::{self, Grant, Parent};
use super::super::permissions::Standing;
use super::super::{Actor, ManageError, Manager, Result};
use crate::domain::{Key, Member, Role, Team, User};

/// The rows a key belongs to.
#[derive(Default)]
pub(super) struct Owners {
    user: Option<User>,
    team: Option<Team>,
    member: Option<Member>,
    organization: Option<Parent>,
}

impl Owners {
    pub(super) fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The role that requests with the key have: its user's.
    pub(super) fn role(&self) -> Role {
        self.user.as_ref().and_then(|user| user.user_role).unwrap_or_default()
    }
}

impl Manager {
    /// Writes the owners that are sent.
    pub(super) fn set_owners(attributes: &mut Attributes, key: &mut Key) -> Result<()> {
        attributes.set_id("user_id", &mut key.user_id)?;
        attributes.set_id("team_id", &mut key.team_id)?;
        attributes.set_id("organization_id", &mut key.organization_id)?;
        attributes.set_id("project_id", &mut key.project_id)
    }

    /// Reads the rows a key names; a missing one is a 400, for the gate would refuse the key.
    pub(super) async fn owners(&self, key: &Key) -> Result<Owners> {
        let mut owners = Owners::default();
        if let Some(id) = &key.user_id {
            // A name nobody registered is fine, as in LiteLLM: its spend is accounted, and it has no limits.
            owners.user = self.store.user(id).await?;
        }
        if let Some(id) = &key.team_id {
            owners.team = Some(self.store.team(id).await?.ok_or_else(|| missing("team_id", "team", id))?);
        }
        if let (Some(user), Some(team)) = (&key.user_id, &key.team_id) {
            let memberships = self.store.memberships_of_user(user).await?;
            if let Some(member) = memberships.into_iter().find(|member| member.team_id == *team) {
                let limits = self.linked(&member.limits, member.budget_id.as_deref()).await?;
                owners.member = Some(Member { limits, ..member });
            }
        }
        let of_team = owners.team.as_ref().and_then(|team| team.organization_id.as_ref());
        if let (Some(own), Some(_)) = (&key.organization_id, &owners.team)
            && of_team != Some(own)
        {
            return Err(ManageError::bad("organization_id", "the team of this key is not in this organization"));
        }
        if let Some(id) = key.organization_id.as_ref().or(of_team) {
            let found = self.grant_of_organization(id).await?;
            owners.organization = Some(found.ok_or_else(|| missing("organization_id", "organization", id))?);
        }
        if let Some(id) = &key.project_id {
            let project = self.store.project(id).await?.ok_or_else(|| missing("project_id", "project", id))?;
            if project.team_id.is_some() && project.team_id != key.team_id {
                return Err(ManageError::bad("project_id", "this project belongs to another team"));
            }
        }
        if let Some(id) = &key.budget_id
            && self.store.budget(id).await?.is_none()
        {
            return Err(missing("budget_id", "budget", id));
        }
        Ok(owners)
    }

    /// Others than admins make keys for themselves, or as a team's admin for its members.
    pub(super) fn check_owner(&self, actor: &Actor, standing: Standing, key: &Key, owners: &Owners) -> Result<()> {
        if actor.is_admin() || key.user_id.is_none() || key.user_id.as_ref() == actor.user_id() {
            return Ok(());
        }
        if standing >= Standing::TeamAdmin && owners.member.is_some() {
            return Ok(());
        }
        Err(ManageError::forbidden("you may make keys only for yourself, or as a team's admin for its members"))
    }

    /// Holds a key to what its owners grant, whoever sets it. The access groups that it had stay.
    pub(super) async fn check_grants(&self, actor: &Actor, had: &[String], key: &Key, owners: &Owners) -> Result<()> {
        let mut parents = Vec::with_capacity(4);
        let mut groups: &[String] = &[];
        match (&owners.team, &owners.user) {
            (Some(team), _) => {
                parents.push(Parent { name: format!("team {:?}", team.team_id), grant: team.into() });
                groups = &team.access_group_ids;
                if let Some(member) = &owners.member {
                    let grant = Grant { limits: member.limits.clone(), ..Grant::default() };
                    parents.push(Parent { name: "its owner in the team".to_owned(), grant });
                }
            }
            (None, Some(user)) => {
                parents.push(Parent { name: format!("user {:?}", user.user_id), grant: user.into() });
            }
            (None, None) => {}
        }
        parents.extend(owners.organization.clone());
        if let Some(user) = actor.user().filter(|_| !actor.is_admin()) {
            let limits = crate::domain::Limits { max_budget: user.limits.max_budget, ..Default::default() };
            parents.push(Parent { name: "your own user".to_owned(), grant: Grant { limits, ..Grant::default() } });
        }
        self.extend_by_groups(&mut parents, groups).await?;
        let child = Grant::from(key);
        for parent in &parents {
            delegation::check(&child, parent, &self.config.model_list)?;
        }
        let own = actor.key().map_or(&[][..], |key| &key.access_group_ids);
        let known = |group: &String| [groups, own, had].iter().any(|list| list.contains(group));
        if !actor.is_admin() && !key.access_group_ids.iter().all(known) {
            return Err(ManageError::forbidden("you may hand on only access groups that the team or your key has"));
        }
        Ok(())
    }

    /// Adds the models of a team's access groups to the lists that name any.
    async fn extend_by_groups(&self, parents: &mut [Parent], ids: &[String]) -> Result<()> {
        let Some(team) = parents.first_mut().filter(|team| !ids.is_empty() && !team.grant.models.is_empty()) else {
            return Ok(());
        };
        for group in self.store.access_groups().await? {
            if ids.iter().any(|id| **id == *group.access_group_id) {
                team.grant.models.extend(group.access_model_names);
            }
        }
        Ok(())
    }
}

fn missing(param: &'static str, what: &str, id: &str) -> ManageError {
    ManageError::bad(param, format!("{what} {id:?} does not exist; create it first"))
}
