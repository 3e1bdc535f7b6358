//! Teams and their members. Who belongs to a team stands in the team, what a member may spend in the memberships.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::openings::{Entity, Spent};
use super::super::row::{SourceRow, Taken, says_nothing};
use super::{Move, limits};
use crate::directory::import::Incoming;
use crate::domain::{Member, Money, Parties, Scope, ScopeKind, Team, TeamRole};

const TABLE: &str = "LiteLLM_TeamTable";
const MEMBERS: &str = "LiteLLM_TeamMembership";
const ALIASES: &str = "LiteLLM_ModelTable";

const KEPT: [&str; 4] = ["allow_team_guardrail_config", "default_team_member_models", "policies", "router_settings"];

/// A row of the memberships, until its team comes.
#[derive(Default)]
pub(super) struct Membership {
    spend: Money,
    total: Option<Money>,
    budget_id: Option<String>,
}

/// A member as the team names him.
struct Named {
    email: Option<String>,
    role: TeamRole,
}

/// Aliases of models, which teams refer to.
pub(super) fn aliases(import: &mut Move<'_>, mut row: SourceRow) {
    let read = row.id("id").and_then(|id| Ok((id, row.take("aliases")?.unwrap_or_default())));
    match read {
        Ok((id, aliases)) => drop(import.aliases.insert(id, aliases)),
        Err(fault) => import.report.remark(ALIASES, &fault.column, &fault.reason, ""),
    }
}

pub(super) fn membership(import: &mut Move<'_>, mut row: SourceRow) {
    let ids = row.id("team_id").and_then(|team| Ok((team, row.id("user_id")?)));
    let name = ids.as_ref().map_or_else(|_| String::new(), |(team, user)| format!("{user} in {team}"));
    let read = |_: &mut Move<'_>, row: &mut SourceRow| {
        row.pass_over(&["created_at", "updated_at"]);
        let membership = Membership {
            spend: row.money("spend")?.unwrap_or_default(),
            total: row.money("total_spend")?,
            budget_id: row.text("budget_id")?,
        };
        Ok((ids?, membership))
    };
    if let Some((ids, membership)) = import.row(MEMBERS, &name, row, read) {
        // It is counted with its team.
        import.parts += 1;
        import.memberships.insert(ids, membership);
    }
}

pub(super) fn team(import: &mut Move<'_>, mut row: SourceRow) {
    let id = row.id("team_id");
    let name = id.clone().unwrap_or_default();
    let done = import.row(TABLE, &name, row, |import, row| read(import, row, &id?));
    if let Some((incoming, named)) = done {
        members(import, &incoming.row, named);
        import.bundle.teams.push(incoming);
    }
}

fn read(import: &mut Move<'_>, row: &mut SourceRow, id: &str) -> Taken<(Incoming<Team>, BTreeMap<String, Named>)> {
    let now = import.options.now;
    let mut metadata = row.object("metadata")?;
    let aliases = row.text("model_id")?.and_then(|model| import.aliases.get(&model).cloned());
    let mut team = Team {
        team_id: id.into(),
        team_alias: row.text("team_alias")?.map(Into::into),
        organization_id: row.text("organization_id")?.map(Into::into),
        models: row.texts("models")?,
        model_aliases: aliases.unwrap_or_default(),
        access_group_ids: row.texts("access_group_ids")?,
        blocked: row.flag("blocked")?,
        limits: limits::take(row, &mut metadata)?,
        team_member_budget_id: limits::lift(&mut metadata, "team_member_budget_id")?,
        team_member_permissions: row.texts("team_member_permissions")?,
        tags: limits::lift(&mut metadata, "tags")?.unwrap_or_default(),
        created_at: row.time("created_at")?.unwrap_or(now),
        updated_at: row.time("updated_at")?.unwrap_or(now),
        ..Team::default()
    };
    import.judge(TABLE, id, &metadata);
    team.metadata = metadata;
    import.keep(TABLE, id, row, &KEPT, &mut team.extra)?;
    import.permission(TABLE, id, row, &mut team.extra)?;
    let named = named(import, row, id)?;
    let scope = |model: &str| Scope::new(ScopeKind::ModelPerTeam, &[id, model]);
    let spent = Spent {
        spend: row.money("spend")?.unwrap_or_default(),
        total: row.money("total_spend")?,
        reset_at: row.time("budget_reset_at")?,
        windows: import.windows_of("team", id, TABLE, id, &team.limits),
        others: import.model_spend(TABLE, id, row, &team.limits, scope)?,
    };
    let parties = Parties {
        team_id: Some(team.team_id.clone()),
        organization_id: team.organization_id.clone(),
        ..Parties::default()
    };
    let scope = Scope::new(ScopeKind::Team, &[id]);
    let openings = import.openings(&Entity { table: TABLE, id, scope, parties, limits: &team.limits }, spent);
    Ok((Incoming { row: team, openings }, named))
}

/// The members a team names, by user id: in `members_with_roles`, and in the lists that were there before it.
fn named(import: &mut Move<'_>, row: &mut SourceRow, team: &str) -> Taken<BTreeMap<String, Named>> {
    const COLUMN: &str = "members_with_roles";
    let mut named = BTreeMap::new();
    let entries: Vec<Map<String, Value>> = match row.take::<Value>(COLUMN)? {
        // An empty object is what the column was once created with.
        Some(value) if !says_nothing(&value) => {
            serde_json::from_value(value).map_err(|_| super::Fault::new(COLUMN, "not a list of members"))?
        }
        _ => Vec::new(),
    };
    for entry in entries {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let email = text("user_email").map(str::to_owned);
        let by_email = || {
            let known = import.emails.get(&email.as_ref()?.to_lowercase())?;
            (known.len() == 1).then(|| known[0].clone())
        };
        let Some(id) = text("user_id").map(str::to_owned).or_else(by_email) else {
            let shown = email.unwrap_or_default();
            import.report.remark(TABLE, COLUMN, "a member without a user id whom no e-mail address tells", &shown);
            continue;
        };
        let role = match text("role") {
            Some("admin") => TeamRole::Admin,
            Some("user") | None => TeamRole::User,
            Some(_) => {
                import.report.remark(TABLE, COLUMN, "a role that is not known: imported as user", &id);
                TeamRole::User
            }
        };
        named.insert(id, Named { email, role });
    }
    for (column, role) in [("admins", TeamRole::Admin), ("members", TeamRole::User)] {
        for id in row.texts(column)? {
            named.entry(id).or_insert(Named { email: None, role });
        }
    }
    let memberships = import.memberships.range((team.to_owned(), String::new())..);
    for ((_, user), _) in memberships.take_while(|((of, _), _)| of == team) {
        named.entry(user.clone()).or_insert(Named { email: None, role: TeamRole::User });
    }
    Ok(named)
}

fn members(import: &mut Move<'_>, team: &Team, named: BTreeMap<String, Named>) {
    import.report.table(MEMBERS, "team_members").read += named.len() as u64;
    for (user, Named { email, role }) in named {
        let membership = import.memberships.remove(&(team.team_id.to_string(), user.clone())).unwrap_or_default();
        let member = Member {
            team_id: team.team_id.clone(),
            user_id: user.as_str().into(),
            user_email: email,
            role,
            budget_id: membership.budget_id,
            allowed_models: Vec::new(),
            limits: crate::domain::Limits::default(),
            spend: Money::ZERO,
        };
        let budget = member.budget_id.as_deref().or(team.team_member_budget_id.as_deref());
        let (effective, reset_at) = import.effective(&member.limits, budget, None);
        let scope = Scope::new(ScopeKind::Member, &[&team.team_id, &user]);
        let parties = Parties {
            user_id: Some(member.user_id.clone()),
            team_id: Some(team.team_id.clone()),
            ..Parties::default()
        };
        let spent = Spent { spend: membership.spend, total: membership.total, reset_at, ..Spent::default() };
        let id = scope.as_str().to_owned();
        let entity = Entity { table: MEMBERS, id: &id, scope, parties, limits: &effective };
        let openings = import.openings(&entity, spent);
        import.bundle.members.push(Incoming { row: member, openings });
    }
}

impl Move<'_> {
    /// Memberships in teams that did not come.
    pub(super) fn left_members(&mut self) {
        for ((team, user), _) in std::mem::take(&mut self.memberships) {
            self.report.table(MEMBERS, "team_members").read += 1;
            self.report.skip(MEMBERS, "team_id", "its team is not imported", &format!("{user} in {team}"));
        }
    }
}
