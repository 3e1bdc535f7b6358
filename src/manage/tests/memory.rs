//! A directory in memory, for tests.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::directory::{AuditEntry, DirectoryError, KeyFilter, Page, Result, Store, Verification};
use crate::domain::*;

#[derive(Default)]
pub(crate) struct State {
    pub keys: BTreeMap<KeyHash, Key>,
    pub rotated: Vec<(KeyHash, Option<Timestamp>)>,
    pub teams: BTreeMap<String, Team>,
    pub members: BTreeMap<(String, String), Member>,
    pub users: BTreeMap<String, User>,
    pub organizations: BTreeMap<String, Organization>,
    pub projects: BTreeMap<String, Project>,
    pub budgets: BTreeMap<String, Budget>,
    pub end_users: BTreeMap<String, EndUser>,
    pub tags: BTreeMap<String, Tag>,
    pub groups: BTreeMap<String, AccessGroup>,
    pub audit: Vec<AuditEntry>,
    /// Answers everything with an error.
    pub down: bool,
}

#[derive(Default)]
pub(crate) struct Memory(pub Mutex<State>);

impl Memory {
    /// Action, table and actor of every line of the audit log.
    pub fn audit(&self) -> Vec<(&'static str, &'static str, String)> {
        self.0.lock().audit.iter().map(|line| (line.action, line.table, line.changed_by.clone())).collect()
    }

    pub fn audit_text(&self) -> String {
        format!("{:?}", self.0.lock().audit)
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Result<T> {
        let state = self.0.lock();
        if state.down { Err(DirectoryError::Unavailable("the disk is gone".into())) } else { Ok(read(&state)) }
    }

    fn write(&self, audit: AuditEntry, write: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.0.lock();
        if state.down {
            return Err(DirectoryError::Unavailable("the disk is gone".into()));
        }
        write(&mut state);
        state.audit.push(audit);
        Ok(())
    }
}

fn page<T: Clone>(rows: impl Iterator<Item = T>, offset: u64, limit: u64) -> Page<T> {
    let all: Vec<T> = rows.collect();
    let total = all.len() as u64;
    Page { rows: all.into_iter().skip(offset as usize).take(limit as usize).collect(), total }
}

#[async_trait]
impl Store for Memory {
    async fn revoked_at(&self, _old: &KeyHash) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    async fn identity(&self, key: &KeyHash, _now: Timestamp) -> Result<Option<Identity>> {
        self.read(|state| state.keys.get(key).map(|key| Identity { key: Some(key.clone()), ..Identity::default() }))
    }
    async fn user_identity(&self, user_id: &str) -> Result<Option<Identity>> {
        self.read(|state| {
            state.users.get(user_id).map(|user| Identity { user: Some(user.clone()), ..Identity::default() })
        })
    }
    async fn end_user(&self, user_id: &str) -> Result<Option<EndUser>> {
        self.read(|state| state.end_users.get(user_id).cloned())
    }
    async fn budget(&self, budget_id: &str) -> Result<Option<Budget>> {
        self.read(|state| state.budgets.get(budget_id).cloned())
    }
    async fn tags(&self) -> Result<Vec<Tag>> {
        self.read(|state| state.tags.values().cloned().collect())
    }
    async fn access_groups(&self) -> Result<Vec<AccessGroup>> {
        self.read(|state| state.groups.values().cloned().collect())
    }
    async fn create_key(&self, key: &Key, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.keys.insert(key.token, key.clone())))
    }
    async fn key(&self, token: &KeyHash) -> Result<Option<Key>> {
        self.read(|state| state.keys.get(token).cloned())
    }
    async fn key_by_alias(&self, alias: &str) -> Result<Option<Key>> {
        self.read(|state| state.keys.values().find(|key| key.key_alias.as_deref() == Some(alias)).cloned())
    }
    async fn update_key(&self, key: &Key, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.keys.insert(key.token, key.clone())))
    }
    async fn delete_key(&self, token: &KeyHash, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.keys.remove(token)))
    }
    async fn rotate_key(&self, old: &KeyHash, new: &Key, until: Option<Timestamp>, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| {
            state.keys.remove(old);
            state.keys.insert(new.token, new.clone());
            state.rotated.push((*old, until));
        })
    }
    async fn list_keys(&self, filter: &KeyFilter) -> Result<Page<Key>> {
        let same = |asked: &Option<String>, has: Option<&str>| asked.as_deref().is_none_or(|asked| has == Some(asked));
        self.read(|state| {
            let rows = state.keys.values().filter(|key| {
                same(&filter.user_id, key.user_id.as_deref())
                    && same(&filter.team_id, key.team_id.as_deref())
                    && same(&filter.organization_id, key.organization_id.as_deref())
                    && same(&filter.project_id, key.project_id.as_deref())
                    && same(&filter.key_alias, key.key_alias.as_deref())
                    && filter.token.is_none_or(|token| token == key.token)
            });
            page(rows.cloned(), filter.offset, filter.limit)
        })
    }
    async fn put_member(&self, member: &Member, _create: bool, audit: AuditEntry) -> Result<()> {
        let id = (member.team_id.to_string(), member.user_id.to_string());
        self.write(audit, |state| drop(state.members.insert(id, member.clone())))
    }
    async fn members_of_team(&self, team_id: &str) -> Result<Vec<Member>> {
        self.read(|state| state.members.values().filter(|member| &*member.team_id == team_id).cloned().collect())
    }
    async fn memberships_of_user(&self, user_id: &str) -> Result<Vec<Member>> {
        self.read(|state| state.members.values().filter(|member| &*member.user_id == user_id).cloned().collect())
    }
    async fn delete_member(&self, team_id: &str, user_id: &str, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.members.remove(&(team_id.to_owned(), user_id.to_owned()))))
    }
    async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        self.read(|state| state.users.values().find(|user| user.user_email.as_deref() == Some(email)).cloned())
    }
    async fn put_team(&self, row: &Team, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.teams.insert(row.team_id.to_string(), row.clone())))
    }
    async fn team(&self, id: &str) -> Result<Option<Team>> {
        self.read(|state| state.teams.get(id).cloned())
    }
    async fn list_teams(&self, offset: u64, limit: u64) -> Result<Page<Team>> {
        self.read(|state| page(state.teams.values().cloned(), offset, limit))
    }
    async fn delete_team(&self, id: &str, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.teams.remove(id)))
    }
    async fn put_user(&self, row: &User, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.users.insert(row.user_id.to_string(), row.clone())))
    }
    async fn user(&self, id: &str) -> Result<Option<User>> {
        self.read(|state| state.users.get(id).cloned())
    }
    async fn list_users(&self, offset: u64, limit: u64) -> Result<Page<User>> {
        self.read(|state| page(state.users.values().cloned(), offset, limit))
    }
    async fn delete_user(&self, id: &str, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.users.remove(id)))
    }
    async fn put_organization(&self, row: &Organization, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.organizations.insert(row.organization_id.to_string(), row.clone())))
    }
    async fn organization(&self, id: &str) -> Result<Option<Organization>> {
        self.read(|state| state.organizations.get(id).cloned())
    }
    async fn list_organizations(&self, offset: u64, limit: u64) -> Result<Page<Organization>> {
        self.read(|state| page(state.organizations.values().cloned(), offset, limit))
    }
    async fn delete_organization(&self, id: &str, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.organizations.remove(id)))
    }
    async fn put_project(&self, row: &Project, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.projects.insert(row.project_id.to_string(), row.clone())))
    }
    async fn project(&self, id: &str) -> Result<Option<Project>> {
        self.read(|state| state.projects.get(id).cloned())
    }
    async fn put_budget(&self, row: &Budget, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.budgets.insert(row.budget_id.to_string(), row.clone())))
    }
    async fn list_budgets(&self, offset: u64, limit: u64) -> Result<Page<Budget>> {
        self.read(|state| page(state.budgets.values().cloned(), offset, limit))
    }
    async fn delete_budget(&self, id: &str, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.budgets.remove(id)))
    }
    async fn put_end_user(&self, row: &EndUser, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.end_users.insert(row.user_id.to_string(), row.clone())))
    }
    async fn put_tag(&self, row: &Tag, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.tags.insert(row.tag_name.to_string(), row.clone())))
    }
    async fn put_access_group(&self, row: &AccessGroup, _create: bool, audit: AuditEntry) -> Result<()> {
        self.write(audit, |state| drop(state.groups.insert(row.access_group_id.to_string(), row.clone())))
    }
    async fn setting(&self, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }
    async fn setting_or_insert(&self, _name: &str, value: &str) -> Result<String> {
        Ok(value.to_owned())
    }
    async fn write_records(&self, records: &[Record]) -> Result<Vec<bool>> {
        Ok(vec![true; records.len()])
    }
    async fn spent(&self, _account: &Account) -> Result<Money> {
        self.read(|_| Money::ZERO)
    }
    async fn knows_record(&self, _id: HoldId) -> Result<bool> {
        Ok(false)
    }
    async fn records(&self, _key: Option<&KeyHash>, offset: u64, limit: u64) -> Result<Page<Record>> {
        Ok(page(std::iter::empty(), offset, limit))
    }
    async fn verify(&self) -> Result<Verification> {
        Ok(Verification::default())
    }
}
