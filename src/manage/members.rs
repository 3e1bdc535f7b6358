//! Members of teams: their role, and a budget row of their own or the team's default for members.

use serde::Deserialize;
use serde_json::{Value, json};

use super::attributes::{Attributes, random_id};
use super::audit::{Action, Change};
use super::permissions::Standing;
use super::{Actor, ManageError, Manager, Params, Result};
use crate::domain::{Budget, Limits, Member, Team, TeamRole, User};

const TABLE: &str = "team_members";

/// A member as requests name it: by id or by e-mail address.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NamedMember {
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    user_email: Option<String>,
    #[serde(default)]
    role: TeamRole,
}

/// One member or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(NamedMember),
    Many(Vec<NamedMember>),
}

impl Manager {
    /// Adds `member` (one or a list) to `team_id`, with `max_budget_in_team`, `budget_duration` and `allowed_models`.
    pub async fn add_members(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let team = self.find_team(&attributes.required("team_id")?).await?;
        self.check_team_admin(actor, &team).await?;
        let named = match attributes.optional("member")? {
            Some(OneOrMany::One(member)) => vec![member],
            Some(OneOrMany::Many(members)) if !members.is_empty() => members,
            _ => return Err(ManageError::invalid("member", "name at least one member")),
        };
        let allowed_models: Vec<String> = attributes.optional("allowed_models")?.unwrap_or_default();
        let limits = Limits {
            max_budget: attributes.optional("max_budget_in_team")?,
            budget_duration: attributes.optional("budget_duration")?,
            rpm_limit: attributes.optional("rpm_limit")?,
            tpm_limit: attributes.optional("tpm_limit")?,
            ..Limits::default()
        };
        super::attributes::check_limits(&limits)?;
        let parent = super::delegation::Parent { name: format!("team {:?}", team.team_id), grant: (&team).into() };
        let child =
            super::delegation::Grant { models: allowed_models.clone(), limits: limits.clone(), ..Default::default() };
        super::delegation::check(&child, &parent, &self.config.model_list)?;

        let members = self.named_members(Some(named), &team).await?;
        let present = self.store.members_of_team(&team.team_id).await?;
        if let Some(twice) = members.iter().find(|member| present.iter().any(|other| other.user_id == member.user_id)) {
            return Err(ManageError::already_member(&twice.user_id, &team.team_id));
        }
        let mut added = Vec::with_capacity(members.len());
        for mut member in members {
            if !limits.is_unlimited() {
                member.budget_id = Some(self.new_budget(actor, limits.clone()).await?.budget_id);
            }
            member.allowed_models.clone_from(&allowed_models);
            self.write_member(actor, &member, true).await?;
            added.push(member);
        }
        let all = self.store.members_of_team(&team.team_id).await?;
        let mut row = self.team_row(&team, &all);
        let users: Vec<&str> = added.iter().map(|member| &*member.user_id).collect();
        row.insert("updated_users".to_owned(), json!(users));
        row.insert("updated_team_memberships".to_owned(), self.member_rows(&added).await?.into());
        Ok(Value::Object(row))
    }

    /// Removes a member from `team_id` by `user_id` or `user_email`, and deletes the keys it has for the team.
    pub async fn delete_member(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let team = self.find_team(&attributes.required("team_id")?).await?;
        self.check_team_admin(actor, &team).await?;
        let named = NamedMember {
            user_id: attributes.text("user_id")?,
            user_email: attributes.text("user_email")?,
            role: TeamRole::User,
        };
        let user = self.find_named(&named).await?;
        let members = self.store.members_of_team(&team.team_id).await?;
        let Some(member) = members.iter().find(|member| member.user_id == user.user_id) else {
            return Err(ManageError::not_found("user_id", "member", &user.user_id));
        };
        self.delete_keys_of(
            actor,
            crate::directory::KeyFilter {
                team_id: Some(team.team_id.to_string()),
                user_id: Some(user.user_id.to_string()),
                ..Default::default()
            },
        )
        .await?;
        self.remove_member(actor, member).await?;
        let left = self.store.members_of_team(&team.team_id).await?;
        Ok(Value::Object(self.team_row(&team, &left)))
    }

    pub(super) async fn check_team_admin(&self, actor: &Actor, team: &Team) -> Result<()> {
        if self.standing_in(actor, team).await? >= Standing::TeamAdmin {
            return Ok(());
        }
        Err(ManageError::forbidden("only an admin of the team, its organization or the proxy changes its members"))
    }

    /// Reads named members as rows; every user must exist.
    pub(super) async fn named_members(&self, named: Option<Vec<NamedMember>>, team: &Team) -> Result<Vec<Member>> {
        let named = named.unwrap_or_default();
        let mut members = Vec::with_capacity(named.len());
        for member in named {
            members.push(self.member_of(team, member.user_id, member.user_email, member.role).await?);
        }
        Ok(members)
    }

    pub(super) async fn member_of(
        &self,
        team: &Team,
        user_id: Option<String>,
        user_email: Option<String>,
        role: TeamRole,
    ) -> Result<Member> {
        let user = self.find_named(&NamedMember { user_id, user_email, role }).await?;
        Ok(Member {
            team_id: team.team_id.clone(),
            user_id: user.user_id.clone(),
            user_email: user.user_email.as_deref().map(str::to_owned),
            role,
            budget_id: None,
            allowed_models: Vec::new(),
            limits: Limits::default(),
            spend: Default::default(),
        })
    }

    async fn find_named(&self, named: &NamedMember) -> Result<User> {
        let (found, name) = match (&named.user_id, &named.user_email) {
            (Some(id), _) => (self.store.user(id).await?, id),
            (None, Some(email)) => (self.store.user_named(None, Some(email)).await?, email),
            (None, None) => return Err(ManageError::invalid("user_id", "name a member by user_id or user_email")),
        };
        let missing = || ManageError::bad("user_id", format!("user {name:?} does not exist; create it first"));
        found.ok_or_else(missing)
    }

    pub(super) async fn write_member(&self, actor: &Actor, member: &Member, create: bool) -> Result<()> {
        let action = if create { Action::Created } else { Action::Updated };
        let change = Change { action, table: TABLE, id: id_of(member), before: None, after: Some(member) };
        Ok(self.store.put_member(member, create, self.audit(actor, change)).await?)
    }

    /// Rows of memberships, with the limits of their own budget rows.
    pub(super) async fn member_rows(&self, members: &[Member]) -> Result<Vec<Value>> {
        let mut rows = Vec::with_capacity(members.len());
        for member in members {
            let limits = self.linked(&member.limits, member.budget_id.as_deref()).await?;
            rows.push(self.member_row(&Member { limits, ..member.clone() }));
        }
        Ok(rows)
    }

    pub(super) async fn remove_member(&self, actor: &Actor, member: &Member) -> Result<()> {
        let change =
            Change { action: Action::Deleted, table: TABLE, id: id_of(member), before: Some(member), after: None };
        Ok(self.store.delete_member(&member.team_id, &member.user_id, self.audit(actor, change)).await?)
    }

    /// Writes `team_member_budget`, `_rpm_limit` … to the budget row that members without one of their own have.
    pub(super) async fn set_member_budget(
        &self,
        actor: &Actor,
        team: &mut Team,
        attributes: &mut Attributes,
    ) -> Result<()> {
        const NAMES: [&str; 5] = [
            "team_member_budget",
            "team_member_budget_duration",
            "team_member_rpm_limit",
            "team_member_tpm_limit",
            "team_member_model_max_budget",
        ];
        if !NAMES.iter().any(|name| attributes.sends(name)) {
            return Ok(());
        }
        let present = match &team.team_member_budget_id {
            Some(id) => self.store.budget(id).await?,
            None => None,
        };
        let mut limits = present.as_ref().map(|budget| budget.limits.clone()).unwrap_or_default();
        attributes.set("team_member_budget", &mut limits.max_budget)?;
        attributes.set("team_member_budget_duration", &mut limits.budget_duration)?;
        attributes.set("team_member_rpm_limit", &mut limits.rpm_limit)?;
        attributes.set("team_member_tpm_limit", &mut limits.tpm_limit)?;
        attributes.set("team_member_model_max_budget", &mut limits.model_max_budget)?;
        super::attributes::check_limits(&limits)?;
        match present {
            Some(before) => {
                let after = Budget { limits, updated_at: self.now, ..before.clone() };
                self.write_budget(actor, Some(&before), &after).await
            }
            None if limits.is_unlimited() => Ok(()),
            None => {
                team.team_member_budget_id = Some(self.new_budget(actor, limits).await?.budget_id);
                Ok(())
            }
        }
    }

    pub(super) async fn new_budget(&self, actor: &Actor, limits: Limits) -> Result<Budget> {
        let budget = Budget {
            budget_id: random_id()?,
            limits,
            allowed_models: Vec::new(),
            created_at: self.now,
            updated_at: self.now,
        };
        self.write_budget(actor, None, &budget).await?;
        Ok(budget)
    }
}

fn id_of(member: &Member) -> String {
    format!("{}/{}", member.team_id, member.user_id)
}
