//! An engine: where jobs find a session. A job is written once; the engine decides which connection it gets, which
//! transaction surrounds it, and how long it may take. Every call has an end in time.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::rows::{Columns, Value};
use super::session::{self, Session};
use super::statements::Statements;
use super::{AuditEntry, DirectoryError, Result};
use crate::domain::HoldId;

/// A call that did not end by then is answered `Unavailable`. Above the time a writer waits for another process.
pub(super) const CALL: Duration = Duration::from_secs(5);
/// The same for a batch of the ledger; what it waits for is the disk.
pub(super) const BATCH: Duration = Duration::from_secs(30);
/// Reading the whole ledger takes as long as it takes.
pub(super) const WHOLE_LEDGER: Duration = Duration::from_secs(3_600);

/// What a job reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// One statement, of the present.
    Row,
    /// A list, all of it of one moment.
    List,
    /// A list for people, all of it of one moment, which may be a little ago: a read replica answers where there is one.
    Report,
    /// A day of the ledger or all of it, of one moment.
    Ledger,
}

impl Reading {
    pub(super) fn bound(self) -> Duration {
        match self {
            Reading::Row | Reading::List | Reading::Report => CALL,
            Reading::Ledger => WHOLE_LEDGER,
        }
    }
}

/// What a job writes that nobody caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    Setting,
    /// Records of the ledger.
    Batch,
    /// Days taken out of the ledger; nobody writes records meanwhile.
    Days,
}

impl Writing {
    pub(super) fn bound(self) -> Duration {
        match self {
            Writing::Setting => CALL,
            Writing::Batch | Writing::Days => BATCH,
        }
    }
}

/// What a job answers, when it is done.
pub(super) type Doing<'s, T> = BoxFuture<'s, Result<T>>;

/// See the module.
#[async_trait]
pub(super) trait Engine: Send + Sync + 'static {
    async fn read<T, J>(&self, reading: Reading, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static;

    /// Changes rows other than the ledger's in one transaction, with its line of the audit log, and lets every process
    /// know. Changes come one after another.
    async fn change<T, J>(&self, audit: AuditEntry, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static;

    /// Writes what nobody caches, in one transaction.
    async fn write<T, J>(&self, writing: Writing, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static;

    /// Makes room for records of these days, where that is needed before they can be written well.
    async fn make_room(&self, days: &[i64]);
}

/// The end of every change: its line of the audit log, and the count of changes, which it answers.
pub(super) async fn record_change(
    session: &mut dyn Session,
    statements: &Statements,
    audit: AuditEntry,
) -> Result<i64> {
    session::execute(session, &statements.insert_audit, audit_values(audit)?).await?;
    let version = session::one(session, &statements.bump_version, Vec::new(), |columns| columns.integer()).await?;
    version.flatten().ok_or_else(|| DirectoryError::Corrupt("the count of changes is gone".to_owned()))
}

fn audit_values(audit: AuditEntry) -> Result<Vec<Value>> {
    let optional = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    Ok(vec![
        Value::Text(random_id()?.to_string()),
        Value::Integer(audit.at.as_millis()),
        Value::Text(audit.changed_by),
        optional(audit.changed_by_key.map(|key| key.to_string())),
        Value::Text(audit.action.to_owned()),
        Value::Text(audit.table.to_owned()),
        Value::Text(audit.object_id),
        optional(audit.before.map(|json| json.to_string())),
        optional(audit.after.map(|json| json.to_string())),
    ])
}

/// 128 random bits.
pub(super) fn random_id() -> Result<HoldId> {
    let mut bytes = [0; 16];
    let filled = aws_lc_rs::rand::fill(&mut bytes);
    filled.map_err(|_| DirectoryError::Unavailable("no random numbers".to_owned()))?;
    Ok(HoldId::new(bytes))
}

/// Hands over nothing: for statements that answer no rows.
pub(super) fn nothing(_: &mut dyn Columns) -> Result<()> {
    Ok(())
}
