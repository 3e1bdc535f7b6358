//! Every statement of the directory, in one place and one text for both engines: placeholders are `$1`, and become
//! `?1` where the engine wants that. Loaded once, when a store opens.

mod bulk;
mod ledger;

pub(super) use self::bulk::{Bulk, Kind};
pub(super) use self::ledger::Ledger;
use super::rows::Row;
use crate::domain::{
    AccessGroup, Budget, DeprecatedKey, EndUser, Key, KeyMapping, Member, ObjectPermission, Organization,
    OrganizationMember, Project, SessionKey, Tag, Team, User, UserSession,
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
    pub session_keys: Table,
    pub sessions: Table,
    /// `$1` the hash, `$2` now. Key, user, team, member, organization, project, then the budget rows of key,
    /// organization, project and member.
    pub identity: String,
    /// `$1` a user, `$2` a team, `$3` an organization, empty where none is named. User, team, member, organization,
    /// then the budget rows of organization and member.
    pub principal: String,
    /// `$1` an id of a user.
    pub user_by_sso_id: String,
    /// `$1` an address.
    pub users_by_email: String,
    pub teams_by_alias: String,
    pub organizations_by_alias: String,
    /// `$1` the issuer, `$2` the claim, `$3` its value.
    pub key_mapping: String,
    /// `$1` the end user. With its budget row.
    pub end_user: String,
    pub tags_with_budgets: String,
    pub access_groups_with_budgets: String,
    pub revoked_at: String,
    /// `$1` the new hash, `$2` the old one.
    pub move_key: String,
    /// Deletes the keys and memberships that go with their owner.
    pub keys_of_user: String,
    pub keys_of_team: String,
    pub members_leave_team: String,
    pub user_leaves_teams: String,
    pub members_of_team: String,
    pub members_of_user: String,
    pub newest_session_keys: String,
    pub sessions_of_user: String,
    /// `$1` now, `$2` the user.
    pub revoke_sessions_of_user: String,
    /// `$1` now.
    pub expired_sessions: String,
    /// `$1` the beginning of the period that is.
    pub unused_session_keys: String,
    pub insert_audit: String,
    /// Whether the row `$2` of the table `$1` was imported once, whatever became of it since.
    pub imported: String,
    /// Whether anybody ever wrote the row `$2` of the table `$1`.
    pub audited: String,
    /// Answers the new version.
    pub bump_version: String,
    pub setting: String,
    pub insert_setting: String,
    pub ledger: Ledger,
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
        let (users, teams) = (Table::of::<User>(dialect), Table::of::<Team>(dialect));
        let organizations = Table::of::<Organization>(dialect);
        let mappings = Table::of::<KeyMapping>(dialect);
        let (session_keys, sessions) = (Table::of::<SessionKey>(dialect), Table::of::<UserSession>(dialect));
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
            principal: write(format!(
                "SELECT {}, {}, {}, {}, {}, {} FROM (SELECT 1 AS one) x \
                 LEFT JOIN users u ON u.user_id = $1 \
                 LEFT JOIN teams t ON t.team_id = $2 \
                 LEFT JOIN team_members m ON m.team_id = $2 AND m.user_id = $1 \
                 LEFT JOIN organizations o \
                 ON o.organization_id = COALESCE(NULLIF($3, ''), t.organization_id, u.organization_id) \
                 LEFT JOIN budgets ob ON ob.budget_id = o.budget_id \
                 LEFT JOIN budgets mb ON mb.budget_id = COALESCE(m.budget_id, t.team_member_budget_id)",
                list::<User>("u"),
                list::<Team>("t"),
                list::<Member>("m"),
                list::<Organization>("o"),
                list::<Budget>("ob"),
                list::<Budget>("mb"),
            )),
            user_by_sso_id: write(format!("{} WHERE x.sso_user_id = $1", users.all)),
            users_by_email: write(format!("{} WHERE LOWER(x.user_email) = LOWER($1) LIMIT 2", users.all)),
            teams_by_alias: write(format!("{} WHERE x.team_alias = $1 LIMIT 2", teams.all)),
            organizations_by_alias: write(format!("{} WHERE x.organization_alias = $1 LIMIT 2", organizations.all)),
            key_mapping: write(format!(
                "{} WHERE x.jwt_issuer = $1 AND x.jwt_claim_name = $2 AND x.jwt_claim_value = $3",
                mappings.all
            )),
            end_user: write(format!("{} WHERE x.user_id = $1", with_budget::<EndUser>())),
            tags_with_budgets: write(with_budget::<Tag>()),
            access_groups_with_budgets: write(with_budget::<AccessGroup>()),
            revoked_at: write("SELECT revoke_at FROM deprecated_keys WHERE token = $1".to_owned()),
            move_key: write("UPDATE keys SET token = $1 WHERE token = $2".to_owned()),
            keys_of_user: write("DELETE FROM keys WHERE user_id = $1".to_owned()),
            keys_of_team: write("DELETE FROM keys WHERE team_id = $1".to_owned()),
            members_leave_team: write("DELETE FROM team_members WHERE team_id = $1".to_owned()),
            user_leaves_teams: write("DELETE FROM team_members WHERE user_id = $1".to_owned()),
            members_of_team: write(format!("{} WHERE x.team_id = $1 ORDER BY x.user_id", members.all)),
            members_of_user: write(format!("{} WHERE x.user_id = $1 ORDER BY x.team_id", members.all)),
            newest_session_keys: write(format!("{} ORDER BY x.period_start DESC LIMIT 256", session_keys.all)),
            sessions_of_user: write(format!(
                "{} WHERE x.user_id = $1 ORDER BY x.issued_at DESC, x.sid LIMIT 1000",
                sessions.all
            )),
            revoke_sessions_of_user: write(
                "UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL AND expires_at > $1"
                    .to_owned(),
            ),
            expired_sessions: write("DELETE FROM sessions WHERE expires_at <= $1".to_owned()),
            unused_session_keys: write(
                "DELETE FROM session_keys WHERE period_start < $1 AND kid NOT IN (SELECT kid FROM sessions)".to_owned(),
            ),
            insert_audit: write(
                "INSERT INTO audit_log (id, at, changed_by, changed_by_key, action, table_name, object_id, \
                 before_value, updated_values) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                    .to_owned(),
            ),
            imported: write(
                "SELECT 1 FROM audit_log WHERE table_name = $1 AND object_id = $2 AND action = 'imported' LIMIT 1"
                    .to_owned(),
            ),
            audited: write("SELECT 1 FROM audit_log WHERE table_name = $1 AND object_id = $2 LIMIT 1".to_owned()),
            bump_version: "UPDATE directory_version SET version = version + 1 WHERE id = 1 RETURNING version"
                .to_owned(),
            setting: write("SELECT value FROM settings WHERE name = $1".to_owned()),
            insert_setting: write(
                "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING".to_owned(),
            ),
            teams,
            users,
            organizations,
            projects: Table::of::<Project>(dialect),
            end_users: Table::of::<EndUser>(dialect),
            budgets: Table::of::<Budget>(dialect),
            tags: Table::of::<Tag>(dialect),
            access_groups: Table::of::<AccessGroup>(dialect),
            deprecated: Table::of::<DeprecatedKey>(dialect),
            organization_members: Table::of::<OrganizationMember>(dialect),
            object_permissions: Table::of::<ObjectPermission>(dialect),
            key_mappings: mappings,
            session_keys,
            sessions,
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
            &self.session_keys,
            &self.sessions,
        ];
        let ledger = &self.ledger;
        let single = [
            &self.identity,
            &self.principal,
            &self.user_by_sso_id,
            &self.users_by_email,
            &self.teams_by_alias,
            &self.organizations_by_alias,
            &self.key_mapping,
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
            &self.newest_session_keys,
            &self.sessions_of_user,
            &self.revoke_sessions_of_user,
            &self.expired_sessions,
            &self.unused_session_keys,
            &self.insert_audit,
            &self.imported,
            &self.audited,
            &self.bump_version,
            &self.setting,
            &self.insert_setting,
            &ledger.knows,
            &ledger.known.one,
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
        let columns = ["user_id", "team_id", "organization_id", "project_id", "key_alias", "token", "first_token"];
        let (page, count) = self.keys_where(&columns);
        let found = [self.by(&self.keys, "key_alias"), page, count];
        let fixed = tables.iter().flat_map(|table| table.texts()).chain(single).chain(bulks);
        fixed.cloned().chain(found).chain([VERSION.to_owned()]).collect()
    }
}
