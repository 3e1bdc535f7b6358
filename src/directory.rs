//! The directory: organizations, teams, users, keys, budgets, and the ledger's tables. [`Store`] is the seam behind
//! which SQLite and PostgreSQL stand. What they do is written once, as jobs over a session (`store`, `ledger` …); an
//! engine says where a session comes from.

pub mod cache;
mod engine;
#[cfg(test)]
pub(crate) mod faulty;
mod identity;
pub mod import;
mod keys;
mod ledger;
mod lock;
mod migrations;
mod origin;
mod postgres;
mod retention;
pub(crate) mod rows;
mod session;
mod sqlite;
mod statements;
mod store;
#[cfg(test)]
mod suite;
mod sums;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod tls;
mod verify;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{
    AccessGroup, Account, Budget, EndUser, HoldId, Identity, Key, KeyHash, KeyMapping, Member, Money, Organization,
    Principal, Project, Record, SessionKey, Tag, Team, Timestamp, User, UserSession,
};

pub use cache::{AsOf, Directory, Named, Registry};
use import::{Bundle, Imported};
pub use lock::{ExclusiveLock, SpoolLock};
pub use migrations::{Mode, Schema};
pub use origin::migrate;

/// What the directory cannot do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The database does not answer, or not in time. Never a reason to call a credential bad.
    #[error("the directory is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full; nothing was written.
    #[error("the directory cannot write: {0}")]
    Full(String),
    /// What was to be written cannot be, for what it holds: a value is too long or too large. Nothing was written, and
    /// trying again is in vain.
    #[error("the database refuses a value: {0}")]
    Refused(String),
    /// A row that must be unique is there already.
    #[error("{what} {name:?} exists already")]
    Exists { what: &'static str, name: String },
    /// Several rows fit, or the one that does is somebody else's.
    #[error("{what} {name:?} is not one alone")]
    Ambiguous { what: &'static str, name: String },
    /// A row named by the request is not there.
    #[error("{what} {name:?} does not exist")]
    NotFound { what: &'static str, name: String },
    /// A row is no longer what a change of it was computed from; nothing was written.
    #[error("{what} {name:?} was changed by somebody else at this moment: read it again, and repeat the change")]
    Changed { what: &'static str, name: String },
    /// A row cannot be read: it was written by a newer version or by something else.
    #[error("the directory holds a row that cannot be read: {0}")]
    Corrupt(String),
}

pub type Result<T> = std::result::Result<T, DirectoryError>;

/// Which keys to list. All conditions hold at once; absent ones do not count.
#[derive(Clone, Debug, Default)]
pub struct KeyFilter {
    pub user_id: Option<String>,
    pub team_id: Option<String>,
    pub organization_id: Option<String>,
    pub project_id: Option<String>,
    pub key_alias: Option<String>,
    pub token: Option<KeyHash>,
    pub first_token: Option<KeyHash>,
    /// Something is decided by what is found, so it must be the present and not a read replica's.
    pub decides: bool,
    /// First row and number of rows.
    pub offset: u64,
    pub limit: u64,
}

/// One page and how many there are in all.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub total: u64,
}

/// A line of the audit log.
#[derive(Clone, Debug)]
pub struct AuditEntry {
    pub at: Timestamp,
    pub changed_by: String,
    /// SHA-256 of the credential that acted, where it was a key.
    pub changed_by_key: Option<KeyHash>,
    /// `created`, `updated`, `deleted`, `blocked`, `unblocked`, `rotated`, `imported`.
    pub action: &'static str,
    pub table: &'static str,
    pub object_id: String,
    /// The row that the change was computed from. One that is replaced must still be that, its spend aside: otherwise
    /// the change is refused ([`DirectoryError::Changed`]), for it would undo another that it did not see.
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}

/// The durable home of everything. Every write also writes `audit` in the same transaction, and makes other processes
/// drop what they cached of the rows it touched.
#[async_trait]
pub trait Store: Send + Sync {
    // -- resolving callers: one query each --

    /// The key and all that belongs to it; a rotated key in its grace period resolves to the key that replaced it.
    async fn identity(&self, key: &KeyHash, now: Timestamp) -> Result<Option<Identity>>;
    /// When a rotated key stops working; `None` for every other key.
    async fn revoked_at(&self, old: &KeyHash) -> Result<Option<Timestamp>>;
    /// The identity of a user without a key (roles, teams, limits).
    /// What the directory knows of a user, a team and an organization that a token names, and of the user's place in
    /// the team; what it does not know is absent.
    async fn principal(&self, principal: &Principal) -> Result<Identity>;
    /// The user an identity provider names: by its id, else by its id at the provider, else by its address in any letter
    /// case. [`DirectoryError::Ambiguous`] where several have that address, or who has it has another id at the provider.
    async fn user_named(&self, id: Option<&str>, email: Option<&str>) -> Result<Option<User>>;
    /// At most two: one more than an alias may name.
    async fn teams_by_alias(&self, alias: &str) -> Result<Vec<Team>>;
    /// At most two.
    async fn organizations_by_alias(&self, alias: &str) -> Result<Vec<Organization>>;
    /// The key that a claim of a token stands for; `issuer` empty is any.
    async fn key_mapping(&self, issuer: &str, claim: &str, value: &str) -> Result<Option<KeyMapping>>;
    /// A mapping, and the key it is for where that is created with it.
    async fn put_key_mapping(
        &self,
        mapping: &KeyMapping,
        key: Option<&Key>,
        create: bool,
        audit: AuditEntry,
    ) -> Result<()>;
    async fn key_mapping_by_id(&self, id: &str) -> Result<Option<KeyMapping>>;
    async fn list_key_mappings(&self, offset: u64, limit: u64) -> Result<Page<KeyMapping>>;
    async fn delete_key_mapping(&self, id: &str, audit: AuditEntry) -> Result<()>;
    /// With the limits of its budget row.
    async fn end_user(&self, user_id: &str) -> Result<Option<EndUser>>;
    /// As it is stored, which is what a change of it begins with.
    async fn end_user_row(&self, user_id: &str) -> Result<Option<EndUser>>;
    async fn budget(&self, budget_id: &str) -> Result<Option<Budget>>;
    /// All tags and access groups; few, and needed to know which of a request's names carry limits.
    async fn tags(&self) -> Result<Vec<Tag>>;
    /// As it is stored, which is what a change of it begins with.
    async fn tag_row(&self, tag_name: &str) -> Result<Option<Tag>>;
    async fn access_groups(&self) -> Result<Vec<AccessGroup>>;

    // -- keys --

    async fn create_key(&self, key: &Key, audit: AuditEntry) -> Result<()>;
    async fn key(&self, token: &KeyHash) -> Result<Option<Key>>;
    async fn key_by_alias(&self, alias: &str) -> Result<Option<Key>>;
    /// Replaces the row; everything but `spend`, which only the ledger changes.
    async fn update_key(&self, key: &Key, audit: AuditEntry) -> Result<()>;
    async fn delete_key(&self, token: &KeyHash, audit: AuditEntry) -> Result<()>;
    /// Moves the row to a new hash; the old one keeps working until `revoke_old_at`, where given.
    async fn rotate_key(
        &self,
        old: &KeyHash,
        new: &Key,
        revoke_old_at: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<()>;
    async fn list_keys(&self, filter: &KeyFilter) -> Result<Page<Key>>;

    // -- teams, users, organizations, projects, budgets, end users, tags, access groups --

    async fn put_team(&self, team: &Team, create: bool, audit: AuditEntry) -> Result<()>;
    async fn team(&self, team_id: &str) -> Result<Option<Team>>;
    /// Of the present, never a read replica's: what may be deleted depends on it.
    async fn list_teams(&self, offset: u64, limit: u64) -> Result<Page<Team>>;
    async fn delete_team(&self, team_id: &str, audit: AuditEntry) -> Result<()>;
    async fn put_member(&self, member: &Member, create: bool, audit: AuditEntry) -> Result<()>;
    async fn members_of_team(&self, team_id: &str) -> Result<Vec<Member>>;
    async fn memberships_of_user(&self, user_id: &str) -> Result<Vec<Member>>;
    async fn delete_member(&self, team_id: &str, user_id: &str, audit: AuditEntry) -> Result<()>;
    async fn put_user(&self, user: &User, create: bool, audit: AuditEntry) -> Result<()>;
    async fn user(&self, user_id: &str) -> Result<Option<User>>;
    async fn list_users(&self, offset: u64, limit: u64) -> Result<Page<User>>;
    async fn delete_user(&self, user_id: &str, audit: AuditEntry) -> Result<()>;
    async fn put_organization(&self, organization: &Organization, create: bool, audit: AuditEntry) -> Result<()>;
    async fn organization(&self, organization_id: &str) -> Result<Option<Organization>>;
    async fn list_organizations(&self, offset: u64, limit: u64) -> Result<Page<Organization>>;
    async fn delete_organization(&self, organization_id: &str, audit: AuditEntry) -> Result<()>;
    async fn put_project(&self, project: &Project, create: bool, audit: AuditEntry) -> Result<()>;
    async fn project(&self, project_id: &str) -> Result<Option<Project>>;
    async fn put_budget(&self, budget: &Budget, create: bool, audit: AuditEntry) -> Result<()>;
    async fn list_budgets(&self, offset: u64, limit: u64) -> Result<Page<Budget>>;
    async fn delete_budget(&self, budget_id: &str, audit: AuditEntry) -> Result<()>;
    async fn put_end_user(&self, end_user: &EndUser, create: bool, audit: AuditEntry) -> Result<()>;
    async fn put_tag(&self, tag: &Tag, create: bool, audit: AuditEntry) -> Result<()>;
    async fn put_access_group(&self, group: &AccessGroup, create: bool, audit: AuditEntry) -> Result<()>;

    // -- sessions of users, and the keys that sign them --

    /// The newest first, as many as may be of use.
    async fn session_keys(&self) -> Result<Vec<SessionKey>>;
    /// A new key; where its period has one, [`DirectoryError::Exists`].
    async fn put_session_key(&self, key: &SessionKey, audit: AuditEntry) -> Result<()>;
    async fn session(&self, sid: &str) -> Result<Option<UserSession>>;
    async fn put_session(&self, session: &UserSession, create: bool, audit: AuditEntry) -> Result<()>;
    /// The newest first, at most 1,000.
    async fn sessions_of_user(&self, user_id: &str) -> Result<Vec<UserSession>>;
    /// Revokes every session of a user that lives at the moment of the audit line; answers how many.
    async fn revoke_sessions_of_user(&self, user_id: &str, audit: AuditEntry) -> Result<u64>;
    /// Deletes sessions that are over, and keys of periods before this one that no session needs; answers how many rows.
    async fn sweep_sessions(&self, now: Timestamp, period_start: Timestamp) -> Result<u64>;

    // -- all of another gate's rows --

    /// Writes what is not there yet, in one transaction; a dry run takes all of it back. Rows that are there stay as they
    /// are, but for end users that only spending made, and what was imported once and is gone stays away.
    async fn import(&self, bundle: Arc<Bundle>) -> Result<Imported>;

    // -- settings (small named values; the key that signs hold tokens lives here) --

    async fn setting(&self, name: &str) -> Result<Option<String>>;
    /// Writes a setting if it is absent, and returns what is there then.
    async fn setting_or_insert(&self, name: &str, value: &str) -> Result<String>;

    // -- the ledger's tables --

    /// Writes records and adds what was really inserted to the accounts and entities, in one transaction. Answers which
    /// were new.
    async fn write_records(&self, records: &[Record]) -> Result<Vec<bool>>;
    /// What an account has spent, as written.
    async fn spent(&self, account: &Account) -> Result<Money>;
    async fn knows_record(&self, id: HoldId) -> Result<bool>;
    /// Which of these records (hold and sequence) are written.
    async fn knows_records(&self, records: &[(HoldId, u32)]) -> Result<Vec<bool>>;
    /// Records newest first, with the same filters as `/spend/logs` (all optional).
    async fn records(&self, key: Option<&KeyHash>, offset: u64, limit: u64) -> Result<Page<Record>>;
    /// Takes the days before this one (counted from 1970-01-01) out of the ledger, and keeps what they add up to as
    /// checkpoints; answers how many days.
    async fn trim_ledger(&self, day: i64) -> Result<u64>;
    /// Proves that entity spend = checkpoints + records = period spend.
    async fn verify(&self) -> Result<Verification>;
}

/// What `ledger verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    pub records: u64,
    pub accounts: u64,
    pub total_nanodollars: i64,
    /// Records booked and not yet in the database.
    pub pending: u64,
    /// Every account or entity whose spend is not the sum of its records.
    pub differences: Vec<Difference>,
}

/// One account that does not add up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// `period_spend`, `keys`, `teams` …, or `counters`.
    pub place: String,
    pub account: String,
    pub expected_nanodollars: i64,
    pub found_nanodollars: i64,
}

/// A shared store.
pub type SharedStore = Arc<dyn Store>;
