//! Every statement of the directory, in one place and one text for both engines: placeholders are `$1`, and become
//! `?1` where the engine wants that. Loaded once, when a store opens.

use super::rows::{RECORD_COLUMNS, RECORD_NUMBERS, Row};
use crate::domain::{
    AccessGroup, Budget, DeprecatedKey, EndUser, Key, KeyMapping, Member, ObjectPermission, Organization,
    OrganizationMember, Project, Tag, Team, User,
};

/// Counts changes of rows that are cached.
pub(super) const VERSION: &str = "SELECT version FROM directory_version WHERE id = 1";

/// How an engine writes placeholders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `?1`.
    Sqlite,
    /// `$1`.
    Postgres,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
}

/// A statement that is run for many rows.
#[derive(Debug)]
pub(super) struct Bulk {
    /// For one row; its values are `$1`, `$2` …
    pub one: String,
    /// For all rows at once, where the engine can: `$1` is all first values, as an array.
    pub many: Option<String>,
    pub kinds: Vec<Kind>,
}

/// The statements that every table of entities has.
#[derive(Debug)]
pub(super) struct Table {
    /// By primary key.
    pub select: String,
    /// Without a condition, for those that add one.
    pub all: String,
    /// In order of the key, `LIMIT $1 OFFSET $2`.
    pub page: String,
    pub count: String,
    /// All columns; a `spend` is what `period_spend` says the scopes `$n+1` and `$n+2` have spent before.
    pub insert: String,
    /// All columns but the spend, then the key again.
    pub update: String,
    pub delete: String,
    /// Like `insert`, of a row that may be there already, or whose unique names may be taken: then it changes nothing.
    pub import: String,
    /// Whether there is a row of this key.
    pub exists: String,
}

#[derive(Debug)]
pub(super) struct Statements {
    dialect: Dialect,
    pub keys: Table,
    pub teams: Table,
    pub members: Table,
    pub users: Table,
    pub organizations: Table,
    pub projects: Table,
    pub end_users: Table,
    pub budgets: Table,
    pub tags: Table,
    pub access_groups: Table,
    pub deprecated: Table,
    pub organization_members: Table,
    pub object_permissions: Table,
    pub key_mappings: Table,
    /// `$1` the hash, `$2` now. Key, user, team, member, organization, project, then the budget rows of key,
    /// organization, project and member.
    pub identity: String,
    /// `$1` the user. User, organization, its budget row.
    pub user_identity: String,
    /// `$1` the end user. With its budget row.
    pub end_user: String,
    pub tags_with_budgets: String,
    pub access_groups_with_budgets: String,
    pub revoked_at: String,
    /// `$1` the new hash, `$2` the old one. The ledger then carries the spend over.
    pub move_key: String,
    /// Deletes the keys and memberships that go with their owner.
    pub keys_of_user: String,
    pub keys_of_team: String,
    pub members_leave_team: String,
    pub user_leaves_teams: String,
    pub members_of_team: String,
    pub members_of_user: String,
    pub insert_audit: String,
    /// Whether the row `$2` of the table `$1` was imported once, whatever became of it since.
    pub imported: String,
    /// Answers the new version.
    pub bump_version: String,
    pub setting: String,
    pub insert_setting: String,
    pub ledger: Ledger,
}

/// The statements of the ledger's tables.
#[derive(Debug)]
pub(super) struct Ledger {
    /// Answers id and sequence of what was inserted.
    pub insert: Bulk,
    pub knows: String,
    /// The same for one sequence of it.
    pub knows_one: String,
    pub page: String,
    pub count: String,
    pub page_of_key: String,
    pub count_of_key: String,
    pub costs: String,
    pub oldest_day: String,
    pub costs_of_day: String,
    pub count_of_day: String,
    pub remove_day: String,
    pub add_checkpoint: Bulk,
    pub checkpoints: String,
    pub spent: String,
    pub add_period: Bulk,
    pub add_daily: Bulk,
    pub periods: String,
    /// Periods of every scope that hangs on one key: `$1` and two patterns.
    pub periods_of_key: String,
    /// `$1` is added to the spend of the entity `$2` (and `$3`).
    pub add_key: Bulk,
    pub add_team: Bulk,
    pub add_member: Bulk,
    pub add_user: Bulk,
    pub add_organization: Bulk,
    pub add_project: Bulk,
    pub add_end_user: Bulk,
    pub add_tag: Bulk,
    pub add_access_group: Bulk,
}

/// The columns of a row as one select list, spend last.
fn list<R: Row>(alias: &str) -> String {
    let spend = R::SPENDS.then_some("spend");
    let columns = R::columns().iter().copied().chain(spend);
    columns.map(|column| format!("{alias}.{column}")).collect::<Vec<_>>().join(", ")
}

impl Table {
    fn of<R: Row>(dialect: Dialect) -> Table {
        let (table, columns) = (R::TABLE, R::columns());
        let key = |first: usize| {
            let conditions = R::KEY.iter().enumerate().map(|(n, column)| format!("{column} = ${}", first + n));
            conditions.collect::<Vec<_>>().join(" AND ")
        };
        let placeholders = (1..=columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let (spend, spent) = if R::SPENDS {
            let (one, other) = (columns.len() + 1, columns.len() + 2);
            let sum = format!(
                ", COALESCE((SELECT CAST(SUM(spend) AS BIGINT) FROM period_spend WHERE period_id = 'total' AND scope IN \
                 (${one}, ${other})), 0)"
            );
            (", spend", sum)
        } else {
            ("", String::new())
        };
        let assignments = columns.iter().enumerate().map(|(n, column)| format!("{column} = ${}", n + 1));
        let assignments = assignments.collect::<Vec<_>>().join(", ");
        let all = format!("SELECT {} FROM {table} x", list::<R>("x"));
        let insert = format!("INSERT INTO {table} ({}{spend}) VALUES ({placeholders}{spent})", columns.join(", "));
        let write = |text: String| dialect.write(&text);
        Table {
            select: write(format!("{all} WHERE {}", key(1))),
            page: write(format!("{all} ORDER BY {} LIMIT $1 OFFSET $2", R::KEY.join(", "))),
            all: write(all),
            count: write(format!("SELECT COUNT(*) FROM {table}")),
            import: write(format!("{insert} ON CONFLICT DO NOTHING")),
            exists: write(format!("SELECT 1 FROM {table} WHERE {}", key(1))),
            insert: write(insert),
            update: write(format!("UPDATE {table} SET {assignments} WHERE {}", key(columns.len() + 1))),
            delete: write(format!("DELETE FROM {table} WHERE {}", key(1))),
        }
    }

    #[cfg(test)]
    fn texts(&self) -> [&String; 9] {
        let Table { select, all, page, count, insert, update, delete, import, exists } = self;
        [select, all, page, count, insert, update, delete, import, exists]
    }
}

impl Dialect {
    /// The statement as the engine wants its placeholders.
    pub(super) fn write(self, text: &str) -> String {
        match self {
            Dialect::Sqlite => text.replace('$', "?"),
            Dialect::Postgres => text.to_owned(),
        }
    }
}

impl Statements {
    pub(super) fn load(dialect: Dialect) -> Statements {
        let write = |text: String| dialect.write(&text);
        let (keys, members) = (Table::of::<Key>(dialect), Table::of::<Member>(dialect));
        Statements {
            dialect,
            identity: write(format!(
                "SELECT {}, {}, {}, {}, {}, {}, {}, {}, {}, {} FROM keys k \
                 LEFT JOIN users u ON u.user_id = k.user_id \
                 LEFT JOIN teams t ON t.team_id = k.team_id \
                 LEFT JOIN team_members m ON m.team_id = k.team_id AND m.user_id = k.user_id \
                 LEFT JOIN organizations o ON o.organization_id = COALESCE(k.organization_id, t.organization_id) \
                 LEFT JOIN projects p ON p.project_id = k.project_id \
                 LEFT JOIN budgets kb ON kb.budget_id = k.budget_id \
                 LEFT JOIN budgets ob ON ob.budget_id = o.budget_id \
                 LEFT JOIN budgets pb ON pb.budget_id = p.budget_id \
                 LEFT JOIN budgets mb ON mb.budget_id = COALESCE(m.budget_id, t.team_member_budget_id) \
                 WHERE k.token = COALESCE((SELECT token FROM keys WHERE token = $1), \
                 (SELECT active_token FROM deprecated_keys WHERE token = $1 AND revoke_at > $2))",
                list::<Key>("k"),
                list::<User>("u"),
                list::<Team>("t"),
                list::<Member>("m"),
                list::<Organization>("o"),
                list::<Project>("p"),
                list::<Budget>("kb"),
                list::<Budget>("ob"),
                list::<Budget>("pb"),
                list::<Budget>("mb"),
            )),
            user_identity: write(format!(
                "SELECT {}, {}, {} FROM users u \
                 LEFT JOIN organizations o ON o.organization_id = u.organization_id \
                 LEFT JOIN budgets ob ON ob.budget_id = o.budget_id WHERE u.user_id = $1",
                list::<User>("u"),
                list::<Organization>("o"),
                list::<Budget>("ob"),
            )),
            end_user: write(format!("{} WHERE x.user_id = $1", with_budget::<EndUser>())),
            tags_with_budgets: write(with_budget::<Tag>()),
            access_groups_with_budgets: write(with_budget::<AccessGroup>()),
            revoked_at: write("SELECT revoke_at FROM deprecated_keys WHERE token = $1".to_owned()),
            move_key: write("UPDATE keys SET token = $1, spend = 0 WHERE token = $2".to_owned()),
            keys_of_user: write("DELETE FROM keys WHERE user_id = $1".to_owned()),
            keys_of_team: write("DELETE FROM keys WHERE team_id = $1".to_owned()),
            members_leave_team: write("DELETE FROM team_members WHERE team_id = $1".to_owned()),
            user_leaves_teams: write("DELETE FROM team_members WHERE user_id = $1".to_owned()),
            members_of_team: write(format!("{} WHERE x.team_id = $1 ORDER BY x.user_id", members.all)),
            members_of_user: write(format!("{} WHERE x.user_id = $1 ORDER BY x.team_id", members.all)),
            insert_audit: write(
                "INSERT INTO audit_log (id, at, changed_by, changed_by_key, action, table_name, object_id, \
                 before_value, updated_values) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                    .to_owned(),
            ),
            imported: write(
                "SELECT 1 FROM audit_log WHERE table_name = $1 AND object_id = $2 AND action = 'imported' LIMIT 1"
                    .to_owned(),
            ),
            bump_version: "UPDATE directory_version SET version = version + 1 WHERE id = 1 RETURNING version"
                .to_owned(),
            setting: write("SELECT value FROM settings WHERE name = $1".to_owned()),
            insert_setting: write(
                "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING".to_owned(),
            ),
            teams: Table::of::<Team>(dialect),
            users: Table::of::<User>(dialect),
            organizations: Table::of::<Organization>(dialect),
            projects: Table::of::<Project>(dialect),
            end_users: Table::of::<EndUser>(dialect),
            budgets: Table::of::<Budget>(dialect),
            tags: Table::of::<Tag>(dialect),
            access_groups: Table::of::<AccessGroup>(dialect),
            deprecated: Table::of::<DeprecatedKey>(dialect),
            organization_members: Table::of::<OrganizationMember>(dialect),
            object_permissions: Table::of::<ObjectPermission>(dialect),
            key_mappings: Table::of::<KeyMapping>(dialect),
            ledger: Ledger::load(dialect),
            keys,
            members,
        }
    }

    /// One page of keys and their number, under conditions over columns of `keys`; their values come first, then limit
    /// and offset.
    pub(super) fn keys_where(&self, columns: &[&str]) -> (String, String) {
        let conditions = columns.iter().enumerate().map(|(n, column)| format!("x.{column} = ${}", n + 1));
        let conditions = conditions.collect::<Vec<_>>().join(" AND ");
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {conditions}") };
        let (limit, offset) = (columns.len() + 1, columns.len() + 2);
        let order = "ORDER BY x.created_at DESC, x.token";
        (
            self.dialect.write(&format!("{}{filter} {order} LIMIT ${limit} OFFSET ${offset}", self.keys.all)),
            self.dialect.write(&format!("SELECT COUNT(*) FROM keys x{filter}")),
        )
    }

    /// A row found by one column.
    pub(super) fn by(&self, table: &Table, column: &str) -> String {
        self.dialect.write(&format!("{} WHERE x.{column} = $1", table.all))
    }
}

/// All rows of a table, each with its budget row.
fn with_budget<R: Row>() -> String {
    format!(
        "SELECT {}, {} FROM {} x LEFT JOIN budgets b ON b.budget_id = x.budget_id",
        list::<R>("x"),
        list::<Budget>("b"),
        R::TABLE
    )
}

impl Bulk {
    /// Inserts rows of these columns; `conflict` says what happens where there is one.
    fn insert(dialect: Dialect, table: &str, columns: &[(&str, Kind)], conflict: &str) -> Bulk {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let kinds: Vec<Kind> = columns.iter().map(|(_, kind)| *kind).collect();
        let placeholders = (1..=columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let one = dialect.write(&format!("INSERT INTO {table} ({names}) VALUES ({placeholders}) {conflict}"));
        let many = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                Some(format!("INSERT INTO {table} ({names}) SELECT * FROM {} {conflict}", arrays(&kinds)))
            }
        };
        Bulk { one, many, kinds }
    }

    /// Adds `$1` to the spend of the entity with the key `$2` (and `$3`).
    fn add(dialect: Dialect, table: &str, key: &[&str]) -> Bulk {
        let kinds: Vec<Kind> = std::iter::once(Kind::Integer).chain(key.iter().map(|_| Kind::Text)).collect();
        let condition = |value: &dyn Fn(usize) -> String| {
            let equal = key.iter().enumerate().map(|(n, column)| format!("{column} = {}", value(n + 2)));
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let one = condition(&|n| format!("${n}"));
        let one = dialect.write(&format!("UPDATE {table} SET spend = spend + $1 WHERE {one}"));
        let many = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                let names = (1..=kinds.len()).map(|n| format!("v{n}")).collect::<Vec<_>>().join(", ");
                Some(format!(
                    "UPDATE {table} SET spend = spend + v1 FROM {} AS added ({names}) WHERE {}",
                    arrays(&kinds),
                    condition(&|n| format!("v{n}"))
                ))
            }
        };
        Bulk { one, many, kinds }
    }
}

/// The rows that arrays of values are the columns of.
fn arrays(kinds: &[Kind]) -> String {
    let array = |(n, kind): (usize, &Kind)| match kind {
        Kind::Integer => format!("${}::BIGINT[]", n + 1),
        Kind::Text => format!("${}::TEXT[]", n + 1),
    };
    format!("UNNEST({})", kinds.iter().enumerate().map(array).collect::<Vec<_>>().join(", "))
}

impl Ledger {
    fn load(dialect: Dialect) -> Ledger {
        let columns = RECORD_COLUMNS.join(", ");
        let kind = |name: &str| if RECORD_NUMBERS.contains(&name) { Kind::Integer } else { Kind::Text };
        let kinds: Vec<(&str, Kind)> = RECORD_COLUMNS.iter().map(|name| (*name, kind(name))).collect();
        let write = |text: &str| dialect.write(text);
        let page = |filter: &str, limit: usize| {
            let offset = limit + 1;
            let order = "ORDER BY settled_at DESC, id, sequence";
            write(&format!("SELECT {columns} FROM ledger{filter} {order} LIMIT ${limit} OFFSET ${offset}"))
        };
        let add = |table: &str, key: &[&str]| Bulk::add(dialect, table, key);
        let (number, text) = (Kind::Integer, Kind::Text);
        Ledger {
            insert: Bulk::insert(
                dialect,
                "ledger",
                &kinds,
                "ON CONFLICT (day, id, sequence) DO NOTHING RETURNING id, sequence",
            ),
            knows: write("SELECT sequence FROM ledger WHERE id = $1 LIMIT 1"),
            knows_one: write("SELECT sequence FROM ledger WHERE id = $1 AND sequence = $2"),
            page: page("", 1),
            count: write("SELECT COUNT(*) FROM ledger"),
            page_of_key: page(" WHERE token = $1", 2),
            count_of_key: write("SELECT COUNT(*) FROM ledger WHERE token = $1"),
            costs: write("SELECT cost, accounts FROM ledger"),
            oldest_day: write("SELECT MIN(day) FROM ledger"),
            costs_of_day: write("SELECT cost, accounts FROM ledger WHERE day = $1"),
            count_of_day: write("SELECT COUNT(*) FROM ledger WHERE day = $1"),
            remove_day: write("DELETE FROM ledger WHERE day = $1"),
            add_checkpoint: Bulk::insert(
                dialect,
                "ledger_checkpoint",
                &[("scope", text), ("period_id", text), ("spend", number)],
                "ON CONFLICT (scope, period_id) DO UPDATE SET spend = ledger_checkpoint.spend + excluded.spend",
            ),
            checkpoints: write("SELECT scope, period_id, spend FROM ledger_checkpoint"),
            spent: write("SELECT spend FROM period_spend WHERE scope = $1 AND period_id = $2"),
            add_period: Bulk::insert(
                dialect,
                "period_spend",
                &[
                    ("scope", text),
                    ("period_id", text),
                    ("period_start", number),
                    ("period_end", number),
                    ("spend", number),
                ],
                "ON CONFLICT (scope, period_id) DO UPDATE SET spend = period_spend.spend + excluded.spend",
            ),
            add_daily: Bulk::insert(
                dialect,
                "daily_spend",
                &[
                    ("day", number),
                    ("scope", text),
                    ("model", text),
                    ("requests", number),
                    ("input_tokens", number),
                    ("output_tokens", number),
                    ("spend", number),
                ],
                "ON CONFLICT (day, scope, model) DO UPDATE SET \
                 requests = daily_spend.requests + excluded.requests, \
                 input_tokens = daily_spend.input_tokens + excluded.input_tokens, \
                 output_tokens = daily_spend.output_tokens + excluded.output_tokens, \
                 spend = daily_spend.spend + excluded.spend",
            ),
            periods: write("SELECT scope, period_id, spend FROM period_spend"),
            periods_of_key: write(
                "SELECT scope, period_id, period_start, period_end, spend FROM period_spend \
                 WHERE scope = $1 OR scope LIKE $2 OR scope LIKE $3",
            ),
            add_key: add("keys", &["token"]),
            add_team: add("teams", &["team_id"]),
            add_member: add("team_members", &["team_id", "user_id"]),
            add_user: add("users", &["user_id"]),
            add_organization: add("organizations", &["organization_id"]),
            add_project: add("projects", &["project_id"]),
            add_end_user: Bulk::insert(
                dialect,
                "end_users",
                &[("spend", number), ("user_id", text)],
                "ON CONFLICT (user_id) DO UPDATE SET spend = end_users.spend + excluded.spend",
            ),
            add_tag: add("tags", &["tag_name"]),
            // A group may be charged by its id and by its name at once; one statement for all would add only one.
            add_access_group: Bulk {
                one: write(
                    "UPDATE access_groups SET spend = spend + $1 WHERE access_group_id = $2 OR access_group_name = $2",
                ),
                many: None,
                kinds: vec![number, text],
            },
        }
    }
}

#[cfg(test)]
impl Statements {
    /// Every statement, so that a test can ask an engine to read each.
    pub(super) fn texts(&self) -> Vec<String> {
        let tables = [
            &self.keys,
            &self.teams,
            &self.members,
            &self.users,
            &self.organizations,
            &self.projects,
            &self.end_users,
            &self.budgets,
            &self.tags,
            &self.access_groups,
            &self.deprecated,
            &self.organization_members,
            &self.object_permissions,
            &self.key_mappings,
        ];
        let ledger = &self.ledger;
        let single = [
            &self.identity,
            &self.user_identity,
            &self.end_user,
            &self.tags_with_budgets,
            &self.access_groups_with_budgets,
            &self.revoked_at,
            &self.move_key,
            &self.keys_of_user,
            &self.keys_of_team,
            &self.members_leave_team,
            &self.user_leaves_teams,
            &self.members_of_team,
            &self.members_of_user,
            &self.insert_audit,
            &self.imported,
            &self.bump_version,
            &self.setting,
            &self.insert_setting,
            &ledger.knows,
            &ledger.knows_one,
            &ledger.page,
            &ledger.count,
            &ledger.page_of_key,
            &ledger.count_of_key,
            &ledger.costs,
            &ledger.oldest_day,
            &ledger.costs_of_day,
            &ledger.count_of_day,
            &ledger.remove_day,
            &ledger.checkpoints,
            &ledger.spent,
            &ledger.periods,
            &ledger.periods_of_key,
        ];
        let bulks = [
            &ledger.insert,
            &ledger.add_checkpoint,
            &ledger.add_period,
            &ledger.add_daily,
            &ledger.add_key,
            &ledger.add_team,
            &ledger.add_member,
            &ledger.add_user,
            &ledger.add_organization,
            &ledger.add_project,
            &ledger.add_end_user,
            &ledger.add_tag,
            &ledger.add_access_group,
        ];
        let bulks = bulks.into_iter().flat_map(|bulk| std::iter::once(&bulk.one).chain(&bulk.many));
        let columns = ["user_id", "team_id", "organization_id", "project_id", "key_alias", "token"];
        let (page, count) = self.keys_where(&columns);
        let found = [self.by(&self.keys, "key_alias"), self.by(&self.users, "user_email"), page, count];
        let fixed = tables.iter().flat_map(|table| table.texts()).chain(single).chain(bulks);
        fixed.cloned().chain(found).chain([VERSION.to_owned()]).collect()
    }
}
