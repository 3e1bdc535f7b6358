//! LiteLLM's tables, and what each becomes. Tables that others refer to are read first; every table has a file or a
//! paragraph of its own below.

mod keys;
mod limits;
mod others;
mod teams;
mod users;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::openings::{self, Entity, Spent};
use super::report::Report;
use super::row::{Fault, SourceRow, Taken};
use super::source::Source;
use super::{ImportError, Options};
use crate::directory::import::{Bundle, Incoming};
use crate::domain::{BudgetDuration, Limits, ModelBudget, Money, Record, Scope, Timestamp};

const KEPT: &str = "kept and returned as it is; it has no effect here";
const NOT_ENFORCED: &str = "kept as it is, and not enforced here";
const UNKNOWN: &str = "not known here; not carried";

/// One table: what it becomes, its order, and columns that stay unread because they are secrets.
struct Spec {
    table: &'static str,
    into: &'static str,
    order: &'static [&'static str],
    unread: &'static [&'static str],
    take: fn(&mut Move<'_>, SourceRow),
}

/// In the order in which they are read.
const TABLES: [Spec; 16] = [
    spec("LiteLLM_BudgetTable", "budgets", &["budget_id"], others::budget),
    spec("LiteLLM_ObjectPermissionTable", "object_permissions", &["object_permission_id"], others::object_permission),
    spec("LiteLLM_OrganizationTable", "organizations", &["organization_id"], others::organization),
    spec(
        "LiteLLM_OrganizationMembership",
        "organization_members",
        &["organization_id", "user_id"],
        users::organization_member,
    ),
    Spec { unread: &["password"], ..spec("LiteLLM_UserTable", "users", &["user_id"], users::user) },
    spec("LiteLLM_TeamMembership", "team_members", &["team_id", "user_id"], teams::membership),
    spec("LiteLLM_TeamTable", "teams", &["team_id"], teams::team),
    spec("LiteLLM_ProjectTable", "projects", &["project_id"], others::project),
    spec("LiteLLM_VerificationToken", "keys", &["token"], keys::key),
    spec("LiteLLM_DeprecatedVerificationToken", "deprecated_keys", &["token"], keys::deprecated),
    spec("LiteLLM_JWTKeyMapping", "jwt_key_mappings", &["id"], keys::mapping),
    spec("LiteLLM_EndUserTable", "end_users", &["user_id"], others::end_user),
    spec("LiteLLM_TagTable", "tags", &["tag_name"], others::tag),
    spec("LiteLLM_AccessGroupTable", "access_groups", &["access_group_id"], others::access_group),
    spec("LiteLLM_ModelAccessGroupBudgetTable", "access_groups", &["access_group_name"], others::group_budget),
    // Read before all others: aliases of teams.
    spec("LiteLLM_ModelTable", "teams", &["id"], teams::aliases),
];

const fn spec(
    table: &'static str,
    into: &'static str,
    order: &'static [&'static str],
    take: fn(&mut Move<'_>, SourceRow),
) -> Spec {
    Spec { table, into, order, unread: &[], take }
}

/// Tables whose rows are parts of others.
const PARTS: [&str; 2] = ["LiteLLM_ModelTable", "LiteLLM_ModelAccessGroupBudgetTable"];
const WINDOWS: &str = "LiteLLM_BudgetWindowSpend";

/// What is known to be left behind, and why.
const LEFT: [(&str, &str); 9] = [
    ("LiteLLM_SpendLogs", "history stays where it is; what was spent is carried as opening records"),
    ("LiteLLM_Daily", "history stays where it is; what was spent is carried as opening records"),
    ("LiteLLM_Deleted", "deleted rows stay deleted"),
    ("LiteLLM_AuditLog", "history stays where it is"),
    ("LiteLLM_ErrorLogs", "history stays where it is"),
    ("LiteLLM_ProxyModelTable", "models stand in the configuration, under model_list"),
    ("LiteLLM_CredentialsTable", "providers' credentials belong to the gateway; they are not read"),
    ("LiteLLM_Config", "settings stand in the configuration"),
    ("LiteLLM_SSOConfig", "settings stand in the configuration"),
];

/// A budget row as those who refer to it need it.
struct LinkedBudget {
    limits: Limits,
    reset_at: Option<Timestamp>,
}

/// The import while it reads.
struct Move<'a> {
    options: &'a Options,
    bundle: Bundle,
    report: Report,
    budgets: HashMap<String, LinkedBudget>,
    permissions: HashMap<String, Map<String, Value>>,
    /// What was spent in windows of budgets, by kind and id of the entity.
    windows: BTreeMap<(&'static str, String), Vec<(BudgetDuration, Money)>>,
    aliases: HashMap<String, BTreeMap<String, String>>,
    /// Organizations that a user administers.
    admins: HashMap<String, Vec<Arc<str>>>,
    emails: HashMap<String, Vec<String>>,
    memberships: BTreeMap<(String, String), teams::Membership>,
    /// Rows of the present table that are no rows of ours, or are counted where they become one.
    parts: u64,
}

/// Reads everything in one snapshot.
pub(super) async fn read(
    source: &mut Source,
    options: &Options,
    progress: &mut dyn FnMut(&str),
) -> Result<(Bundle, Report), ImportError> {
    let mut bundle = Bundle::new(options.now, "tollward import litellm".to_owned());
    bundle.dry_run = options.dry_run;
    let mut import = Move {
        options,
        bundle,
        report: Report::new(options.dry_run),
        budgets: HashMap::new(),
        permissions: HashMap::new(),
        windows: BTreeMap::new(),
        aliases: HashMap::new(),
        admins: HashMap::new(),
        emails: HashMap::new(),
        memberships: BTreeMap::new(),
        parts: 0,
    };
    source.each(WINDOWS, &["entity_type", "entity_id"], &[], |row| import.window(row)).await?;
    let (own, aliases) = TABLES.split_at(TABLES.len() - 1);
    for spec in aliases.iter().chain(own) {
        progress(spec.table);
        for column in spec.unread.iter().filter(|column| source.has_column(spec.table, column)) {
            import.report.about(spec.table, column, "a secret of LiteLLM; it is not read");
        }
        if !PARTS.contains(&spec.table) {
            import.report.table(spec.table, spec.into);
        }
        let mut read = 0u64;
        let take = |row| {
            read += 1;
            if read.is_multiple_of(1_000) {
                progress(&format!("{}: {read} rows", spec.table));
            }
            (spec.take)(&mut import, row);
        };
        source.each(spec.table, spec.order, spec.unread, take).await?;
        if !PARTS.contains(&spec.table) {
            // Rows that are no rows here do not count.
            import.report.table(spec.table, spec.into).read += read - std::mem::take(&mut import.parts);
        }
    }
    import.left_members();
    import.left_windows();
    import.dangling();
    let tables: Vec<String> = source.tables().map(str::to_owned).collect();
    for table in tables {
        let is_read = table == WINDOWS || TABLES.iter().any(|spec| spec.table == table);
        if is_read || source.is_empty(&table).await? {
            continue;
        }
        let known = LEFT.iter().find(|(prefix, _)| table.starts_with(prefix));
        import.report.about(&table, "", known.map_or("nothing here corresponds to it; not carried", |(_, why)| why));
    }
    Ok((import.bundle, import.report))
}

impl Move<'_> {
    /// Takes one row through `translate`; what keeps it out is told, and what nobody took as well.
    fn row<T>(
        &mut self,
        table: &'static str,
        name: &str,
        mut row: SourceRow,
        translate: impl FnOnce(&mut Self, &mut SourceRow) -> Taken<T>,
    ) -> Option<T> {
        match translate(self, &mut row) {
            Ok(done) => {
                for (column, _) in row.rest() {
                    self.report.remark(table, &column, UNKNOWN, name);
                }
                Some(done)
            }
            Err(Fault { column, reason }) => {
                self.report.skip(table, &column, &reason, name);
                None
            }
        }
    }

    /// Moves columns that are only kept to `extra`.
    fn keep(
        &mut self,
        table: &str,
        name: &str,
        row: &mut SourceRow,
        columns: &[&str],
        extra: &mut Map<String, Value>,
    ) -> Taken<()> {
        for column in columns {
            let Some(value) = row.take::<Value>(column)?.filter(|value| !super::row::says_nothing(value)) else {
                continue;
            };
            self.report.remark(table, column, KEPT, name);
            extra.insert((*column).to_owned(), value);
        }
        Ok(())
    }

    /// Keeps an object permission with its holder, as LiteLLM answers it.
    fn permission(
        &mut self,
        table: &str,
        name: &str,
        row: &mut SourceRow,
        extra: &mut Map<String, Value>,
    ) -> Taken<()> {
        let Some(id) = row.text("object_permission_id")? else { return Ok(()) };
        self.report.remark(table, "object_permission_id", NOT_ENFORCED, name);
        if let Some(permission) = self.permissions.get(&id) {
            extra.insert("object_permission".to_owned(), Value::Object(permission.clone()));
        }
        extra.insert("object_permission_id".to_owned(), Value::String(id));
        Ok(())
    }

    /// The limits of an entity with those of its budget row, and when that budget is reset.
    fn effective(
        &self,
        own: &Limits,
        budget_id: Option<&str>,
        reset_at: Option<Timestamp>,
    ) -> (Limits, Option<Timestamp>) {
        let Some(budget) = budget_id.and_then(|id| self.budgets.get(id)) else { return (own.clone(), reset_at) };
        let limits = own.clone().or(&budget.limits);
        let reset_at =
            if own.max_budget.is_some() || own.budget_duration.is_some() { reset_at } else { budget.reset_at };
        (limits, reset_at)
    }

    fn openings(&self, entity: &Entity<'_>, spent: Spent) -> Vec<Record> {
        openings::records(entity, spent, &self.options.calendar, self.options.now)
    }

    /// What was spent in the windows of an entity that have not ended.
    fn windows_of(
        &mut self,
        kind: &'static str,
        id: &str,
        table: &str,
        name: &str,
        limits: &Limits,
    ) -> Vec<(BudgetDuration, Money)> {
        if limits.budget_limits.is_empty() {
            return Vec::new();
        }
        let Some(mut known) = self.windows.remove(&(kind, id.to_owned())) else {
            let reason = "what was spent in these windows is not in the database; they begin at zero";
            self.report.remark(table, "budget_limits", reason, name);
            return Vec::new();
        };
        known.retain(|(duration, _)| limits.budget_limits.iter().any(|window| window.budget_duration == *duration));
        known
    }

    fn window(&mut self, mut row: SourceRow) {
        let mut read = || {
            let (kind, id) = (row.id("entity_type")?, row.id("entity_id")?);
            let duration = row.duration("window_duration")?.ok_or_else(|| Fault::new("window_duration", "missing"))?;
            let spend = row.money("spend")?.unwrap_or_default();
            let start = row.time("window_start")?.ok_or_else(|| Fault::new("window_start", "missing"))?;
            let kind = kind.to_ascii_lowercase();
            let known = [("team", "team"), ("user", "user"), ("key", "key"), ("token", "key")];
            let kind = known.into_iter().find(|(word, _)| kind.contains(word)).map(|(_, kind)| kind);
            let kind = kind.ok_or_else(|| Fault::new("entity_type", "nothing here has such windows; not carried"))?;
            Ok(((kind, id), (duration, spend), duration.after(start)))
        };
        match read() {
            Ok((entity, window, ends)) => {
                let windows = self.windows.entry(entity).or_default();
                if ends > self.options.now {
                    windows.push(window);
                }
            }
            Err(Fault { column, reason }) => self.report.remark(WINDOWS, &column, &reason, ""),
        }
    }

    /// Windows of what did not come, or has no such budgets any more. Keys are not named by their whole hash.
    fn left_windows(&mut self) {
        for ((kind, mut id), windows) in std::mem::take(&mut self.windows) {
            if kind == "key" {
                id.truncate(id.char_indices().nth(8).map_or(id.len(), |(end, _)| end));
            }
            if !windows.is_empty() {
                let reason = "its entity is not imported, or has no such budget; not carried";
                self.report.remark(WINDOWS, "entity_id", reason, &format!("{kind} {id}"));
            }
        }
    }

    /// Spend by model: carried where a budget for life hangs on the model, else it is history.
    fn model_spend(
        &mut self,
        table: &str,
        name: &str,
        row: &mut SourceRow,
        limits: &Limits,
        scope: impl Fn(&str) -> Scope,
    ) -> Taken<Vec<(Scope, Money)>> {
        let spent: BTreeMap<String, Money> = row.take("model_spend")?.unwrap_or_default();
        let mut carried = Vec::new();
        for (model, spend) in spent.into_iter().filter(|(_, spend)| !spend.is_zero()) {
            let budget = limits.model_max_budget.get(&model);
            if budget.is_some_and(|budget| budget.max_budget.is_some() && budget.budget_duration.is_none()) {
                carried.push((scope(&model), spend));
            } else {
                let reason = "no budget for life hangs on the model; not carried";
                self.report.remark(table, "model_spend", reason, name);
            }
        }
        let periodic = |budget: &ModelBudget| budget.max_budget.is_some() && budget.budget_duration.is_some();
        if limits.model_max_budget.values().any(periodic) {
            let reason = "carried; what was spent of it is in LiteLLM's cache only, so it begins at zero";
            self.report.remark(table, "model_max_budget", reason, name);
        }
        Ok(carried)
    }

    /// Says of every key what it names and is not among the imported rows, and of what requests name whose budgets are not:
    /// the gate refuses those.
    fn dangling(&mut self) {
        let teams: HashSet<&str> = self.bundle.teams.iter().map(|team| &*team.row.team_id).collect();
        let organizations: HashSet<&str> =
            self.bundle.organizations.iter().map(|row| &*row.row.organization_id).collect();
        let projects: HashSet<&str> = self.bundle.projects.iter().map(|project| &*project.row.project_id).collect();
        for Incoming { row, .. } in &self.bundle.keys {
            let named = [
                ("team_id", row.team_id.as_deref(), &teams),
                ("organization_id", row.organization_id.as_deref(), &organizations),
                ("project_id", row.project_id.as_deref(), &projects),
            ];
            let missing = |(column, id, known): (&'static str, Option<&str>, &HashSet<&str>)| {
                id.filter(|id| !known.contains(id)).map(|_| column)
            };
            let budget = row.budget_id.as_ref().filter(|id| !self.budgets.contains_key(*id)).map(|_| "budget_id");
            for column in named.into_iter().filter_map(missing).chain(budget) {
                let reason = "names a row that is not imported: unless it is here already, the gate refuses the key";
                self.report.remark("LiteLLM_VerificationToken", column, reason, &keys::shown(row));
            }
        }
        let bundle = &self.bundle;
        let end_users = bundle.end_users.iter().map(|Incoming { row, .. }| (&row.user_id, &row.budget_id));
        let tags = bundle.tags.iter().map(|Incoming { row, .. }| (&row.tag_name, &row.budget_id));
        let groups = bundle.access_groups.iter().map(|Incoming { row, .. }| (&row.access_group_name, &row.budget_id));
        let named = end_users
            .map(|named| ("LiteLLM_EndUserTable", named))
            .chain(tags.map(|named| ("LiteLLM_TagTable", named)))
            .chain(groups.map(|named| ("LiteLLM_ModelAccessGroupBudgetTable", named)));
        for (table, (name, budget_id)) in named {
            if budget_id.as_ref().is_some_and(|id| !self.budgets.contains_key(id)) {
                let reason =
                    "names a row that is not imported: unless it is here already, the gate refuses its requests";
                self.report.remark(table, "budget_id", reason, name);
            }
        }
    }
}
