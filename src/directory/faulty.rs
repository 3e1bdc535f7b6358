//! A store that fails on demand, for tests of those who use one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::import::{Bundle, Imported};
use super::{AuditEntry, DirectoryError, KeyFilter, Page, Result, SharedStore, Store, Verification};
use crate::domain::{
    AccessGroup, Account, Budget, EndUser, HoldId, Identity, Key, KeyHash, KeyMapping, Member, Money, Organization,
    Principal, Project, Record, SessionKey, Tag, Team, Timestamp, User, UserSession,
};

/// What every call answers.
#[derive(Clone, Debug, Default)]
pub(crate) enum Fault {
    #[default]
    None,
    /// The error, and nothing done.
    Before(DirectoryError),
    /// The error, although it was done.
    After(DirectoryError),
}

pub(crate) struct FaultyStore {
    inner: SharedStore,
    fault: Mutex<Fault>,
    /// What somebody else does just before the next call of this name.
    meanwhile: Mutex<Option<(&'static str, BoxFuture<'static, ()>)>>,
    pub(crate) calls: AtomicU64,
}

impl FaultyStore {
    pub(crate) fn over(inner: SharedStore) -> Arc<FaultyStore> {
        Arc::new(FaultyStore { inner, fault: Mutex::default(), meanwhile: Mutex::default(), calls: AtomicU64::new(0) })
    }

    /// Lets somebody else be faster than the next call of this name.
    pub(crate) fn before(&self, call: &'static str, other: impl Future<Output = ()> + Send + 'static) {
        *self.meanwhile.lock() = Some((call, Box::pin(other)));
    }

    async fn let_others(&self, call: &str) {
        let other = self.meanwhile.lock().take_if(|(awaited, _)| *awaited == call);
        if let Some((_, other)) = other {
            other.await;
        }
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }
}

macro_rules! delegate {
    ($($call:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for FaultyStore {
            $(async fn $call(&self, $($name: $type),*) -> Result<$answer> {
                self.calls.fetch_add(1, Ordering::SeqCst);
                let fault = self.fault.lock().clone();
                if let Fault::Before(error) = fault {
                    return Err(error);
                }
                self.let_others(stringify!($call)).await;
                let answer = self.inner.$call($($name),*).await;
                match fault {
                    Fault::After(error) => Err(error),
                    _ => answer,
                }
            })+
        }
    };
}

delegate! {
    identity(key: &KeyHash, now: Timestamp) -> Option<Identity>;
    revoked_at(old: &KeyHash) -> Option<Timestamp>;
    principal(principal: &Principal) -> Identity;
    user_named(id: Option<&str>, email: Option<&str>) -> Option<User>;
    teams_by_alias(alias: &str) -> Vec<Team>;
    organizations_by_alias(alias: &str) -> Vec<Organization>;
    key_mapping(issuer: &str, claim: &str, value: &str) -> Option<KeyMapping>;
    put_key_mapping(mapping: &KeyMapping, key: Option<&Key>, create: bool, audit: AuditEntry) -> ();
    key_mapping_by_id(id: &str) -> Option<KeyMapping>;
    list_key_mappings(offset: u64, limit: u64) -> Page<KeyMapping>;
    delete_key_mapping(id: &str, audit: AuditEntry) -> ();
    end_user(user_id: &str) -> Option<EndUser>;
    end_user_row(user_id: &str) -> Option<EndUser>;
    budget(budget_id: &str) -> Option<Budget>;
    tags() -> Vec<Tag>;
    tag_row(tag_name: &str) -> Option<Tag>;
    access_groups() -> Vec<AccessGroup>;
    create_key(key: &Key, audit: AuditEntry) -> ();
    key(token: &KeyHash) -> Option<Key>;
    key_by_alias(alias: &str) -> Option<Key>;
    update_key(key: &Key, audit: AuditEntry) -> ();
    delete_key(token: &KeyHash, audit: AuditEntry) -> ();
    rotate_key(old: &KeyHash, new: &Key, revoke_old_at: Option<Timestamp>, audit: AuditEntry) -> ();
    list_keys(filter: &KeyFilter) -> Page<Key>;
    put_team(team: &Team, create: bool, audit: AuditEntry) -> ();
    team(team_id: &str) -> Option<Team>;
    list_teams(offset: u64, limit: u64) -> Page<Team>;
    delete_team(team_id: &str, audit: AuditEntry) -> ();
    put_member(member: &Member, create: bool, audit: AuditEntry) -> ();
    members_of_team(team_id: &str) -> Vec<Member>;
    memberships_of_user(user_id: &str) -> Vec<Member>;
    delete_member(team_id: &str, user_id: &str, audit: AuditEntry) -> ();
    put_user(user: &User, create: bool, audit: AuditEntry) -> ();
    user(user_id: &str) -> Option<User>;
    list_users(offset: u64, limit: u64) -> Page<User>;
    delete_user(user_id: &str, audit: AuditEntry) -> ();
    put_organization(organization: &Organization, create: bool, audit: AuditEntry) -> ();
    organization(organization_id: &str) -> Option<Organization>;
    list_organizations(offset: u64, limit: u64) -> Page<Organization>;
    delete_organization(organization_id: &str, audit: AuditEntry) -> ();
    put_project(project: &Project, create: bool, audit: AuditEntry) -> ();
    project(project_id: &str) -> Option<Project>;
    put_budget(budget: &Budget, create: bool, audit: AuditEntry) -> ();
    list_budgets(offset: u64, limit: u64) -> Page<Budget>;
    delete_budget(budget_id: &str, audit: AuditEntry) -> ();
    put_end_user(end_user: &EndUser, create: bool, audit: AuditEntry) -> ();
    put_tag(tag: &Tag, create: bool, audit: AuditEntry) -> ();
    put_access_group(group: &AccessGroup, create: bool, audit: AuditEntry) -> ();
    session_keys() -> Vec<SessionKey>;
    put_session_key(key: &SessionKey, audit: AuditEntry) -> ();
    session(sid: &str) -> Option<UserSession>;
    put_session(session: &UserSession, create: bool, audit: AuditEntry) -> ();
    sessions_of_user(user_id: &str) -> Vec<UserSession>;
    revoke_sessions_of_user(user_id: &str, audit: AuditEntry) -> u64;
    sweep_sessions(now: Timestamp, period_start: Timestamp) -> u64;
    import(bundle: Arc<Bundle>) -> Imported;
    setting(name: &str) -> Option<String>;
    setting_or_insert(name: &str, value: &str) -> String;
    write_records(records: &[Record]) -> Vec<bool>;
    spent(account: &Account) -> Money;
    knows_record(id: HoldId) -> bool;
    knows_records(records: &[(HoldId, u32)]) -> Vec<bool>;
    records(key: Option<&KeyHash>, offset: u64, limit: u64) -> Page<Record>;
    trim_ledger(day: i64) -> u64;
    verify() -> Verification;
}
