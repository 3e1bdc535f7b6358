//! From an assertion to a caller: the directory says what the named user, team and organization stand for.

mod key;
mod limits;
mod sync;
mod team;
mod user;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Ask;
use super::assertion::{Assertion, Named, RoleClaim};
use super::virtual_key::unavailable;
use crate::authz::models::Catalog;
use crate::config::Config;
use crate::directory::{AuditEntry, Directory, DirectoryError, Named as Name};
use crate::domain::{Caller, Denial, ErrorType, Grant, KeyHash, Principal, Role, Timestamp, Trace};
use limits::Narrowed;

/// See the module.
pub struct Resolver {
    /// Tells it from the resolvers of other configurations.
    number: u64,
    directory: Arc<Directory>,
    catalog: Arc<Catalog>,
    narrowed: Narrowed,
    /// When the last token was issued (`iat`) by which a user was synchronised.
    synced: Cache<Arc<str>, f64>,
    /// What new users and teams begin with.
    user_defaults: Map<String, Value>,
    team_defaults: Map<String, Value>,
}

impl Resolver {
    #[must_use]
    pub fn new(config: &Config, directory: Arc<Directory>, catalog: Arc<Catalog>) -> Self {
        static RESOLVERS: AtomicU64 = AtomicU64::new(0);
        Resolver {
            number: RESOLVERS.fetch_add(1, Ordering::Relaxed),
            directory,
            catalog,
            narrowed: Narrowed::default(),
            synced: Cache::new(16_384),
            user_defaults: config.litellm_settings.default_internal_user_params.clone(),
            team_defaults: config.litellm_settings.default_team_params.clone(),
        }
    }

    /// The caller an assertion stands for.
    ///
    /// # Errors
    /// 401, 403 or 404 where the directory refuses what is named; 503 where it does not answer.
    pub async fn resolve(&self, assertion: &Assertion, ask: &Ask<'_>, trace: &mut Trace) -> Result<Caller, Denial> {
        if let Some(key) = &assertion.key {
            return self.of_key(assertion, key, ask).await;
        }
        if let Some(grant) = assertion.grant.as_ref().filter(|grant| grant.is_unchecked) {
            return Ok(self.alone(assertion, grant));
        }
        user::check_domain(assertion)?;
        if let Some(claim) = &assertion.key_claim
            && let Some(key) = self.mapped(claim, trace).await?
        {
            return self.of_key(assertion, &key, ask).await;
        }
        let user_id = self.user(assertion, ask.now).await?;
        let team_id = self.team(assertion, user_id.as_ref(), ask, trace).await?;
        let organization_id = self.organization(assertion).await?;
        let principal = Principal { user_id, team_id, organization_id };
        let identity = self.directory.principal(&principal).await.map_err(|error| unavailable(&error))?;
        if let Some(team_id) = principal.team_id.as_ref().filter(|_| identity.team.is_none()) {
            return Err(no_such_team(team_id));
        }
        if principal.organization_id.is_some() && identity.organization.is_none() {
            return Err(no_such_organization());
        }
        if names_nobody(&principal) && assertion.role != RoleClaim::Is(Role::ProxyAdmin) {
            return Err(nobody());
        }
        let of_team = identity.team.as_ref().and_then(|team| team.organization_id.as_ref());
        if let (Some(claimed), Some(own)) = (&principal.organization_id, of_team)
            && claimed != own
        {
            let message = "the team of this credential is of another organization than the credential names";
            let denial = Denial::new(ErrorType::AuthError, "organization.foreign", message).param("organization_id");
            return Err(Denial { status: 403, ..denial });
        }
        self.sync(assertion, &identity, ask).await?;
        if let Some(key) = self.register(assertion, &identity, ask).await? {
            trace.step("claim", format_args!("the key {key} was made for it"));
            return self.of_key(assertion, &key, ask).await;
        }
        let of_directory = identity.user.as_ref().and_then(|user| user.user_role);
        let own = of_directory.unwrap_or(match (&principal.user_id, &principal.team_id) {
            // Who names a team and no user acts for the team.
            (None, Some(_)) => Role::Team,
            _ => Role::InternalUser,
        });
        let identity = self.narrowed.of(identity, assertion.grant.as_deref());
        let role = granted(assertion.role, own);
        Ok(Caller { method: assertion.method, role, identity, grant: assertion.grant.clone() })
    }

    /// The caller an assertion stands for, where all that it names is at hand and nothing is chosen, created or written:
    /// without waiting. What is unusual in any way is left to [`Resolver::resolve`].
    #[must_use]
    pub fn at_hand(&self, assertion: &Assertion, ask: &Ask<'_>) -> Option<Caller> {
        let Assertion { key, key_claim, teams, organization, rules, grant, .. } = assertion;
        if rules.team_header && team::is_chosen(ask) {
            return None;
        }
        if let Some(caller) = assertion.settled.get(self.number, &self.directory) {
            return Some(caller);
        }
        let is_plain = key.is_none()
            && key_claim.is_none()
            && organization.is_none()
            && teams.list.is_empty()
            && !grant.as_ref().is_some_and(|grant| grant.is_unchecked)
            && !(rules.sync_user_role_and_teams || rules.join_claimed_teams);
        if !is_plain {
            return None;
        }
        user::check_domain(assertion).ok()?;
        let (id, email) = (assertion.user_id.clone(), assertion.user_email.clone());
        let (user_id, named_as_of) = self.directory.id_at_hand(&Name::User { id, email })?;
        let team_id = match &teams.one {
            Some(Named::Id(id)) => Some(Arc::clone(id)),
            Some(Named::Alias(_)) => return None,
            None if teams.default.is_some() || rules.team_required || rules.fallback_to_db_teams => return None,
            None if rules.enforce_team_based_model_access => return None,
            None => None,
        };
        let principal = Principal { user_id: Some(user_id), team_id, organization_id: None };
        let (identity, as_of) = self.directory.principal_at_hand(&principal)?;
        if principal.team_id.is_some() && identity.team.is_none() {
            return None;
        }
        let own = identity.user.as_ref().and_then(|user| user.user_role).unwrap_or_default();
        let identity = self.narrowed.of(identity, grant.as_deref());
        let role = granted(assertion.role, own);
        let caller = Caller { method: assertion.method, role, identity, grant: grant.clone() };
        assertion.settled.keep(self.number, &caller, named_as_of.and(as_of));
        Some(caller)
    }

    /// A caller who is known already, held to what an assertion that comes besides allows.
    #[must_use]
    pub fn narrow(&self, caller: Caller, assertion: &Assertion) -> Caller {
        let role = match assertion.role {
            RoleClaim::AtMost(ceiling) => caller.role.narrowed_to(ceiling),
            RoleClaim::None | RoleClaim::Is(_) => caller.role,
        };
        let Some(besides) = &assertion.grant else { return Caller { role, ..caller } };
        let identity = self.narrowed.of(caller.identity, Some(&**besides));
        let grant = match caller.grant {
            Some(own) => Arc::new(own.and(besides)),
            None => Arc::clone(besides),
        };
        Caller { role, identity, grant: Some(grant), ..caller }
    }

    /// A caller of whom the directory is not asked: who it is said to be, and nothing else binds but the grant.
    fn alone(&self, assertion: &Assertion, grant: &Arc<Grant>) -> Caller {
        let user_id = assertion.user_id.clone().or_else(|| assertion.user_email.clone());
        let team_id = match &assertion.teams.one {
            Some(Named::Id(id)) => Some(Arc::clone(id)),
            Some(Named::Alias(_)) | None => None,
        };
        let role = match assertion.role {
            RoleClaim::Is(role) => role,
            RoleClaim::AtMost(ceiling) => Role::default().narrowed_to(ceiling),
            RoleClaim::None if user_id.is_none() => Role::Team,
            RoleClaim::None => Role::InternalUser,
        };
        let identity = self.narrowed.alone(user_id, assertion.user_email.clone(), team_id, grant);
        Caller { method: assertion.method, role, identity, grant: Some(Arc::clone(grant)) }
    }

    async fn of_key(&self, assertion: &Assertion, key: &KeyHash, ask: &Ask<'_>) -> Result<Caller, Denial> {
        let found = self.directory.identity(key, ask.now).await.map_err(|error| unavailable(&error))?;
        let Some(identity) = found else {
            let message = "Authentication Error: the credential stands for a key that is no longer there";
            return Err(Denial::new(ErrorType::TokenNotFound, "credential.mapped_key_gone", message).param("key"));
        };
        let role = identity.user.as_ref().and_then(|user| user.user_role).unwrap_or_default();
        let role = match assertion.role {
            RoleClaim::None | RoleClaim::Is(_) => role,
            RoleClaim::AtMost(ceiling) => role.narrowed_to(ceiling),
        };
        let identity = self.narrowed.of(identity, assertion.grant.as_deref());
        Ok(Caller { method: assertion.method, role, identity, grant: assertion.grant.clone() })
    }

    async fn organization(&self, assertion: &Assertion) -> Result<Option<Arc<str>>, Denial> {
        match &assertion.organization {
            None => Ok(None),
            Some(Named::Id(id)) => Ok(Some(Arc::clone(id))),
            Some(Named::Alias(alias)) => {
                let name = Name::Organization { alias: Arc::clone(alias) };
                let found = self.directory.id_of(&name).await.map_err(|error| unavailable(&error))?;
                found.map(Some).ok_or_else(no_such_organization)
            }
        }
    }
}

/// The role of a request, by what is claimed and what the directory says.
fn granted(claim: RoleClaim, own: Role) -> Role {
    match claim {
        RoleClaim::Is(role) => role,
        RoleClaim::AtMost(ceiling) => own.narrowed_to(ceiling),
        RoleClaim::None => own,
    }
}

fn names_nobody(principal: &Principal) -> bool {
    principal.user_id.is_none() && principal.team_id.is_none() && principal.organization_id.is_none()
}

/// Who is good for nothing in particular would be good for everything, and pay for nothing.
fn nobody() -> Denial {
    let message = "Authentication Error: the credential is good, and names no user, team or organization";
    Denial::new(ErrorType::AuthError, "credential.names_nobody", message)
}

/// A line of the audit log about a row that an assertion brought about.
fn created<T: Serialize>(table: &'static str, id: &str, row: &T, now: Timestamp) -> AuditEntry {
    audit("created", table, id, None, Some(row), now)
}

fn audit<T: Serialize>(
    action: &'static str,
    table: &'static str,
    id: &str,
    before: Option<&T>,
    after: Option<&T>,
    now: Timestamp,
) -> AuditEntry {
    let value = |row: Option<&T>| row.and_then(|row| serde_json::to_value(row).ok());
    AuditEntry {
        at: now,
        changed_by: "identity provider".to_owned(),
        changed_by_key: None,
        action,
        table,
        object_id: id.to_owned(),
        before: value(before),
        after: value(after),
    }
}

/// Who was faster created the same row.
fn put(written: Result<(), DirectoryError>) -> Result<(), Denial> {
    match written {
        Ok(()) | Err(DirectoryError::Exists { .. }) => Ok(()),
        Err(error) => Err(unavailable(&error)),
    }
}

fn no_such_organization() -> Denial {
    let message = "the organization that the credential names does not exist, or several have its alias";
    Denial::new(ErrorType::AuthError, "organization.unknown", message)
}

fn no_such_team(team_id: &str) -> Denial {
    let shown: String = team_id.chars().take(100).flat_map(char::escape_debug).collect();
    let message = format!("the team {shown:?} that the credential names does not exist");
    Denial { status: 404, ..Denial::new(ErrorType::AuthError, "team.unknown", message).param("team_id") }
}
