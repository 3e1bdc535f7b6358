//! Resolving a caller: one query, and the limits of linked budget rows filled in.

use std::sync::Arc;

use super::rows::{Columns, Row, Value};
use super::session::{self, Session};
use super::statements::Statements;
use super::{DirectoryError, Result};
use crate::domain::{
    AccessGroup, Budget, EndUser, Identity, Key, KeyHash, Limits, Member, Organization, Principal, Project, Tag, Team,
    Timestamp, User,
};

/// The key and all that belongs to it.
pub(super) async fn of_key(
    session: &mut dyn Session,
    statements: &Statements,
    key: &KeyHash,
    now: Timestamp,
) -> Result<Option<Identity>> {
    let values = vec![Value::Text(key.to_string()), Value::Integer(now.as_millis())];
    session::one(session, &statements.identity, values, |columns| {
        let mut identity = Identity {
            key: Some(Key::read(columns)?),
            user: User::read_joined(columns)?.map(Arc::new),
            team: Team::read_joined(columns)?.map(Arc::new),
            member: Member::read_joined(columns)?.map(Box::new),
            organization: Organization::read_joined(columns)?.map(Arc::new),
            project: Project::read_joined(columns)?.map(Arc::new),
            dangling: None,
        };
        let mut budgets = [None, None, None, None];
        for budget in &mut budgets {
            *budget = Budget::read_joined(columns)?;
        }
        identity.dangling = dangling(&identity, &budgets);
        let [key, organization, project, member] = budgets;
        link(identity.key.as_mut().map(|row| &mut row.limits), key.as_ref());
        link(identity.project.as_mut().map(|row| &mut Arc::make_mut(row).limits), project.as_ref());
        link_members(&mut identity, organization.as_ref(), member.as_ref());
        Ok(identity)
    })
    .await
}

/// What is known of those a token names.
pub(super) async fn of_principal(
    session: &mut dyn Session,
    statements: &Statements,
    principal: &Principal,
) -> Result<Identity> {
    let text = |id: &Option<Arc<str>>| id.as_deref().unwrap_or_default().to_owned();
    let (user, team) = (text(&principal.user_id), text(&principal.team_id));
    let values = [user, team, text(&principal.organization_id)].map(Value::Text).to_vec();
    let found = session::one(session, &statements.principal, values, |columns| {
        let mut identity = Identity {
            user: User::read_joined(columns)?.map(Arc::new),
            team: Team::read_joined(columns)?.map(Arc::new),
            member: Member::read_joined(columns)?.map(Box::new),
            organization: Organization::read_joined(columns)?.map(Arc::new),
            ..Identity::default()
        };
        let (organization, member) = (Budget::read_joined(columns)?, Budget::read_joined(columns)?);
        // A token may name a user who has no row, as a key may: a name without limits of its own.
        if let (None, Some(user_id)) = (&identity.user, &principal.user_id) {
            identity.user = Some(Arc::new(User { user_id: Arc::clone(user_id), ..User::default() }));
        }
        identity.dangling = dangling(&identity, &[None, organization.clone(), None, member.clone()]);
        link_members(&mut identity, organization.as_ref(), member.as_ref());
        Ok(identity)
    })
    .await?;
    Ok(found.unwrap_or_default())
}

/// See [`super::Store::user_named`].
pub(super) async fn user_named(
    session: &mut dyn Session,
    statements: &Statements,
    id: &str,
    email: &str,
) -> Result<Option<User>> {
    if !id.is_empty() {
        for text in [&statements.users.select, &statements.user_by_sso_id] {
            if let Some(user) = session::one(session, text, session::texts(&[id]), User::read).await? {
                return Ok(Some(user));
            }
        }
    }
    if email.is_empty() {
        return Ok(None);
    }
    let mut users = session::all(session, &statements.users_by_email, session::texts(&[email]), User::read).await?;
    let is_anothers = |user: &User| !id.is_empty() && user.sso_user_id.as_ref().is_some_and(|own| own != id);
    if users.len() > 1 || users.iter().any(is_anothers) {
        return Err(DirectoryError::Ambiguous { what: "user", name: email.to_owned() });
    }
    Ok(users.pop())
}

/// Fills in the limits of organization and membership.
fn link_members(identity: &mut Identity, organization: Option<&Budget>, member: Option<&Budget>) {
    link(identity.organization.as_mut().map(|row| &mut Arc::make_mut(row).limits), organization);
    if let (Some(row), Some(budget)) = (&mut identity.member, member)
        && row.allowed_models.is_empty()
    {
        row.allowed_models.clone_from(&budget.allowed_models);
    }
    link(identity.member.as_mut().map(|row| &mut row.limits), member);
}

/// What is named and not there. A user is not among it: keys may carry the ids of users who have no row.
fn dangling(identity: &Identity, [key, organization, project, member]: &[Option<Budget>; 4]) -> Option<String> {
    let row = identity.key.as_ref();
    let team = identity.team.as_ref();
    let of_team = team.and_then(|team| team.organization_id.as_ref());
    let of_key = row.and_then(|row| row.organization_id.as_ref()).or(of_team);
    let organization_id = match &row {
        Some(_) => of_key,
        None => of_key.or(identity.user.as_ref().and_then(|user| user.organization_id.as_ref())),
    };
    let membership = identity.member.as_ref();
    let member_budget = membership.and_then(|row| row.budget_id.as_ref().or(team?.team_member_budget_id.as_ref()));
    let named: [(&str, Option<&str>, bool); 7] = [
        ("team", row.and_then(|row| row.team_id.as_deref()), team.is_some()),
        ("project", row.and_then(|row| row.project_id.as_deref()), identity.project.is_some()),
        ("organization", organization_id.map(|id| &**id), identity.organization.is_some()),
        ("budget", row.and_then(|row| row.budget_id.as_deref()), key.is_some()),
        ("budget", budget_of(identity.organization.as_ref().map(|row| &row.budget_id)), organization.is_some()),
        ("budget", budget_of(identity.project.as_ref().map(|row| &row.budget_id)), project.is_some()),
        ("budget", member_budget.map(String::as_str), member.is_some()),
    ];
    named.into_iter().find_map(|(what, id, found)| id.filter(|_| !found).map(|id| format!("{what} {id:?}")))
}

fn budget_of(budget_id: Option<&Option<String>>) -> Option<&str> {
    budget_id.and_then(Option::as_deref)
}

/// Fills what is absent in the limits of a row from its budget row.
fn link(limits: Option<&mut Limits>, budget: Option<&Budget>) {
    if let (Some(limits), Some(budget)) = (limits, budget) {
        *limits = std::mem::take(limits).or(&budget.limits);
    }
}

/// A row that carries limits and may name a budget row.
trait Limited: Row {
    fn link(&mut self, budget: Option<&Budget>);
}

macro_rules! limited {
    ($($type:ident),+) => {$(
        impl Limited for $type {
            fn link(&mut self, budget: Option<&Budget>) {
                let missing = self.budget_id.as_ref().filter(|_| budget.is_none());
                self.dangling = missing.map(|id| format!("budget {id:?}"));
                link(Some(&mut self.limits), budget);
            }
        }
    )+};
}

limited!(EndUser, Tag, AccessGroup);

fn with_budget<R: Limited>(columns: &mut dyn Columns) -> Result<R> {
    let mut row = R::read(columns)?;
    row.link(Budget::read_joined(columns)?.as_ref());
    Ok(row)
}

pub(super) async fn end_user(
    session: &mut dyn Session,
    statements: &Statements,
    user_id: &str,
) -> Result<Option<EndUser>> {
    session::one(session, &statements.end_user, session::texts(&[user_id]), with_budget).await
}

pub(super) async fn tags(session: &mut dyn Session, statements: &Statements) -> Result<Vec<Tag>> {
    session::all(session, &statements.tags_with_budgets, Vec::new(), with_budget).await
}

pub(super) async fn access_groups(session: &mut dyn Session, statements: &Statements) -> Result<Vec<AccessGroup>> {
    session::all(session, &statements.access_groups_with_budgets, Vec::new(), with_budget).await
}
