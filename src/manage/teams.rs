//! Teams: made by admins, who become their first members; bounded by their organization.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id, random_id};
use super::audit::{Action, Change};
use super::delegation::{self, Grant, Parent};
use super::keys::Paging;
use super::permissions::Standing;
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::directory::KeyFilter;
use crate::domain::{Member, Team, TeamRole};

const TABLE: &str = "teams";
/// A name other software uses for itself.
const RESERVED_ID: &str = "litellm-dashboard";
/// Teams read at once where all are listed.
const LIST_STEP: u64 = 500;
/// Keys shown with a team or a user.
pub(super) const KEYS_SHOWN: u64 = 100;

impl Manager {
    /// Creates a team with the members named; the creator, where it is a user, becomes its admin.
    pub async fn create_team(&self, actor: &Actor, mut params: Params) -> Result<Value> {
        for (name, value) in &self.config.litellm_settings.default_team_params {
            if params.get(name).is_none_or(Value::is_null) {
                params.insert(name.clone(), value.clone());
            }
        }
        let mut attributes = Attributes::new(params);
        let id = match attributes.text("team_id")? {
            Some(id) => id,
            None => random_id()?,
        };
        check_id("team_id", &id)?;
        if id == RESERVED_ID {
            return Err(ManageError::bad("team_id", format!("team_id {RESERVED_ID:?} is reserved")));
        }
        if self.store.team(&id).await?.is_some() {
            return Err(ManageError::bad("team_id", format!("team {id:?} exists already")));
        }
        let mut team = Team { team_id: id.into(), created_at: self.now, ..Team::default() };
        attributes.set_id("organization_id", &mut team.organization_id)?;
        if !self.administers(actor, team.organization_id.as_deref()) {
            self.require_admin(actor)?;
        }
        let members = self.first_members(actor, &mut attributes, &team).await?;
        let warnings = self.change_team(actor, &mut team, attributes).await?;
        self.write_team(actor, None, &team, Action::Created).await?;
        for member in &members {
            self.write_member(actor, member, true).await?;
        }
        Ok(render::with_warnings(self.team_row(&team, &members), &warnings))
    }

    /// Changes what is sent and nothing else.
    pub async fn update_team(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_team_once(actor, params.clone())).await
    }

    async fn update_team_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let before = self.find_team(&attributes.required("team_id")?).await?;
        let standing = self.standing_in(actor, &before).await?;
        if standing < Standing::TeamAdmin {
            return Err(ManageError::forbidden("only an admin of the team, its organization or the proxy changes it"));
        }
        let mut team = before.clone();
        attributes.set_id("organization_id", &mut team.organization_id)?;
        if team.organization_id != before.organization_id {
            self.require_role_of_admin(actor)?;
        }
        let warnings = self.change_team(actor, &mut team, attributes).await?;
        if standing == Standing::TeamAdmin {
            check_narrowed(&before, &team, &self.config.model_list)?;
        }
        self.write_team(actor, Some(&before), &team, Action::Updated).await?;
        let members = self.store.members_of_team(&team.team_id).await?;
        let row = render::with_warnings(self.team_row(&team, &members), &warnings);
        Ok(json!({"team_id": team.team_id, "data": row}))
    }

    /// A team, its members, and its first keys.
    pub async fn team_info(&self, actor: &Actor, id: &str) -> Result<Value> {
        let team = self.find_team(id).await?;
        let own = actor.caller.team_id().is_some_and(|own| **own == *team.team_id);
        if !own && self.standing_in(actor, &team).await? == Standing::Stranger {
            return Err(ManageError::forbidden("you are not in this team"));
        }
        let members = self.store.members_of_team(id).await?;
        let filter = KeyFilter { team_id: Some(id.to_owned()), limit: KEYS_SHOWN, ..KeyFilter::default() };
        let keys = self.store.list_keys(&filter).await?;
        let mut info = self.team_row(&team, &members);
        let budget = match &team.team_member_budget_id {
            Some(id) => self.store.budget(id).await?.map(|budget| self.budget_row(&budget)),
            None => None,
        };
        info.insert("team_member_budget_table".to_owned(), json!(budget));
        Ok(json!({
            "team_id": team.team_id,
            "team_info": info,
            "keys": keys.rows.iter().map(|key| self.listed_row(key)).collect::<Vec<_>>(),
            "team_memberships": self.member_rows(&members).await?,
        }))
    }

    pub async fn list_teams(&self, actor: &Actor, offset: u64, limit: u64) -> Result<Value> {
        self.require_viewer(actor)?;
        let page = self.store.list_teams(offset, limit).await?;
        let teams: Vec<_> = page.rows.iter().map(|team| self.team_row(team, &[])).collect();
        Ok(json!({"teams": teams, "total": page.total}))
    }

    /// `/v2/team/list`: one page by `page` and `page_size`.
    pub async fn page_of_teams(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let paging = Paging::take(&mut attributes, "page_size", 25)?;
        Ok(paging.describe(self.list_teams(actor, paging.offset(), paging.size).await?))
    }

    /// `/team/list`: every team, or those of `user_id`; who does not see everything sees the teams it is in.
    pub async fn teams_of(&self, actor: &Actor, params: Params) -> Result<Value> {
        let named = Attributes::new(params).text("user_id")?;
        let sees_all = self.require_viewer(actor).is_ok();
        let user = match (named, actor.user_id()) {
            (Some(named), Some(own)) if sees_all || *named == **own => Some(named),
            (Some(named), None) if sees_all => Some(named),
            (None, _) if sees_all => None,
            (None, Some(own)) => Some(own.to_string()),
            _ => return Err(ManageError::forbidden("you may list only the teams you are in")),
        };
        let mut teams = Vec::new();
        if let Some(user) = user {
            for member in self.store.memberships_of_user(&user).await? {
                teams.extend(self.store.team(&member.team_id).await?);
            }
        } else {
            loop {
                let page = self.store.list_teams(teams.len() as u64, LIST_STEP).await?;
                let ended = page.rows.is_empty();
                teams.extend(page.rows);
                if ended || teams.len() as u64 >= page.total {
                    break;
                }
            }
        }
        let mut rows = Vec::with_capacity(teams.len());
        for team in &teams {
            rows.push(self.team_row(team, &self.store.members_of_team(&team.team_id).await?));
        }
        Ok(json!(rows))
    }

    /// Deletes teams by `team_ids`, their keys first: a key must not outlive the limits it stood under.
    pub async fn delete_teams(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let ids = attributes.texts("team_ids")?;
        if ids.is_empty() {
            return Err(ManageError::invalid("team_ids", "name at least one team in team_ids"));
        }
        let mut teams = Vec::with_capacity(ids.len());
        for id in &ids {
            let team = self.find_team(id).await?;
            if self.standing_in(actor, &team).await? < Standing::OrgAdmin {
                return Err(ManageError::forbidden("only an admin of the team's organization or the proxy deletes it"));
            }
            teams.push(team);
        }
        for team in &teams {
            self.delete_keys_of(actor, KeyFilter { team_id: Some(team.team_id.to_string()), ..KeyFilter::default() })
                .await?;
            for member in self.store.members_of_team(&team.team_id).await? {
                self.remove_member(actor, &member).await?;
            }
            let id = team.team_id.to_string();
            let change = Change { action: Action::Deleted, table: TABLE, id, before: Some(team), after: None };
            self.store.delete_team(&team.team_id, self.audit(actor, change)).await?;
        }
        Ok(json!({"deleted_teams": ids}))
    }

    pub async fn block_team(&self, actor: &Actor, id: &str, blocked: bool) -> Result<Value> {
        on_fresh_rows(|| self.block_team_once(actor, id, blocked)).await
    }

    async fn block_team_once(&self, actor: &Actor, id: &str, blocked: bool) -> Result<Value> {
        let before = self.find_team(id).await?;
        if self.standing_in(actor, &before).await? < Standing::OrgAdmin {
            return Err(ManageError::forbidden("only an admin of the team's organization or the proxy blocks it"));
        }
        let team = Team { blocked, updated_at: self.now, ..before.clone() };
        self.write_team(actor, Some(&before), &team, Action::blocking(blocked)).await?;
        let members = self.store.members_of_team(id).await?;
        Ok(Value::Object(self.team_row(&team, &members)))
    }

    pub(super) async fn find_team(&self, id: &str) -> Result<Team> {
        self.store.team(id).await?.ok_or_else(|| ManageError::not_found("team_id", "team", id))
    }

    /// Deletes all keys that match, page by page.
    pub(super) async fn delete_keys_of(&self, actor: &Actor, filter: KeyFilter) -> Result<()> {
        let filter = KeyFilter { offset: 0, limit: KEYS_SHOWN, decides: true, ..filter };
        loop {
            let page = self.store.list_keys(&filter).await?;
            if page.rows.is_empty() {
                return Ok(());
            }
            for key in &page.rows {
                let id = key.token.to_string();
                let change =
                    Change { action: Action::Deleted, table: super::keys::TABLE, id, before: Some(key), after: None };
                self.store.delete_key(&key.token, self.audit(actor, change)).await?;
            }
        }
    }

    async fn first_members(&self, actor: &Actor, attributes: &mut Attributes, team: &Team) -> Result<Vec<Member>> {
        let mut members = self.named_members(attributes.optional("members_with_roles")?, team).await?;
        for (name, role) in [("admins", TeamRole::Admin), ("members", TeamRole::User)] {
            for id in attributes.texts(name)? {
                members.push(self.member_of(team, Some(id), None, role).await?);
            }
        }
        // An administrator by token may be a user nobody registered: no member is missed then.
        if let Some(creator) = actor.user_id()
            && self.store.user(creator).await?.is_some()
        {
            members.insert(0, self.member_of(team, Some(creator.to_string()), None, TeamRole::Admin).await?);
        }
        let mut seen = std::collections::BTreeSet::new();
        members.retain(|member| seen.insert(member.user_id.clone()));
        Ok(members)
    }

    async fn change_team(&self, actor: &Actor, team: &mut Team, mut attributes: Attributes) -> Result<Vec<String>> {
        attributes.set_id("team_alias", &mut team.team_alias)?;
        attributes.set_limits(&mut team.limits)?;
        attributes.set("models", &mut team.models)?;
        attributes.set("model_aliases", &mut team.model_aliases)?;
        attributes.set("access_group_ids", &mut team.access_group_ids)?;
        attributes.set("blocked", &mut team.blocked)?;
        attributes.set("team_member_permissions", &mut team.team_member_permissions)?;
        attributes.set("tags", &mut team.tags)?;
        attributes.set_object("metadata", &mut team.metadata)?;
        if let Some(alias) = &team.team_alias {
            check_id("team_alias", alias)?;
        }
        self.set_member_budget(actor, team, &mut attributes).await?;
        if let Some(id) = &team.organization_id {
            let missing = || ManageError::bad("organization_id", format!("organization {id:?} does not exist"));
            let parent = self.grant_of_organization(id).await?.ok_or_else(missing)?;
            delegation::check(&Grant::from(&*team), &parent, &self.config.model_list)?;
        }
        team.updated_at = self.now;
        attributes.finish(&mut team.extra)
    }

    async fn write_team(&self, actor: &Actor, before: Option<&Team>, team: &Team, action: Action) -> Result<()> {
        let change = Change { action, table: TABLE, id: team.team_id.to_string(), before, after: Some(team) };
        Ok(self.store.put_team(team, before.is_none(), self.audit(actor, change)).await?)
    }
}

/// A team's admin may narrow the team, never widen it: its bounds are set by those above.
fn check_narrowed(before: &Team, after: &Team, catalog: &[crate::config::ModelEntry]) -> Result<()> {
    let (old, new) = (&before.limits, &after.limits);
    let cleared = old.max_budget.is_some() && new.max_budget.is_none()
        || old.budget_duration != new.budget_duration
        || old.rpm_limit.is_some() && new.rpm_limit.is_none()
        || old.tpm_limit.is_some() && new.tpm_limit.is_none()
        || old.tpd_limit.is_some() && new.tpd_limit.is_none()
        || old.max_parallel_requests.is_some() && new.max_parallel_requests.is_none()
        || old.budget_limits.iter().any(|w| !new.budget_limits.iter().any(|n| n.budget_duration == w.budget_duration))
        || old.model_max_budget.keys().any(|model| !new.model_max_budget.contains_key(model))
        || old.model_rpm_limit.keys().any(|model| !new.model_rpm_limit.contains_key(model))
        || old.model_tpm_limit.keys().any(|model| !new.model_tpm_limit.contains_key(model));
    let widened = cleared
        || !before.models.is_empty() && after.models.is_empty()
        || before.blocked != after.blocked
        || before.model_aliases != after.model_aliases
        || after.access_group_ids.iter().any(|id| !before.access_group_ids.contains(id))
        || before.tags.iter().any(|tag| !after.tags.contains(tag));
    if widened {
        return Err(ManageError::forbidden("only an admin of the organization or the proxy lifts a bound of a team"));
    }
    let parent = Parent { name: "this team before".to_owned(), grant: before.into() };
    delegation::check(&Grant::from(after), &parent, catalog).map_err(|error| ManageError::forbidden(error.message))
}
