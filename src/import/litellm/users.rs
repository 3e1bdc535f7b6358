//! Users and their places in organizations. The row that LiteLLM keeps for the spend of the whole proxy becomes an
//! opening of the whole gate.

use std::sync::Arc;

use super::super::openings::{Entity, Spent};
use super::super::row::{SourceRow, Taken};
use super::{Move, limits};
use crate::directory::import::Incoming;
use crate::domain::{Limits, Money, OrganizationMember, Parties, Role, Scope, ScopeKind, User};

const TABLE: &str = "LiteLLM_UserTable";
const MEMBERS: &str = "LiteLLM_OrganizationMembership";

/// The user that is the whole proxy.
const GLOBAL: &str = "litellm-proxy-budget";

const PASSED_OVER: [&str; 5] =
    ["last_breach_check_at", "password_reset_required", "team_id", "teams", "budget_reset_at"];
const KEPT: [&str; 2] = ["allowed_cache_controls", "policies"];

pub(super) fn organization_member(import: &mut Move<'_>, mut row: SourceRow) {
    let ids = row.id("organization_id").and_then(|organization| Ok((organization, row.id("user_id")?)));
    let name = ids.as_ref().map_or_else(|_| String::new(), |(organization, user)| format!("{user} in {organization}"));
    let done = import.row(MEMBERS, &name, row, |import, row| {
        row.pass_over(&["created_at", "updated_at", "created_by", "updated_by"]);
        let (organization, user) = ids?;
        let member = OrganizationMember {
            organization_id: organization.into(),
            user_id: user.into(),
            user_role: row.text("user_role")?,
            budget_id: row.text("budget_id")?,
            spend: row.money("spend")?.unwrap_or_default(),
        };
        if member.budget_id.is_some() {
            import.report.remark(MEMBERS, "budget_id", super::NOT_ENFORCED, &name);
        }
        Ok(member)
    });
    let Some(member) = done else { return };
    if member.user_role.as_deref() == Some(Role::OrgAdmin.as_str()) {
        import.admins.entry(member.user_id.to_string()).or_default().push(Arc::clone(&member.organization_id));
    }
    import.bundle.organization_members.push(member);
}

pub(super) fn user(import: &mut Move<'_>, mut row: SourceRow) {
    let id = row.id("user_id");
    let name = id.clone().unwrap_or_default();
    if name == GLOBAL {
        return global(import, row);
    }
    let done = import.row(TABLE, &name, row, |import, row| read(import, row, &id?));
    if let Some(incoming) = done {
        if let Some(email) = &incoming.row.user_email {
            import.emails.entry(email.to_lowercase()).or_default().push(name);
        }
        import.bundle.users.push(incoming);
    }
}

fn read(import: &mut Move<'_>, row: &mut SourceRow, id: &str) -> Taken<Incoming<User>> {
    let now = import.options.now;
    let reset_at = row.time("budget_reset_at")?;
    row.pass_over(&PASSED_OVER);
    let mut metadata = row.object("metadata")?;
    let role = row.text("user_role")?;
    let known = role.as_deref().map(Role::parse);
    if known == Some(None) {
        import.report.remark(TABLE, "user_role", "unknown; imported as internal_user", id);
    }
    let mut user = User {
        user_id: id.into(),
        user_alias: row.text("user_alias")?,
        user_email: row.text("user_email")?.map(Into::into),
        sso_user_id: row.text("sso_user_id")?,
        user_role: known.flatten(),
        organization_id: row.text("organization_id")?.map(Into::into),
        admin_of: import.admins.remove(id).unwrap_or_default(),
        models: row.texts("models")?,
        limits: limits::take(row, &mut metadata)?,
        created_at: row.time("created_at")?.unwrap_or(now),
        updated_at: row.time("updated_at")?.unwrap_or(now),
        ..User::default()
    };
    import.judge(TABLE, id, &metadata);
    user.metadata = metadata;
    import.keep(TABLE, id, row, &KEPT, &mut user.extra)?;
    import.permission(TABLE, id, row, &mut user.extra)?;
    let scope = |model: &str| Scope::new(ScopeKind::ModelPerUser, &[id, model]);
    let spent = Spent {
        spend: row.money("spend")?.unwrap_or_default(),
        total: row.money("total_spend")?,
        reset_at,
        windows: import.windows_of("user", id, TABLE, id, &user.limits),
        others: import.model_spend(TABLE, id, row, &user.limits, scope)?,
    };
    let parties = Parties { user_id: Some(user.user_id.clone()), ..Parties::default() };
    let scope = Scope::new(ScopeKind::User, &[id]);
    let openings = import.openings(&Entity { table: TABLE, id, scope, parties, limits: &user.limits }, spent);
    Ok(Incoming { row: user, openings })
}

/// The spend of the whole gate. Its budget stands in the configuration.
fn global(import: &mut Move<'_>, row: SourceRow) {
    let done = import.row(TABLE, GLOBAL, row, |import, row| {
        let spend = row.money("spend")?.unwrap_or_default();
        let reset_at = row.time("budget_reset_at")?;
        if import.options.server_runs && !spend.is_zero() {
            let reason = "a server counts what the gate spends; stop it to carry what was spent before";
            import.report.remark(TABLE, "spend", reason, GLOBAL);
            return Ok(Vec::new());
        }
        let limits = Limits {
            max_budget: Some(Money::MAX),
            budget_duration: import.options.global_duration,
            ..Limits::default()
        };
        let entity =
            Entity { table: TABLE, id: GLOBAL, scope: Scope::global(), parties: Parties::default(), limits: &limits };
        let spent = Spent { spend, reset_at, ..Spent::default() };
        let records = import.openings(&entity, spent);
        // The rest of the row is what the configuration says.
        row.clear();
        Ok(records)
    });
    import.parts += 1;
    import.report.remark(
        TABLE,
        "",
        "the whole proxy: its spend opens that of the gate, its budget stands in the configuration",
        GLOBAL,
    );
    import.bundle.global = done.unwrap_or_default();
}
