//! The statements of the ledger's tables.

use super::super::rows::{RECORD_COLUMNS, RECORD_NUMBERS};
use super::{Bulk, Dialect, Kind};

/// See the module.
#[derive(Debug)]
pub(in super::super) struct Ledger {
    /// Answers id and sequence of what was inserted.
    pub insert: Bulk,
    pub knows: String,
    /// The same for many, each with its sequence: answers those that are there.
    pub known: Bulk,
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

impl Ledger {
    pub(super) fn load(dialect: Dialect) -> Ledger {
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
            known: Bulk::find(dialect, "ledger", &[("id", text), ("sequence", number)]),
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
            add_key: add("keys", &["first_token"]),
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
