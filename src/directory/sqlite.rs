//! The embedded directory: one SQLite file, one thread that writes and two that read, so that no runtime ever waits
//! for the disk. Every call has an end in time; what did not end is `Unavailable`, a full disk is `Full`, and nothing
//! is ever half-written.

mod connection;
mod errors;
mod identity;
mod import;
mod keys;
mod ledger;
mod rows;
mod store;
#[cfg(test)]
mod tests;
mod threads;
mod verify;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use self::errors::unavailable;
use self::threads::Worker;
pub(super) use self::watch::Watch;
use super::rows::Value;
use super::statements::{Dialect, Statements};
use super::{AuditEntry, DirectoryError, Result};

/// A call that did not end by then is answered `Unavailable`. Above the time a writer waits for another process.
const CALL: Duration = Duration::from_secs(5);
/// The same for a batch of the ledger; what it waits for is the disk.
const BATCH: Duration = Duration::from_secs(30);
/// Reading the whole ledger takes as long as it takes.
const WHOLE_LEDGER: Duration = Duration::from_secs(3_600);
const READERS: usize = 2;
/// Calls that may wait; past it they are refused at once.
const QUEUE: usize = 1_024;

/// The directory in a file.
pub(super) struct SqliteStore {
    writer: Worker,
    readers: Worker,
    statements: Arc<Statements>,
    /// Counted up after every write of an entity, before the writer is answered: what was cached before is old.
    generation: Arc<AtomicU64>,
}

impl SqliteStore {
    /// Opens the file, creating and migrating it where needed. Refuses, and leaves untouched, what is no database, is
    /// another program's, was written by a newer version or cannot be written.
    pub(super) async fn open(file: &Path, generation: Arc<AtomicU64>) -> Result<SqliteStore> {
        let path = file.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let writer = connection::open_and_migrate(&path)?;
            let readers = (0..READERS).map(|_| connection::open_reader(&path)).collect::<Result<Vec<_>>>()?;
            Ok::<_, DirectoryError>((writer, readers))
        });
        let (writer, readers) = opened.await.map_err(unavailable)??;
        Ok(SqliteStore {
            writer: Worker::begin("directory-writer", vec![writer], QUEUE)?,
            readers: Worker::begin("directory-reader", readers, QUEUE)?,
            statements: Arc::new(Statements::load(Dialect::Sqlite)),
            generation,
        })
    }

    /// Runs a query on a thread that reads, in one snapshot.
    async fn read<T: Send + 'static>(
        &self,
        bound: Duration,
        query: impl FnOnce(&Connection, &Statements) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let statements = Arc::clone(&self.statements);
        self.readers.call(bound, move |connection| query(connection, &statements)).await
    }

    /// Changes rows other than the ledger's in one transaction, with its line of the audit log, and lets every
    /// process know.
    async fn change<T: Send + 'static>(
        &self,
        audit: AuditEntry,
        change: impl FnOnce(&Transaction<'_>, &Statements) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (statements, generation) = (Arc::clone(&self.statements), Arc::clone(&self.generation));
        let job = move |connection: &mut Connection| {
            let transaction = begin(connection)?;
            let changed = change(&transaction, &statements)?;
            rows::execute(&transaction, &statements.insert_audit, audit_values(audit)?)?;
            rows::execute(&transaction, &statements.bump_version, Vec::new())?;
            transaction.commit().map_err(errors::of)?;
            generation.fetch_add(1, Ordering::AcqRel);
            Ok(changed)
        };
        self.writer.call(CALL, job).await
    }

    /// Writes what nobody caches: settings and the ledger.
    async fn write<T: Send + 'static>(
        &self,
        bound: Duration,
        write: impl FnOnce(&Transaction<'_>, &Statements) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let statements = Arc::clone(&self.statements);
        let job = move |connection: &mut Connection| {
            let transaction = begin(connection)?;
            let written = write(&transaction, &statements)?;
            transaction.commit().map_err(errors::of)?;
            Ok(written)
        };
        self.writer.call(bound, job).await
    }
}

/// A transaction that will write: it waits for its turn at the start, where waiting cannot deadlock.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(errors::of)
}

fn audit_values(audit: AuditEntry) -> Result<Vec<Value>> {
    let optional = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    Ok(vec![
        Value::Text(random_name()?),
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

/// 128 random bits in hex.
fn random_name() -> Result<String> {
    Ok(random_id()?.to_string())
}

fn random_id() -> Result<crate::domain::HoldId> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| unavailable("no random numbers"))?;
    Ok(crate::domain::HoldId::new(bytes))
}
