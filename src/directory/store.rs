//! [`Store`] on any engine: which statement each call is.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;

use super::engine::{Engine, Reading, Writing};
use super::import::{self, Bundle, Imported};
use super::rows::{Column, Columns, Row, Value, day_of, key_values, read_record};
use super::session::Session;
use super::statements::Table;
use super::{
    AuditEntry, DirectoryError, KeyFilter, Page, Result, Store, Verification, identity, keys, ledger, retention,
    session, verify,
};
use crate::domain::{
    AccessGroup, Account, Budget, EndUser, HoldId, Identity, Key, KeyHash, KeyMapping, Member, Money, Organization,
    Principal, Project, Record, SessionKey, Tag, Team, Timestamp, User, UserSession,
};

/// The calls every entity has: one row, one page, put, delete.
macro_rules! row {
    ($self:ident, $table:ident, $($key:expr),+) => {{
        let key = session::texts(&[$($key),+]);
        $self.read(Reading::Row, move |session, statements| {
            Box::pin(session::one(session, &statements.$table.select, key, Row::read))
        }).await
    }};
}

macro_rules! page {
    ($self:ident, $table:ident as $reading:ident, $offset:ident, $limit:ident) => {
        $self
            .read(Reading::$reading, move |session, statements| {
                let table = &statements.$table;
                let texts = (table.page.as_str(), table.count.as_str());
                Box::pin(session::page(session, texts, (Vec::new(), $offset, $limit), Row::read))
            })
            .await
    };
}

macro_rules! put {
    ($self:ident, $table:ident, $row:ident, $create:ident, $audit:ident) => {{
        let (row, before) = ($row.clone(), $audit.before.clone());
        $self
            .change($audit, move |session, statements| {
                Box::pin(async move { replace(session, &statements.$table, &row, $create, before.as_ref()).await })
            })
            .await
    }};
}

macro_rules! by {
    ($self:ident, $table:ident, $column:literal, $value:expr) => {{
        let value = session::texts(&[$value]);
        $self
            .read(Reading::Row, move |session, statements| {
                let text = statements.by(&statements.$table, $column);
                Box::pin(async move { session::one(session, &text, value, Row::read).await })
            })
            .await
    }};
}

macro_rules! delete {
    ($self:ident, $table:ident, $type:ty, $audit:ident, $($key:expr),+) => {{
        let key = [$($key.to_string()),+];
        $self
            .change($audit, move |session, statements| {
                Box::pin(async move {
                    let key = key.each_ref().map(String::as_str);
                    session::delete::<$type>(session, &statements.$table, &key).await
                })
            })
            .await
    }};
}

/// Inserts a row, or replaces the one with its key where that is still what the change was computed from.
async fn replace<R: Row + Serialize + Send + Sync>(
    session: &mut dyn Session,
    table: &Table,
    row: &R,
    create: bool,
    before: Option<&serde_json::Value>,
) -> Result<()> {
    if !create {
        session::unchanged::<R>(session, table, key_values(row), before).await?;
    }
    session::put(session, table, row, create).await
}

#[async_trait]
impl<E: Engine> Store for E {
    async fn identity(&self, key: &KeyHash, now: Timestamp) -> Result<Option<Identity>> {
        let key = *key;
        self.read(Reading::Row, move |session, statements| {
            Box::pin(async move { identity::of_key(session, statements, &key, now).await })
        })
        .await
    }

    async fn revoked_at(&self, old: &KeyHash) -> Result<Option<Timestamp>> {
        let old = session::texts(&[&old.to_string()]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::one(session, &statements.revoked_at, old, Timestamp::get))
        })
        .await
    }

    async fn principal(&self, principal: &Principal) -> Result<Identity> {
        let principal = principal.clone();
        self.read(Reading::Row, move |session, statements| {
            Box::pin(async move { identity::of_principal(session, statements, &principal).await })
        })
        .await
    }

    async fn user_named(&self, id: Option<&str>, email: Option<&str>) -> Result<Option<User>> {
        let (id, email) = (id.unwrap_or_default().to_owned(), email.unwrap_or_default().to_owned());
        self.read(Reading::Row, move |session, statements| {
            Box::pin(async move { identity::user_named(session, statements, &id, &email).await })
        })
        .await
    }

    async fn teams_by_alias(&self, alias: &str) -> Result<Vec<Team>> {
        let alias = session::texts(&[alias]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::all(session, &statements.teams_by_alias, alias, Row::read))
        })
        .await
    }

    async fn organizations_by_alias(&self, alias: &str) -> Result<Vec<Organization>> {
        let alias = session::texts(&[alias]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::all(session, &statements.organizations_by_alias, alias, Row::read))
        })
        .await
    }

    async fn key_mapping(&self, issuer: &str, claim: &str, value: &str) -> Result<Option<KeyMapping>> {
        let named = session::texts(&[issuer, claim, value]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::one(session, &statements.key_mapping, named, Row::read))
        })
        .await
    }

    async fn put_key_mapping(
        &self,
        mapping: &KeyMapping,
        key: Option<&Key>,
        create: bool,
        audit: AuditEntry,
    ) -> Result<()> {
        let (mapping, key, before) = (mapping.clone(), key.cloned(), audit.before.clone());
        self.change(audit, move |session, statements| {
            Box::pin(async move {
                if let Some(key) = &key {
                    session::put(session, &statements.keys, key, true).await?;
                }
                replace(session, &statements.key_mappings, &mapping, create, before.as_ref()).await
            })
        })
        .await
    }

    async fn key_mapping_by_id(&self, id: &str) -> Result<Option<KeyMapping>> {
        row!(self, key_mappings, id)
    }

    async fn list_key_mappings(&self, offset: u64, limit: u64) -> Result<Page<KeyMapping>> {
        page!(self, key_mappings as Report, offset, limit)
    }

    async fn delete_key_mapping(&self, id: &str, audit: AuditEntry) -> Result<()> {
        delete!(self, key_mappings, KeyMapping, audit, id)
    }

    async fn end_user(&self, user_id: &str) -> Result<Option<EndUser>> {
        let user_id = user_id.to_owned();
        self.read(Reading::Row, move |session, statements| {
            Box::pin(async move { identity::end_user(session, statements, &user_id).await })
        })
        .await
    }

    async fn end_user_row(&self, user_id: &str) -> Result<Option<EndUser>> {
        row!(self, end_users, user_id)
    }

    async fn budget(&self, budget_id: &str) -> Result<Option<Budget>> {
        row!(self, budgets, budget_id)
    }

    async fn tags(&self) -> Result<Vec<Tag>> {
        self.read(Reading::Row, |session, statements| Box::pin(identity::tags(session, statements))).await
    }

    async fn tag_row(&self, tag_name: &str) -> Result<Option<Tag>> {
        row!(self, tags, tag_name)
    }

    async fn access_groups(&self) -> Result<Vec<AccessGroup>> {
        self.read(Reading::Row, |session, statements| Box::pin(identity::access_groups(session, statements))).await
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
        delete!(self, keys, Key, audit, token)
    }

    async fn rotate_key(
        &self,
        old: &KeyHash,
        new: &Key,
        revoke_old_at: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<()> {
        let (old, new, now, before) = (*old, new.clone(), audit.at, audit.before.clone());
        self.change(audit, move |session, statements| {
            Box::pin(async move {
                let named = session::texts(&[&old.to_string()]);
                session::unchanged::<Key>(session, &statements.keys, named, before.as_ref()).await?;
                keys::rotate(session, statements, &old, &new, revoke_old_at, now).await
            })
        })
        .await
    }

    async fn list_keys(&self, filter: &KeyFilter) -> Result<Page<Key>> {
        let filter = filter.clone();
        let reading = if filter.decides { Reading::List } else { Reading::Report };
        self.read(reading, move |session, statements| {
            Box::pin(async move { keys::list(session, statements, &filter).await })
        })
        .await
    }

    async fn put_team(&self, team: &Team, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, teams, team, create, audit)
    }

    async fn team(&self, team_id: &str) -> Result<Option<Team>> {
        row!(self, teams, team_id)
    }

    async fn list_teams(&self, offset: u64, limit: u64) -> Result<Page<Team>> {
        page!(self, teams as List, offset, limit)
    }

    async fn delete_team(&self, team_id: &str, audit: AuditEntry) -> Result<()> {
        let team_id = team_id.to_owned();
        self.change(audit, move |session, statements| {
            Box::pin(async move {
                session::execute(session, &statements.members_leave_team, session::texts(&[&team_id])).await?;
                session::execute(session, &statements.keys_of_team, session::texts(&[&team_id])).await?;
                session::delete::<Team>(session, &statements.teams, &[&team_id]).await
            })
        })
        .await
    }

    async fn put_member(&self, member: &Member, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, members, member, create, audit)
    }

    async fn members_of_team(&self, team_id: &str) -> Result<Vec<Member>> {
        let team_id = session::texts(&[team_id]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::all(session, &statements.members_of_team, team_id, Row::read))
        })
        .await
    }

    async fn memberships_of_user(&self, user_id: &str) -> Result<Vec<Member>> {
        let user_id = session::texts(&[user_id]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::all(session, &statements.members_of_user, user_id, Row::read))
        })
        .await
    }

    async fn delete_member(&self, team_id: &str, user_id: &str, audit: AuditEntry) -> Result<()> {
        delete!(self, members, Member, audit, team_id, user_id)
    }

    async fn put_user(&self, user: &User, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, users, user, create, audit)
    }

    async fn user(&self, user_id: &str) -> Result<Option<User>> {
        row!(self, users, user_id)
    }

    async fn list_users(&self, offset: u64, limit: u64) -> Result<Page<User>> {
        page!(self, users as Report, offset, limit)
    }

    async fn delete_user(&self, user_id: &str, audit: AuditEntry) -> Result<()> {
        let user_id = user_id.to_owned();
        self.change(audit, move |session, statements| {
            Box::pin(async move {
                session::execute(session, &statements.user_leaves_teams, session::texts(&[&user_id])).await?;
                session::execute(session, &statements.keys_of_user, session::texts(&[&user_id])).await?;
                session::delete::<User>(session, &statements.users, &[&user_id]).await
            })
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
        page!(self, organizations as Report, offset, limit)
    }

    async fn delete_organization(&self, organization_id: &str, audit: AuditEntry) -> Result<()> {
        delete!(self, organizations, Organization, audit, organization_id)
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
        page!(self, budgets as Report, offset, limit)
    }

    async fn delete_budget(&self, budget_id: &str, audit: AuditEntry) -> Result<()> {
        delete!(self, budgets, Budget, audit, budget_id)
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

    async fn session_keys(&self) -> Result<Vec<SessionKey>> {
        self.read(Reading::Row, |session, statements| {
            Box::pin(session::all(session, &statements.newest_session_keys, Vec::new(), Row::read))
        })
        .await
    }

    async fn put_session_key(&self, key: &SessionKey, audit: AuditEntry) -> Result<()> {
        let key = key.clone();
        self.change(audit, move |session, statements| {
            Box::pin(async move { session::put(session, &statements.session_keys, &key, true).await })
        })
        .await
    }

    async fn session(&self, sid: &str) -> Result<Option<UserSession>> {
        row!(self, sessions, sid)
    }

    async fn put_session(&self, session: &UserSession, create: bool, audit: AuditEntry) -> Result<()> {
        put!(self, sessions, session, create, audit)
    }

    async fn sessions_of_user(&self, user_id: &str) -> Result<Vec<UserSession>> {
        let user_id = session::texts(&[user_id]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::all(session, &statements.sessions_of_user, user_id, Row::read))
        })
        .await
    }

    async fn revoke_sessions_of_user(&self, user_id: &str, audit: AuditEntry) -> Result<u64> {
        let values = vec![Value::Integer(audit.at.as_millis()), Value::Text(user_id.to_owned())];
        self.change(audit, move |session, statements| {
            Box::pin(session::execute(session, &statements.revoke_sessions_of_user, values))
        })
        .await
    }

    async fn sweep_sessions(&self, now: Timestamp, period_start: Timestamp) -> Result<u64> {
        let moment = |at: Timestamp| vec![Value::Integer(at.as_millis())];
        self.write(Writing::Setting, move |session, statements| {
            Box::pin(async move {
                let sessions = session::execute(session, &statements.expired_sessions, moment(now)).await?;
                let keys = session::execute(session, &statements.unused_session_keys, moment(period_start)).await?;
                Ok(sessions + keys)
            })
        })
        .await
    }

    async fn import(&self, bundle: Arc<Bundle>) -> Result<Imported> {
        import::import(self, bundle).await
    }

    async fn setting(&self, name: &str) -> Result<Option<String>> {
        let name = session::texts(&[name]);
        self.read(Reading::Row, move |session, statements| {
            Box::pin(session::one(session, &statements.setting, name, Column::get))
        })
        .await
    }

    async fn setting_or_insert(&self, name: &str, value: &str) -> Result<String> {
        let (name, both) = (session::texts(&[name]), session::texts(&[name, value]));
        self.write(Writing::Setting, move |session, statements| {
            Box::pin(async move {
                session::execute(session, &statements.insert_setting, both).await?;
                let found = session::one(session, &statements.setting, name, String::get).await?;
                found.ok_or_else(|| DirectoryError::Unavailable("a setting is gone that was just written".to_owned()))
            })
        })
        .await
    }

    async fn write_records(&self, records: &[Record]) -> Result<Vec<bool>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let days: BTreeSet<i64> = records.iter().map(|record| day_of(record.admitted_at)).collect();
        self.make_room(&days.into_iter().collect::<Vec<_>>()).await;
        let records = records.to_vec();
        self.write(Writing::Batch, move |session, statements| {
            Box::pin(async move { ledger::write(session, statements, &records).await })
        })
        .await
    }

    async fn spent(&self, account: &Account) -> Result<Money> {
        let place = session::texts(&[account.scope.as_str(), &account.period.id]);
        let spent = self.read(Reading::Row, move |session, statements| {
            Box::pin(session::number(session, &statements.ledger.spent, place))
        });
        Ok(Money::nanos(spent.await?.unwrap_or(0)))
    }

    async fn knows_record(&self, id: HoldId) -> Result<bool> {
        let id = session::texts(&[&id.to_string()]);
        let known = self.read(Reading::Row, move |session, statements| {
            Box::pin(session::number(session, &statements.ledger.knows, id))
        });
        Ok(known.await?.is_some())
    }

    async fn knows_records(&self, records: &[(HoldId, u32)]) -> Result<Vec<bool>> {
        let names: Vec<_> = records.iter().map(|(id, sequence)| (id.to_string(), i64::from(*sequence))).collect();
        let asked = names.clone();
        let known = self.read(Reading::Row, move |session, statements| {
            let rows =
                asked.into_iter().map(|(id, sequence)| vec![Value::Text(id), Value::Integer(sequence)]).collect();
            Box::pin(async move {
                let mut known = HashSet::new();
                let mut take = |columns: &mut dyn Columns| {
                    known.extend(columns.text()?.zip(columns.integer()?));
                    Ok(())
                };
                session.each_of(&statements.ledger.known, rows, &mut take).await?;
                Ok(known)
            })
        });
        let known: HashSet<(String, i64)> = known.await?;
        Ok(names.iter().map(|name| known.contains(name)).collect())
    }

    async fn records(&self, key: Option<&KeyHash>, offset: u64, limit: u64) -> Result<Page<Record>> {
        let key = key.map(|key| Value::Text(key.to_string()));
        self.read(Reading::Report, move |session, statements| {
            let all = &statements.ledger;
            let texts = match key {
                Some(_) => (all.page_of_key.as_str(), all.count_of_key.as_str()),
                None => (all.page.as_str(), all.count.as_str()),
            };
            let values = key.into_iter().collect::<Vec<_>>();
            Box::pin(session::page(session, texts, (values, offset, limit), read_record))
        })
        .await
    }

    async fn trim_ledger(&self, day: i64) -> Result<u64> {
        retention::trim(self, day).await
    }

    async fn verify(&self) -> Result<Verification> {
        self.read(Reading::Ledger, |session, statements| Box::pin(verify::verify(session, statements))).await
    }
}
