//! Importing: all rows of another gate, written in one transaction. A row that is there stays as it is, unless it is one
//! that nobody wrote, for an end user who was first seen by spending; one that was imported before and is gone was rotated
//! or deleted here, and never comes back. What a row has spent is booked with it and only then, so nothing is counted
//! twice however often an import is run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::{Engine, record_audit};
use super::rows::{Row, Value, day_of, insert_values, key_values};
use super::session::{self, Session};
use super::statements::{Statements, Table};
use super::{AuditEntry, Result, ledger};
use crate::domain::{
    AccessGroup, Account, Budget, DeprecatedKey, EndUser, HoldId, Key, KeyHash, KeyMapping, Member, Money,
    ObjectPermission, Organization, OrganizationMember, Project, Record, Tag, Team, Timestamp, User,
};

/// Records that are booked at a time.
const BATCH: usize = 1_000;

/// A row, and the records that say what it has spent.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming<T> {
    pub row: T,
    pub openings: Vec<Record>,
}

/// Everything to import. Rows that others refer to come first.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub at: Timestamp,
    /// Who imports, for the audit log.
    pub by: String,
    /// Find out what would happen, and leave everything as it is.
    pub dry_run: bool,
    pub budgets: Vec<Budget>,
    pub object_permissions: Vec<ObjectPermission>,
    pub organizations: Vec<Incoming<Organization>>,
    pub users: Vec<Incoming<User>>,
    pub organization_members: Vec<OrganizationMember>,
    pub teams: Vec<Incoming<Team>>,
    pub members: Vec<Incoming<Member>>,
    pub projects: Vec<Incoming<Project>>,
    pub keys: Vec<Incoming<Key>>,
    pub deprecated: Vec<DeprecatedKey>,
    pub key_mappings: Vec<KeyMapping>,
    pub end_users: Vec<Incoming<EndUser>>,
    pub tags: Vec<Incoming<Tag>>,
    pub access_groups: Vec<Incoming<AccessGroup>>,
    /// What the whole gate has spent.
    pub global: Vec<Record>,
}

impl Bundle {
    #[must_use]
    pub fn new(at: Timestamp, by: String) -> Bundle {
        Bundle {
            at,
            by,
            dry_run: false,
            budgets: Vec::new(),
            object_permissions: Vec::new(),
            organizations: Vec::new(),
            users: Vec::new(),
            organization_members: Vec::new(),
            teams: Vec::new(),
            members: Vec::new(),
            projects: Vec::new(),
            keys: Vec::new(),
            deprecated: Vec::new(),
            key_mappings: Vec::new(),
            end_users: Vec::new(),
            tags: Vec::new(),
            access_groups: Vec::new(),
            global: Vec::new(),
        }
    }
}

/// What became of the rows of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub imported: u64,
    pub unchanged: u64,
}

/// Why a row, or a part of it, was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It was imported once and is gone.
    RemovedHere,
    /// Another row has a name that must be unique; the row is there without it.
    NameTaken,
    /// The same, and the row cannot be without it.
    RowTaken,
    /// The key it belongs to is not there.
    KeyMissing,
    /// The old hash of a rotated key is a key of its own here, and works as one.
    StillAKey,
}

impl Obstacle {
    /// Whether the row itself was not written.
    #[must_use]
    pub fn skips(self) -> bool {
        self != Obstacle::NameTaken
    }
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// By table of the directory.
    pub tables: BTreeMap<&'static str, Tally>,
    /// Table, row, reason.
    pub obstacles: Vec<(&'static str, String, Obstacle)>,
    /// Opening records booked, and what they say was spent, each entity for itself.
    pub records: u64,
    pub opening: Money,
    /// What these entities spend on, now or by an import before: who counts must load it again.
    pub accounts: Vec<Account>,
}

/// A row with a name that must be unique beside its key.
trait Importable: Row + Send + Sync {
    /// The row without that name, where it can be.
    fn unnamed(&self) -> Option<Self> {
        None
    }
    /// The key it cannot be without.
    fn key(&self) -> Option<&KeyHash> {
        None
    }
    /// The hash that must not be a key's, nor have been one that is gone.
    fn retired(&self) -> Option<&KeyHash> {
        None
    }
    /// What stands in its place where nobody wrote it: the row that the ledger makes of a name with its first spend.
    fn bare(&self) -> Option<Self> {
        None
    }
}

impl Importable for Budget {}
impl Importable for ObjectPermission {}
impl Importable for Organization {}
impl Importable for OrganizationMember {}
impl Importable for Team {}
impl Importable for Member {}
impl Importable for Project {}
impl Importable for Tag {}
impl Importable for AccessGroup {}

impl Importable for EndUser {
    fn bare(&self) -> Option<EndUser> {
        Some(EndUser { user_id: self.user_id.clone(), ..EndUser::default() })
    }
}

impl Importable for User {
    fn unnamed(&self) -> Option<User> {
        self.sso_user_id.as_ref().map(|_| User { sso_user_id: None, ..self.clone() })
    }
}

impl Importable for Key {
    fn unnamed(&self) -> Option<Key> {
        self.key_alias.as_ref().map(|_| Key { key_alias: None, ..self.clone() })
    }
}

impl Importable for DeprecatedKey {
    fn key(&self) -> Option<&KeyHash> {
        Some(&self.active_token)
    }
    fn retired(&self) -> Option<&KeyHash> {
        Some(&self.token)
    }
}

impl Importable for KeyMapping {
    fn key(&self) -> Option<&KeyHash> {
        Some(&self.token)
    }
}

/// Imports everything or nothing. Takes as long as it takes: nobody else writes meanwhile.
pub(super) async fn import(engine: &impl Engine, bundle: Arc<Bundle>) -> Result<Imported> {
    if !bundle.dry_run {
        engine.make_room(&[day_of(bundle.at)]).await;
    }
    engine
        .change_many(!bundle.dry_run, move |session, statements| {
            Box::pin(async move { run(session, statements, &bundle).await })
        })
        .await
}

async fn run(session: &mut dyn Session, statements: &Statements, bundle: &Bundle) -> Result<Imported> {
    let mut import = Import { session, statements, bundle, found: Imported::default(), records: Vec::new() };
    import.rows(&statements.budgets, bundle.budgets.iter().map(alone)).await?;
    import.rows(&statements.object_permissions, bundle.object_permissions.iter().map(alone)).await?;
    import.rows(&statements.organizations, bundle.organizations.iter().map(with)).await?;
    import.rows(&statements.users, bundle.users.iter().map(with)).await?;
    import.rows(&statements.organization_members, bundle.organization_members.iter().map(alone)).await?;
    import.rows(&statements.teams, bundle.teams.iter().map(with)).await?;
    import.rows(&statements.members, bundle.members.iter().map(with)).await?;
    import.rows(&statements.projects, bundle.projects.iter().map(with)).await?;
    import.rows(&statements.keys, bundle.keys.iter().map(with)).await?;
    import.rows(&statements.deprecated, bundle.deprecated.iter().map(alone)).await?;
    import.rows(&statements.key_mappings, bundle.key_mappings.iter().map(alone)).await?;
    import.rows(&statements.end_users, bundle.end_users.iter().map(with)).await?;
    import.rows(&statements.tags, bundle.tags.iter().map(with)).await?;
    import.rows(&statements.access_groups, bundle.access_groups.iter().map(with)).await?;
    import.global().await?;
    import.book().await?;
    Ok(import.found)
}

fn alone<T>(row: &T) -> (&T, &[Record]) {
    (row, &[])
}

fn with<T>(incoming: &Incoming<T>) -> (&T, &[Record]) {
    (&incoming.row, &incoming.openings)
}

struct Import<'a> {
    session: &'a mut dyn Session,
    statements: &'a Statements,
    bundle: &'a Bundle,
    found: Imported,
    /// To be booked when all rows are there.
    records: Vec<Record>,
}

impl<'a> Import<'a> {
    async fn rows<R: Importable + 'a>(
        &mut self,
        table: &Table,
        rows: impl Iterator<Item = (&'a R, &'a [Record])> + Send,
    ) -> Result<()> {
        for (row, openings) in rows {
            self.row(table, row, openings).await?;
        }
        Ok(())
    }

    async fn row<R: Importable>(&mut self, table: &Table, row: &R, openings: &[Record]) -> Result<()> {
        let id = object_id(row);
        if self.finds(&table.exists, key_values(row)).await? {
            if !self.is_bare(table, row, &id).await? {
                self.tally(R::TABLE).unchanged += 1;
                self.spends_on(openings);
                return Ok(());
            }
            session::put(self.session, table, row, false).await?;
            return self.imported::<R>(id, openings).await;
        }
        if self.was_imported(R::TABLE, &id).await? {
            return self.obstacle(row, Obstacle::RemovedHere);
        }
        if let Some(key) = row.key()
            && !self.is_key(key).await?
        {
            return self.obstacle(row, Obstacle::KeyMissing);
        }
        if let Some(key) = row.retired() {
            if self.is_key(key).await? {
                return self.obstacle(row, Obstacle::StillAKey);
            }
            // It came as a key of its own, and was deleted or rotated here: its secret must not work again.
            if self.was_imported(Key::TABLE, &key.to_string()).await? {
                return self.obstacle(row, Obstacle::RemovedHere);
            }
        }
        if self.insert(table, row).await? == 0 {
            // Its key is free, so a name is taken.
            let Some(unnamed) = row.unnamed() else { return self.obstacle(row, Obstacle::RowTaken) };
            if self.insert(table, &unnamed).await? == 0 {
                return self.obstacle(row, Obstacle::RowTaken);
            }
            self.obstacle(row, Obstacle::NameTaken)?;
        }
        self.imported::<R>(id, openings).await
    }

    /// A row was written, and what it has spent is to be booked with it.
    async fn imported<R: Row>(&mut self, id: String, openings: &[Record]) -> Result<()> {
        self.tally(R::TABLE).imported += 1;
        self.spends_on(openings);
        self.records.extend_from_slice(openings);
        self.audit(R::TABLE, id).await
    }

    /// Whether the row that is there is one that nobody wrote: all it says is what was spent in its name.
    async fn is_bare<R: Importable>(&mut self, table: &Table, row: &R, id: &str) -> Result<bool> {
        let Some(bare) = row.bare() else { return Ok(false) };
        let name = vec![Value::Text(R::TABLE.to_owned()), Value::Text(id.to_owned())];
        if self.finds(&self.statements.audited, name).await? {
            return Ok(false);
        }
        let found = session::one(self.session, &table.select, key_values(row), R::read).await?;
        Ok(found.is_some_and(|found| found.values() == bare.values()))
    }

    async fn was_imported(&mut self, table: &str, id: &str) -> Result<bool> {
        let name = vec![Value::Text(table.to_owned()), Value::Text(id.to_owned())];
        self.finds(&self.statements.imported, name).await
    }

    async fn is_key(&mut self, token: &KeyHash) -> Result<bool> {
        self.finds(&self.statements.keys.exists, vec![Value::Text(token.to_string())]).await
    }

    async fn finds(&mut self, text: &str, values: Vec<Value>) -> Result<bool> {
        Ok(session::one(self.session, text, values, |_| Ok(())).await?.is_some())
    }

    async fn insert<R: Row>(&mut self, table: &Table, row: &R) -> Result<u64> {
        let values = insert_values(row);
        session::execute(self.session, &table.import, values).await
    }

    /// The whole gate has no row; its line in the audit log tells whether this was done.
    async fn global(&mut self) -> Result<()> {
        const TABLE: &str = "ledger";
        const NAME: &str = "global";
        if self.bundle.global.is_empty() {
            return Ok(());
        }
        self.spends_on(&self.bundle.global);
        if self.was_imported(TABLE, NAME).await? {
            self.tally(TABLE).unchanged += 1;
            return Ok(());
        }
        self.tally(TABLE).imported += 1;
        self.records.extend_from_slice(&self.bundle.global);
        self.audit(TABLE, NAME.to_owned()).await
    }

    async fn book(&mut self) -> Result<()> {
        for batch in self.records.chunks(BATCH) {
            ledger::write(self.session, self.statements, batch).await?;
        }
        self.found.records = self.records.len() as u64;
        let totals =
            self.records.iter().filter(|record| record.accounts.iter().any(|account| account.period.is_total()));
        self.found.opening = totals.map(|record| record.cost).sum();
        Ok(())
    }

    fn spends_on(&mut self, openings: &[Record]) {
        self.found.accounts.extend(openings.iter().flat_map(|record| record.accounts.iter().cloned()));
    }

    fn tally(&mut self, table: &'static str) -> &mut Tally {
        self.found.tables.entry(table).or_default()
    }

    fn obstacle<R: Row>(&mut self, row: &R, obstacle: Obstacle) -> Result<()> {
        self.found.obstacles.push((R::TABLE, row.name(), obstacle));
        Ok(())
    }

    async fn audit(&mut self, table: &'static str, object_id: String) -> Result<()> {
        let entry = AuditEntry {
            at: self.bundle.at,
            changed_by: self.bundle.by.clone(),
            changed_by_key: None,
            action: "imported",
            table,
            object_id,
            before: None,
            after: None,
        };
        record_audit(self.session, self.statements, entry).await
    }
}

/// How the audit log calls a row: its key, as JSON where that has several columns, so that no two rows share a name.
fn object_id<R: Row>(row: &R) -> String {
    let text = |value: Value| match value {
        Value::Text(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Null => String::new(),
    };
    let mut key: Vec<String> = key_values(row).into_iter().map(text).collect();
    match key.len() {
        1 => key.swap_remove(0),
        _ => serde_json::Value::from(key).to_string(),
    }
}

/// The id of an opening record: the same for the same row of the same table, whenever it is imported.
#[must_use]
pub fn opening_id(table: &str, id: &str) -> HoldId {
    let text = format!("{}:{table}:{id}", table.len());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    HoldId::new(bytes)
}
