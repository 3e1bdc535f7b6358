//! Internal users. Making one makes its first key too, unless the request says no.

use serde::Deserialize;
use serde_json::{Value, json};

use super::attributes::{Attributes, check_id, random_id};
use super::audit::{Action, Change};
use super::delegation::{self, Grant};
use super::keys::{IssuedKey, Paging};
use super::teams::KEYS_SHOWN;
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::directory::KeyFilter;
use crate::domain::{Limits, Money, Role, Scope, ScopeKind, TeamRole, User};

const TABLE: &str = "users";
/// Names in other software's tables that are no people.
const RESERVED_IDS: [&str; 1] = ["litellm-proxy-budget"];

/// A team a new user joins: its id, or the id with a role and a budget.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Joins {
    Id(String),
    With {
        team_id: String,
        #[serde(default)]
        max_budget_in_team: Option<Money>,
        #[serde(default)]
        user_role: TeamRole,
    },
}

/// A user just made, with its key where one was wanted.
#[derive(Debug)]
pub struct NewUser {
    row: Params,
    key: Option<IssuedKey>,
    warnings: Vec<String>,
}

impl NewUser {
    /// The answer of `/user/new`: the key's answer (the only time its secret shows) with the user's fields over it.
    #[must_use]
    pub fn reveal(self) -> Value {
        let mut answer = match self.key.map(IssuedKey::reveal) {
            Some(Value::Object(answer)) => answer,
            _ => Params::from_iter([("key".to_owned(), Value::Null)]),
        };
        answer.extend(self.row);
        render::with_warnings(answer, &self.warnings)
    }
}

impl Manager {
    pub async fn create_user(&self, actor: &Actor, mut params: Params) -> Result<NewUser> {
        for (name, value) in &self.config.litellm_settings.default_internal_user_params {
            if params.get(name).is_none_or(Value::is_null) {
                params.insert(name.clone(), value.clone());
            }
        }
        let mut attributes = Attributes::new(params);
        let id = match attributes.text("user_id")? {
            Some(id) => id,
            None => random_id()?,
        };
        check_id("user_id", &id)?;
        if RESERVED_IDS.contains(&id.as_str()) || self.store.user(&id).await?.is_some() {
            return Err(ManageError::bad("user_id", format!("user {id:?} exists already")));
        }
        let mut user = User { user_id: id.into(), created_at: self.now, ..User::default() };
        attributes.set_id("organization_id", &mut user.organization_id)?;
        if let Some(first) = attributes.texts("organizations")?.into_iter().next() {
            user.organization_id.get_or_insert_with(|| first.into());
        }
        let wants_key = attributes.optional("auto_create_key")?.unwrap_or(true);
        let joins: Vec<Joins> = attributes.optional("teams")?.unwrap_or_default();
        let key = self.key_of_user(&user, &mut attributes)?;
        let warnings = self.change_user(actor, None, &mut user, attributes).await?;
        let memberships = self.check_joins(actor, &joins).await?;

        self.write_user(actor, None, &user, Action::Created).await?;
        let mut members = Vec::with_capacity(memberships.len());
        for (team, limits, role) in memberships {
            let mut member = self.member_of(&team, Some(user.user_id.to_string()), None, role).await?;
            if !limits.is_unlimited() {
                member.budget_id = Some(self.new_budget(actor, limits).await?.budget_id);
            }
            self.write_member(actor, &member, true).await?;
            members.push(member);
        }
        let key = if wants_key { Some(self.first_key(actor, key).await?) } else { None };
        Ok(NewUser { row: self.user_row(&user, &members), key, warnings })
    }

    /// The first key of a new user. Whoever may make users may make it, though it is somebody else's key.
    async fn first_key(&self, actor: &Actor, key: Params) -> Result<IssuedKey> {
        if !actor.has_granted_route() {
            return self.generate_key(actor, key).await;
        }
        let chosen = Attributes::new(key.clone());
        super::keys::check_chosen(&chosen, actor)?;
        if chosen.sends_value("aliases") && !actor.is_admin() {
            return Err(ManageError::forbidden("only a proxy_admin may set aliases of another's key"));
        }
        self.generate_key(&actor.as_admin(), key).await
    }

    /// Changes what is sent. Users may change their own alias and e-mail address, admins everything.
    pub async fn update_user(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_user_once(actor, params.clone())).await
    }

    async fn update_user_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let before = match (attributes.text("user_id")?, attributes.text("user_email")?) {
            (Some(id), email) => {
                let mut user = self.find_user(&id).await?;
                let before = user.clone();
                if let Some(email) = email {
                    user.user_email = Some(email.into());
                }
                (before, user)
            }
            (None, Some(email)) => {
                let missing = || ManageError::not_found("user_email", "user", &email);
                let user = self.store.user_named(None, Some(&email)).await?.ok_or_else(missing)?;
                (user.clone(), user)
            }
            (None, None) => return Err(ManageError::invalid("user_id", "name a user by user_id or user_email")),
        };
        let (before, mut user) = before;
        let spend: Option<Money> = attributes.optional("spend")?;
        super::attributes::not_negative("spend", spend)?;
        let warnings = self.change_user(actor, Some(&before), &mut user, attributes).await?;
        if !actor.is_admin() {
            let own = actor.user_id() == Some(&user.user_id);
            let only_names = User {
                user_alias: before.user_alias.clone(),
                user_email: before.user_email.clone(),
                updated_at: before.updated_at,
                ..user.clone()
            } == before;
            if !own || !only_names || spend.is_some() {
                return Err(ManageError::forbidden(
                    "you may change only the alias and e-mail address of your own user",
                ));
            }
        }
        if spend.is_some() {
            self.adjuster.ready().await?;
        }
        self.write_user(actor, Some(&before), &user, Action::Updated).await?;
        if let Some(spend) = spend {
            self.adjuster.adjust(Scope::new(ScopeKind::User, &[&user.user_id]), spend).await?;
            user.spend = spend;
        }
        let teams = self.store.memberships_of_user(&user.user_id).await?;
        let row = render::with_warnings(self.user_row(&user, &teams), &warnings);
        Ok(json!({"user_id": user.user_id, "data": row}))
    }

    /// A user, its teams and its first keys; `None` is the caller.
    pub async fn user_info(&self, actor: &Actor, id: Option<&str>) -> Result<Value> {
        let own = actor.user_id().map(|own| &**own);
        let Some(id) = id.or(own) else {
            return Err(ManageError::not_found("user_id", "user", "(none named, and the caller is no user)"));
        };
        if own != Some(id) && !actor.sees_everything() {
            return Err(ManageError::forbidden("you may see only your own user"));
        }
        let user = self.find_user(id).await?;
        let memberships = self.store.memberships_of_user(id).await?;
        let mut teams = Vec::with_capacity(memberships.len());
        for member in &memberships {
            teams.extend(self.store.team(&member.team_id).await?.map(|team| self.team_row(&team, &[])));
        }
        let filter = KeyFilter { user_id: Some(id.to_owned()), limit: KEYS_SHOWN, ..KeyFilter::default() };
        let keys = self.store.list_keys(&filter).await?;
        Ok(json!({
            "user_id": user.user_id,
            "user_info": self.user_row(&user, &memberships),
            "keys": keys.rows.iter().map(|key| self.listed_row(key)).collect::<Vec<_>>(),
            "teams": teams,
        }))
    }

    pub async fn list_users(&self, actor: &Actor, offset: u64, limit: u64) -> Result<Value> {
        self.require_viewer(actor)?;
        let page = self.store.list_users(offset, limit).await?;
        let users: Vec<_> = page.rows.iter().map(|user| self.user_row(user, &[])).collect();
        Ok(json!({"users": users, "total": page.total}))
    }

    /// `/user/list`: one page by `page` and `page_size`.
    pub async fn page_of_users(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let paging = Paging::take(&mut attributes, "page_size", 25)?;
        Ok(paging.describe(self.list_users(actor, paging.offset(), paging.size).await?))
    }

    /// Deletes users by `user_ids` with their keys and memberships.
    pub async fn delete_users(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let ids = Attributes::new(params).texts("user_ids")?;
        if ids.is_empty() {
            return Err(ManageError::invalid("user_ids", "name at least one user in user_ids"));
        }
        let mut users = Vec::with_capacity(ids.len());
        for id in &ids {
            users.push(self.find_user(id).await?);
        }
        for user in &users {
            let id = user.user_id.to_string();
            self.delete_keys_of(actor, KeyFilter { user_id: Some(id.clone()), ..KeyFilter::default() }).await?;
            for member in self.store.memberships_of_user(&id).await? {
                self.remove_member(actor, &member).await?;
            }
            let change = Change { action: Action::Deleted, table: TABLE, id, before: Some(user), after: None };
            self.store.delete_user(&user.user_id, self.audit(actor, change)).await?;
        }
        Ok(json!({"deleted_users": ids}))
    }

    async fn find_user(&self, id: &str) -> Result<User> {
        self.store.user(id).await?.ok_or_else(|| ManageError::not_found("user_id", "user", id))
    }

    /// What of a new user's attributes belongs to its key: the user's own limits bind the key anyway.
    fn key_of_user(&self, user: &User, attributes: &mut Attributes) -> Result<Params> {
        let mut key = Params::new();
        for name in ["key_alias", "duration", "aliases", "allowed_routes", "key_type", "permissions"] {
            if let Some(value) = attributes.optional::<Value>(name)? {
                key.insert(name.to_owned(), value);
            }
        }
        key.insert("user_id".to_owned(), json!(user.user_id));
        Ok(key)
    }

    async fn check_joins(
        &self,
        actor: &Actor,
        joins: &[Joins],
    ) -> Result<Vec<(crate::domain::Team, Limits, TeamRole)>> {
        let mut teams = Vec::with_capacity(joins.len());
        for join in joins {
            let (id, budget, role) = match join {
                Joins::Id(id) => (id, None, TeamRole::User),
                Joins::With { team_id, max_budget_in_team, user_role } => (team_id, *max_budget_in_team, *user_role),
            };
            let missing = || ManageError::bad("teams", format!("team {id:?} does not exist; create it first"));
            let team = self.store.team(id).await?.ok_or_else(missing)?;
            self.check_team_admin(actor, &team).await?;
            super::attributes::not_negative("max_budget_in_team", budget)?;
            teams.push((team, Limits { max_budget: budget, ..Limits::default() }, role));
        }
        Ok(teams)
    }

    async fn change_user(
        &self,
        actor: &Actor,
        before: Option<&User>,
        user: &mut User,
        mut attributes: Attributes,
    ) -> Result<Vec<String>> {
        attributes.set_id("user_alias", &mut user.user_alias)?;
        attributes.set_id("user_email", &mut user.user_email)?;
        attributes.set_id("sso_user_id", &mut user.sso_user_id)?;
        attributes.set_id("organization_id", &mut user.organization_id)?;
        attributes.set_limits(&mut user.limits)?;
        attributes.set("models", &mut user.models)?;
        attributes.set_object("metadata", &mut user.metadata)?;
        if let Some(name) = attributes.take::<String>("user_role")? {
            user.user_role = match name.as_deref() {
                None | Some("") => None,
                Some(name) => Some(Role::parse(name).ok_or_else(|| {
                    let roles: Vec<_> = Role::ALL.iter().map(|role| role.as_str()).collect();
                    ManageError::invalid("user_role", format!("{name:?} is no role; roles are {}", roles.join(", ")))
                })?),
            };
        }
        if before.is_none() {
            self.check_maker(actor, user)?;
        }
        if let Some(email) = user.user_email.clone().filter(|_| before.map(|b| &b.user_email) != Some(&user.user_email))
        {
            if email.len() > 254 || email.chars().any(char::is_control) || !email.contains('@') {
                return Err(ManageError::bad("user_email", "user_email is not an e-mail address"));
            }
            if self.store.user_named(None, Some(&email)).await?.is_some_and(|other| other.user_id != user.user_id) {
                return Err(ManageError::bad(
                    "user_email",
                    format!("a user with the address {email:?} exists already"),
                ));
            }
        }
        if let Some(id) = &user.organization_id {
            let missing = || ManageError::bad("organization_id", format!("organization {id:?} does not exist"));
            let parent = self.grant_of_organization(id).await?.ok_or_else(missing)?;
            delegation::check(&Grant::from(&*user), &parent, &self.config.model_list)?;
        }
        user.updated_at = self.now;
        attributes.finish(&mut user.extra)
    }

    /// Admins make any user; an organization's admin makes plain users of that organization, and a key that was given
    /// the route makes plain users.
    fn check_maker(&self, actor: &Actor, user: &User) -> Result<()> {
        let plain = matches!(user.user_role, None | Some(Role::InternalUser | Role::InternalUserViewer));
        let may = actor.has_granted_route() || self.administers(actor, user.organization_id.as_deref());
        if may && plain { Ok(()) } else { self.require_role_of_admin(actor) }
    }

    async fn write_user(&self, actor: &Actor, before: Option<&User>, user: &User, action: Action) -> Result<()> {
        let change = Change { action, table: TABLE, id: user.user_id.to_string(), before, after: Some(user) };
        Ok(self.store.put_user(user, before.is_none(), self.audit(actor, change)).await?)
    }
}
