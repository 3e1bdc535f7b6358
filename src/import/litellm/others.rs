//! Budgets, object permissions, organizations, projects, end users, tags and access groups.

use serde_json::{Map, Value};

use super::super::openings::{Entity, Spent};
use super::super::row::{SourceRow, Taken};
use super::{LinkedBudget, Move, limits};
use crate::directory::import::Incoming;
use crate::domain::{
    AccessGroup, Budget, EndUser, Limits, ObjectPermission, Organization, Parties, Project, Record, Scope, ScopeKind,
    Tag,
};

const BY: [&str; 2] = ["created_by", "updated_by"];

pub(super) fn budget(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_BudgetTable";
    let id = row.id("budget_id");
    let name = id.clone().unwrap_or_default();
    let now = import.options.now;
    let done = import.row(TABLE, &name, row, |_, row| {
        row.pass_over(&BY);
        let reset_at = row.time("budget_reset_at")?;
        let budget = Budget {
            budget_id: id?,
            limits: limits::take(row, &mut Map::new())?,
            allowed_models: row.texts("allowed_models")?,
            created_at: row.time("created_at")?.unwrap_or(now),
            updated_at: row.time("updated_at")?.unwrap_or(now),
        };
        Ok((budget, reset_at))
    });
    if let Some((budget, reset_at)) = done {
        import.budgets.insert(name, LinkedBudget { limits: budget.limits.clone(), reset_at });
        import.bundle.budgets.push(budget);
    }
}

pub(super) fn object_permission(import: &mut Move<'_>, mut row: SourceRow) {
    let id = row.id("object_permission_id");
    let name = id.clone().unwrap_or_default();
    let done = import.row("LiteLLM_ObjectPermissionTable", &name, row, |_, row| {
        // All of it is kept as it is, known here or not.
        Ok(ObjectPermission { object_permission_id: id?, permissions: row.take_all() })
    });
    if let Some(permission) = done {
        import.permissions.insert(name, permission.permissions.clone());
        import.bundle.object_permissions.push(permission);
    }
}

pub(super) fn organization(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_OrganizationTable";
    let id = row.id("organization_id");
    let name = id.clone().unwrap_or_default();
    let now = import.options.now;
    let done = import.row(TABLE, &name, row, |import, row| {
        row.pass_over(&BY);
        let mut metadata = row.object("metadata")?;
        let limits = limits::take(row, &mut metadata)?;
        import.judge(TABLE, &name, &metadata);
        import.permission(TABLE, &name, row, &mut metadata)?;
        let organization = Organization {
            organization_id: id?.into(),
            organization_alias: row.text("organization_alias")?,
            budget_id: row.text("budget_id")?,
            models: row.texts("models")?,
            limits,
            metadata,
            created_at: row.time("created_at")?.unwrap_or(now),
            updated_at: row.time("updated_at")?.unwrap_or(now),
            ..Organization::default()
        };
        let (effective, reset_at) = import.effective(&organization.limits, organization.budget_id.as_deref(), None);
        let scope = |model: &str| Scope::new(ScopeKind::ModelPerOrganization, &[&name, model]);
        let others = import.model_spend(TABLE, &name, row, &effective, scope)?;
        let spent = Spent { spend: row.money("spend")?.unwrap_or_default(), reset_at, others, ..Spent::default() };
        let parties = Parties { organization_id: Some(organization.organization_id.clone()), ..Parties::default() };
        let scope = Scope::new(ScopeKind::Organization, &[&name]);
        let openings = import.openings(&Entity { table: TABLE, id: &name, scope, parties, limits: &effective }, spent);
        Ok(Incoming { row: organization, openings })
    });
    import.bundle.organizations.extend(done);
}

pub(super) fn project(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_ProjectTable";
    let id = row.id("project_id");
    let name = id.clone().unwrap_or_default();
    let now = import.options.now;
    let done = import.row(TABLE, &name, row, |import, row| {
        row.pass_over(&BY);
        let mut metadata = row.object("metadata")?;
        let limits = limits::take(row, &mut metadata)?;
        let tags = limits::lift(&mut metadata, "tags")?.unwrap_or_default();
        if let Some(description) = row.text("description")? {
            metadata.entry("description").or_insert(Value::String(description));
        }
        import.judge(TABLE, &name, &metadata);
        import.permission(TABLE, &name, row, &mut metadata)?;
        let project = Project {
            project_id: id?.into(),
            project_alias: row.text("project_alias")?,
            team_id: row.text("team_id")?.map(Into::into),
            budget_id: row.text("budget_id")?,
            models: row.texts("models")?,
            blocked: row.flag("blocked")?,
            limits,
            tags,
            metadata,
            created_at: row.time("created_at")?.unwrap_or(now),
            updated_at: row.time("updated_at")?.unwrap_or(now),
            ..Project::default()
        };
        let (effective, reset_at) = import.effective(&project.limits, project.budget_id.as_deref(), None);
        let scope = |model: &str| Scope::new(ScopeKind::ModelPerProject, &[&name, model]);
        let others = import.model_spend(TABLE, &name, row, &effective, scope)?;
        let spent = Spent { spend: row.money("spend")?.unwrap_or_default(), reset_at, others, ..Spent::default() };
        let parties = Parties {
            project_id: Some(project.project_id.clone()),
            team_id: project.team_id.clone(),
            ..Parties::default()
        };
        let scope = Scope::new(ScopeKind::Project, &[&name]);
        let openings = import.openings(&Entity { table: TABLE, id: &name, scope, parties, limits: &effective }, spent);
        Ok(Incoming { row: project, openings })
    });
    import.bundle.projects.extend(done);
}

pub(super) fn end_user(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_EndUserTable";
    let id = row.id("user_id");
    let name = id.clone().unwrap_or_default();
    let done = import.row(TABLE, &name, row, |import, row| {
        // The row has no place of its own for what is only kept.
        let mut metadata = Map::new();
        import.keep(TABLE, &name, row, &["allowed_model_region", "default_model"], &mut metadata)?;
        import.permission(TABLE, &name, row, &mut metadata)?;
        let end_user = EndUser {
            user_id: id?.into(),
            alias: row.text("alias")?,
            blocked: row.flag("blocked")?,
            models: row.texts("models")?,
            budget_id: row.text("budget_id")?,
            metadata,
            ..EndUser::default()
        };
        let default = import.options.end_user_budget.as_deref();
        let parties = Parties { end_user_id: Some(end_user.user_id.clone()), ..Parties::default() };
        let budget_id = end_user.budget_id.as_deref().or(default);
        let openings = spent_under(import, row, (TABLE, &name), (ScopeKind::EndUser, parties), budget_id)?;
        Ok(Incoming { row: end_user, openings })
    });
    import.bundle.end_users.extend(done);
}

/// What an entity has spent that has no limits but those of its budget row.
fn spent_under(
    import: &mut Move<'_>,
    row: &mut SourceRow,
    (table, name): (&'static str, &str),
    (kind, parties): (ScopeKind, Parties),
    budget_id: Option<&str>,
) -> Taken<Vec<Record>> {
    let (limits, reset_at) = import.effective(&Limits::default(), budget_id, None);
    let spent = Spent { spend: row.money("spend")?.unwrap_or_default(), reset_at, ..Spent::default() };
    let scope = Scope::new(kind, &[name]);
    Ok(import.openings(&Entity { table, id: name, scope, parties, limits: &limits }, spent))
}

pub(super) fn tag(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_TagTable";
    let id = row.id("tag_name");
    let name = id.clone().unwrap_or_default();
    let done = import.row(TABLE, &name, row, |import, row| {
        row.pass_over(&["created_at", "created_by", "updated_at", "updated_by"]);
        let tag = Tag {
            tag_name: id?.into(),
            description: row.text("description")?,
            models: row.texts("models")?,
            budget_id: row.text("budget_id")?,
            ..Tag::default()
        };
        let parties = Parties { tags: vec![tag.tag_name.clone()], ..Parties::default() };
        let openings = spent_under(import, row, (TABLE, &name), (ScopeKind::Tag, parties), tag.budget_id.as_deref())?;
        Ok(Incoming { row: tag, openings })
    });
    import.bundle.tags.extend(done);
}

pub(super) fn access_group(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_AccessGroupTable";
    let id = row.id("access_group_id");
    let name = id.clone().unwrap_or_default();
    let done = import.row(TABLE, &name, row, |import, row| {
        row.pass_over(&["created_at", "created_by", "updated_at", "updated_by"]);
        for column in ["access_agent_ids", "access_mcp_server_ids", "access_skill_names", "mcp_tool_permissions"] {
            if row.take::<Value>(column)?.is_some_and(|value| !super::super::row::says_nothing(&value)) {
                import.report.remark(TABLE, column, "grants no models; not carried", &name);
            }
        }
        let group = AccessGroup {
            access_group_id: id?.into(),
            access_group_name: row.id("access_group_name")?.into(),
            description: row.text("description")?,
            access_model_names: row.texts("access_model_names")?,
            assigned_team_ids: row.texts("assigned_team_ids")?,
            assigned_key_ids: row.texts("assigned_key_ids")?,
            ..AccessGroup::default()
        };
        Ok(Incoming { row: group, openings: Vec::new() })
    });
    import.bundle.access_groups.extend(done);
}

/// The budget and spend of an access group, which may stand in the configuration alone.
pub(super) fn group_budget(import: &mut Move<'_>, mut row: SourceRow) {
    const TABLE: &str = "LiteLLM_ModelAccessGroupBudgetTable";
    let id = row.id("access_group_name");
    let name = id.clone().unwrap_or_default();
    let done = import.row(TABLE, &name, row, |import, row| {
        row.pass_over(&["created_at", "created_by", "updated_at", "updated_by"]);
        let name = id?;
        let budget_id = row.text("budget_id")?;
        // Limits of groups hang on their names.
        let hangs_on = (ScopeKind::AccessGroup, Parties::default());
        let openings = spent_under(import, row, (TABLE, &name), hangs_on, budget_id.as_deref())?;
        Ok((name, budget_id, openings))
    });
    let Some((name, budget_id, openings)) = done else { return };
    let known = import.bundle.access_groups.iter_mut().find(|group| *group.row.access_group_name == *name);
    if let Some(group) = known {
        group.row.budget_id = budget_id;
        group.openings = openings;
        return;
    }
    let row = AccessGroup {
        access_group_id: name.as_str().into(),
        access_group_name: name.into(),
        budget_id,
        ..AccessGroup::default()
    };
    import.report.table("LiteLLM_AccessGroupTable", "access_groups").read += 1;
    import.bundle.access_groups.push(Incoming { row, openings });
}
