//! The embedded directory: one SQLite file, one thread that writes and two that read, so that no runtime ever waits
//! for the disk. Every call has an end in time; what did not end is `Unavailable`, a full disk is `Full`, and nothing
//! is ever half-written.

mod connection;
mod errors;
mod session;
#[cfg(test)]
mod tests;
mod threads;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use rusqlite::Connection;

use self::errors::unavailable;
use self::session::SqliteSession;
use self::threads::Worker;
pub(super) use self::watch::Watch;
use super::engine::{CALL, Doing, Engine, Reading, Writing, record_change};
use super::migrations::{Mode, Schema};
use super::session::Session;
use super::statements::{Dialect, Statements};
use super::{AuditEntry, DirectoryError, Result};

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
    /// Opens the file, creating and migrating it as `mode` says. Refuses, and leaves untouched, what is no database, is
    /// another program's, was written by a newer version or cannot be written.
    pub(super) async fn open(file: &Path, mode: Mode, generation: Arc<AtomicU64>) -> Result<SqliteStore> {
        let path = file.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let (writer, _) = connection::open_and_migrate(&path, mode)?;
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

    /// Runs a job in a transaction on the thread that writes; `after` it is committed, the caller is answered.
    async fn transact<T, J>(&self, bound: Duration, after: impl FnOnce() + Send + 'static, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let statements = Arc::clone(&self.statements);
        let job = move |connection: &mut Connection| {
            // It waits for its turn at the start, where waiting cannot deadlock.
            let done = surrounded(connection, "BEGIN IMMEDIATE", &statements, job)?;
            after();
            Ok(done)
        };
        self.writer.call(bound, job).await
    }
}

#[async_trait]
impl Engine for SqliteStore {
    async fn read<T, J>(&self, reading: Reading, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let statements = Arc::clone(&self.statements);
        let job = move |connection: &mut Connection| match reading {
            Reading::Row => at_once(job(&mut SqliteSession { connection }, &statements)),
            Reading::List | Reading::Report | Reading::Ledger => {
                surrounded(connection, "BEGIN DEFERRED", &statements, job)
            }
        };
        self.readers.call(reading.bound(), job).await
    }

    async fn change<T, J>(&self, audit: AuditEntry, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let generation = Arc::clone(&self.generation);
        let after = move || {
            generation.fetch_add(1, Ordering::AcqRel);
        };
        let change = self.transact(CALL, after, move |session, statements| {
            Box::pin(async move {
                let changed = job(session, statements).await?;
                record_change(session, statements, audit).await?;
                Ok(changed)
            })
        });
        change.await
    }

    async fn write<T, J>(&self, writing: Writing, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        self.transact(writing.bound(), || {}, job).await
    }

    async fn make_room(&self, _days: &[i64]) {}
}

/// Runs a job in a transaction; nothing of it stays where it fails.
fn surrounded<T, J>(connection: &mut Connection, begin: &str, statements: &Statements, job: J) -> Result<T>
where
    J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T>,
{
    connection.execute_batch(begin).map_err(errors::of)?;
    let done = at_once(job(&mut SqliteSession { connection }, statements));
    let done = done.and_then(|done| connection.execute_batch("COMMIT").map(|()| done).map_err(errors::of));
    if done.is_err() && !connection.is_autocommit() {
        // Where even this fails, SQLite has rolled back already.
        let _ = connection.execute_batch("ROLLBACK");
    }
    done
}

/// What a job answers: over a SQLite connection no step of it ever waits.
fn at_once<T>(job: impl Future<Output = Result<T>>) -> Result<T> {
    job.now_or_never().unwrap_or_else(|| Err(unavailable("a job waited for something else than the database")))
}

/// Looks at the tables of a file, and brings them to our version where `mode` says so.
pub(super) async fn migrate(file: &Path, mode: Mode) -> Result<Schema> {
    let path = file.to_owned();
    let looked = tokio::task::spawn_blocking(move || match mode {
        Mode::Auto => connection::open_and_migrate(&path, mode).map(|(_, schema)| schema),
        Mode::Check | Mode::Off => connection::schema(&path),
    });
    looked.await.map_err(unavailable)?
}
