//! [`Store`] on SQLite: which statement each call is.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::import::{Bundle, Imported};
use super::super::rows::{Column, Row, Value, read_record};
use super::super::{AuditEntry, KeyFilter, Page, Result, Store, Verification};
use super::{BATCH, CALL, SqliteStore, WHOLE_LEDGER, errors, identity, keys, ledger, rows, verify};
use crate::domain::{
    AccessGroup, Account, Budget, EndUser, HoldId, Identity, Key, KeyHash, Member, Money, Organization, Project,
    Record, Tag, Team, Timestamp, User,
};

/// The calls every entity has: one row, one page, put, delete.
macro_rules! row {
    ($self:ident, $table:ident, $($key:expr),+) => {{
        let key = rows::texts(&[$($key),+]);
        $self.read(CALL, move |connection, statements| {
            rows::one(connection, &statements.$table.select, key, Row::read)
        }).await
    }};
}

macro_rules! page {
    ($self:ident, $table:ident, $offset:ident, $limit:ident) => {
        $self
            .read(CALL, move |connection, statements| {
                let table = &statements.$table;
                rows::page(connection, (&table.page, &table.count), (Vec::new(), $offset, $limit), Row::read)
            })
            .await
    };
}

macro_rules! put {
    ($self:ident, $table:ident, $row:ident, $create:ident, $audit:ident) => {{
        let row = $row.clone();
        $self
            .change($audit, move |transaction, statements| rows::put(transaction, &statements.$table, &row, $create))
            .await
    }};
}

macro_rules! by {
    ($self:ident, $table:ident, $column:literal, $value:expr) => {{
        let value = rows::texts(&[$value]);
        $self
            .read(CALL, move |connection, statements| {
                rows::one(connection, &statements.by(&statements.$table, $column), value, Row::read)
            })
            .await
    }};
}

#[async_trait]
impl Store for SqliteStore {
    async fn identity(&self, key: &KeyHash, now: Timestamp) -> Result<Option<Identity>> {
        let key = *key;
        self.read(CALL, move |connection, statements| identity::of_key(connection, statements, &key, now)).await
    }

    async fn revoked_at(&self, old: &KeyHash) -> Result<Option<Timestamp>> {
        let old = rows::texts(&[&old.to_string()]);
        self.read(CALL, move |connection, statements| {
            rows::one(connection, &statements.revoked_at, old, Timestamp::get)
        })
        .await
    }

    async fn user_identity(&self, user_id: &str) -> Result<Option<Identity>> {
        let user_id = user_id.to_owned();
        self.read(CALL, move |connection, statements| identity::of_user(connection, statements, &user_id)).await
    }

    async fn end_user(&self, user_id: &str) -> Result<Option<EndUser>> {
        let user_id = user_id.to_owned();
        self.read(CALL, move |connection, statements| identity::end_user(connection, statements, &user_id)).await
    }

    async fn budget(&self, budget_id: &str) -> Result<Option<Budget>> {
        row!(self, budgets, budget_id)
    }

    async fn tags(&self) -> Result<Vec<Tag>> {
        self.read(CALL, identity::tags).await
    }

    async fn access_groups(&self) -> Result<Vec<AccessGroup>> {
        self.read(CALL, identity::access_groups).await
    }

    async fn create_key(&self, key: &Key, audit: AuditEntry) -> Result<()> {
        let create = true;
        put!(self, keys, key, create, audit)
    }

    async fn key(&self, token: &KeyHash) -> Result<Option<Key>> {
        row!(self, keys, &token.to_string())
    }

    async fn key_by_alias(&self, alias: &str) -> Result<Option<Key>> {
        by!(self, keys, "key_alias", alias)
    }

    async fn update_key(&self, key: &Key, audit: AuditEntry) -> Result<()> {
        let create = false;
        put!(self, keys, key, create, audit)
    }

    async fn delete_key(&self, token: &KeyHash, audit: AuditEntry) -> Result<()> {
        let token = token.to_string();
        self.change(audit, move |transaction, statements| rows::delete::<Key>(transaction, &statements.keys, &[&token]))
            .await
    }

    async fn rotate_key(
        &self,
        old: &KeyHash,
        new: &Key,
        revoke_old_at: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<()> {
        let (old, new, now) = (*old, new.clone(), audit.at);
        self.change(audit, move |transaction, statements| {
            keys::rotate(transaction, statements, &old, &new, revoke_old_at, now)
        })
        .await
    }

    async fn list_keys(&self, filter: &KeyFilter) -> Result<Page<Key>> {
        let filter = filter.clone();
        self.read(CALL, move |connection, statements| keys::list(connection, statements, &filter)).await
    }

    async fn put_team(&self, team: &Team, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, teams, team, create, audit)
    }

    async fn team(&self, team_id: &str) -> Result<Option<Team>> {
        row!(self, teams, team_id)
    }

    async fn list_teams(&self, offset: u64, limit: u64) -> Result<Page<Team>> {
        page!(self, teams, offset, limit)
    }

    async fn delete_team(&self, team_id: &str, audit: AuditEntry) -> Result<()> {
        let team_id = team_id.to_owned();
        self.change(audit, move |transaction, statements| {
            rows::execute(transaction, &statements.members_leave_team, rows::texts(&[&team_id]))?;
            rows::execute(transaction, &statements.keys_of_team, rows::texts(&[&team_id]))?;
            rows::delete::<Team>(transaction, &statements.teams, &[&team_id])
        })
        .await
    }

    async fn put_member(&self, member: &Member, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, members, member, create, audit)
    }

    async fn members_of_team(&self, team_id: &str) -> Result<Vec<Member>> {
        let team_id = rows::texts(&[team_id]);
        self.read(CALL, move |connection, statements| {
            rows::all(connection, &statements.members_of_team, team_id, Row::read)
        })
        .await
    }

    async fn memberships_of_user(&self, user_id: &str) -> Result<Vec<Member>> {
        let user_id = rows::texts(&[user_id]);
        self.read(CALL, move |connection, statements| {
            rows::all(connection, &statements.members_of_user, user_id, Row::read)
        })
        .await
    }

    async fn delete_member(&self, team_id: &str, user_id: &str, audit: AuditEntry) -> Result<()> {
        let (team_id, user_id) = (team_id.to_owned(), user_id.to_owned());
        self.change(audit, move |transaction, statements| {
            rows::delete::<Member>(transaction, &statements.members, &[&team_id, &user_id])
        })
        .await
    }

    async fn put_user(&self, user: &User, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, users, user, create, audit)
    }

    async fn user(&self, user_id: &str) -> Result<Option<User>> {
        row!(self, users, user_id)
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        by!(self, users, "user_email", email)
    }

    async fn list_users(&self, offset: u64, limit: u64) -> Result<Page<User>> {
        page!(self, users, offset, limit)
    }

    async fn delete_user(&self, user_id: &str, audit: AuditEntry) -> Result<()> {
        let user_id = user_id.to_owned();
        self.change(audit, move |transaction, statements| {
            rows::execute(transaction, &statements.user_leaves_teams, rows::texts(&[&user_id]))?;
            rows::execute(transaction, &statements.keys_of_user, rows::texts(&[&user_id]))?;
            rows::delete::<User>(transaction, &statements.users, &[&user_id])
        })
        .await
    }

    async fn put_organization(&self, organization: &Organization, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, organizations, organization, create, audit)
    }

    async fn organization(&self, organization_id: &str) -> Result<Option<Organization>> {
        row!(self, organizations, organization_id)
    }

    async fn list_organizations(&self, offset: u64, limit: u64) -> Result<Page<Organization>> {
        page!(self, organizations, offset, limit)
    }

    async fn delete_organization(&self, organization_id: &str, audit: AuditEntry) -> Result<()> {
        let id = organization_id.to_owned();
        self.change(audit, move |transaction, statements| {
            rows::delete::<Organization>(transaction, &statements.organizations, &[&id])
        })
        .await
    }

    async fn put_project(&self, project: &Project, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, projects, project, create, audit)
    }

    async fn project(&self, project_id: &str) -> Result<Option<Project>> {
        row!(self, projects, project_id)
    }

    async fn put_budget(&self, budget: &Budget, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, budgets, budget, create, audit)
    }

    async fn list_budgets(&self, offset: u64, limit: u64) -> Result<Page<Budget>> {
        page!(self, budgets, offset, limit)
    }

    async fn delete_budget(&self, budget_id: &str, audit: AuditEntry) -> Result<()> {
        let id = budget_id.to_owned();
        self.change(audit, move |transaction, statements| {
            rows::delete::<Budget>(transaction, &statements.budgets, &[&id])
        })
        .await
    }

    async fn put_end_user(&self, end_user: &EndUser, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, end_users, end_user, create, audit)
    }

    async fn put_tag(&self, tag: &Tag, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, tags, tag, create, audit)
    }

    async fn put_access_group(&self, group: &AccessGroup, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, access_groups, group, create, audit)
    }

    async fn import(&self, bundle: Arc<Bundle>) -> Result<Imported> {
        self.import_bundle(bundle).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>> {
        let name = rows::texts(&[name]);
        self.read(CALL, move |connection, statements| rows::one(connection, &statements.setting, name, Column::get))
            .await
    }

    async fn setting_or_insert(&self, name: &str, value: &str) -> Result<String> {
        let (name, both) = (rows::texts(&[name]), rows::texts(&[name, value]));
        self.write(CALL, move |transaction, statements| {
            rows::execute(transaction, &statements.insert_setting, both)?;
            let found = rows::one(transaction, &statements.setting, name, String::get)?;
            found.ok_or_else(|| errors::unavailable("a setting is gone that was just written"))
        })
        .await
    }

    async fn write_records(&self, records: &[Record]) -> Result<Vec<bool>> {
        let records = records.to_vec();
        self.write(BATCH, move |transaction, statements| ledger::write(transaction, statements, &records)).await
    }

    async fn spent(&self, account: &Account) -> Result<Money> {
        let place = rows::texts(&[account.scope.as_str(), &account.period.id]);
        self.read(CALL, move |connection, statements| {
            let spent = rows::number(connection, &statements.ledger.spent, place)?;
            Ok(Money::nanos(spent.unwrap_or(0)))
        })
        .await
    }

    async fn knows_record(&self, id: HoldId) -> Result<bool> {
        self.read(CALL, move |connection, statements| {
            let id = vec![Value::Text(id.to_string())];
            Ok(rows::number(connection, &statements.ledger.knows, id)?.is_some())
        })
        .await
    }

    async fn records(&self, key: Option<&KeyHash>, offset: u64, limit: u64) -> Result<Page<Record>> {
        let key = key.map(|key| Value::Text(key.to_string()));
        self.read(CALL, move |connection, statements| {
            let all = &statements.ledger;
            let texts = match key {
                Some(_) => (all.page_of_key.as_str(), all.count_of_key.as_str()),
                None => (all.page.as_str(), all.count.as_str()),
            };
            let values = key.into_iter().collect::<Vec<_>>();
            rows::page(connection, texts, (values, offset, limit), read_record)
        })
        .await
    }

    async fn verify(&self) -> Result<Verification> {
        self.read(WHOLE_LEDGER, verify::verify).await
    }
}
