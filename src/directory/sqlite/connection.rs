//! Opening the file: first looked at without writing a byte, then opened, then migrated.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::migrations::{self, Mode, Schema};
use super::super::{DirectoryError, Result};
use super::errors;

/// How long a call waits for another process that writes. Below the bound of a call.
const BUSY: Duration = Duration::from_secs(4);
/// Prepared statements kept by a connection.
const PREPARED: usize = 128;
const HISTORY: &str = "refinery_schema_history";

/// What version the tables of a file have; a file that is not there has none. Writes nothing.
pub(super) fn schema(file: &Path) -> Result<Schema> {
    let refuse = |why: String| DirectoryError::Unavailable(format!("{}: {why}", file.display()));
    let found = match std::fs::metadata(file) {
        Ok(found) if !found.is_file() => return Err(refuse("this is not a file".to_owned())),
        Ok(found) if found.len() > 0 => inspect(file, found.len()).map_err(refuse)?,
        Ok(_) => 0,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(refuse(error.to_string())),
    };
    Ok(Schema::new("sqlite", found, &migrations::shared()))
}

/// The connection that writes, on a file that is certainly ours, and what was found in it.
pub(super) fn open_and_migrate(file: &Path, mode: Mode) -> Result<(Connection, Schema)> {
    let refuse = |why: String| DirectoryError::Unavailable(format!("{}: {why}", file.display()));
    let schema = schema(file)?;
    if mode == Mode::Check {
        schema.require_current().map_err(refuse)?;
    }
    match std::fs::metadata(file) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Hashes of credentials are nobody else's business; SQLite gives its other files the same mode.
            let created = OpenOptions::new().create_new(true).write(true).mode(0o600).open(file);
            if let Err(error) = created
                && error.kind() != ErrorKind::AlreadyExists
            {
                return Err(refuse(format!("cannot create the file: {error}")));
            }
        }
        Err(error) => return Err(refuse(error.to_string())),
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(file, flags).map_err(|error| refuse(error.to_string()))?;
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(errors::of)? {
        return Err(refuse("the file cannot be written; check its permissions".to_owned()));
    }
    prepare(&connection).map_err(|error| refuse(error.to_string()))?;
    if mode == Mode::Auto {
        migrate(&mut connection).map_err(refuse)?;
    }
    Ok((connection, schema))
}

/// A connection that cannot write.
pub(super) fn open_reader(file: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(errors::of)?;
    connection.busy_timeout(BUSY).map_err(errors::of)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    Ok(connection)
}

/// Looks at a file of some length without writing: whether it is a database, ours, and of a version we know. It is
/// looked at through SQLite alone: a process that closes a second descriptor of a database file gives up every lock it
/// has there (POSIX advisory locks, `fcntl(2)`).
/// Answers the version.
fn inspect(file: &Path, length: u64) -> std::result::Result<i64, String> {
    let connection =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .and_then(|connection| connection.busy_timeout(BUSY).map(|()| connection))
            .map_err(|error| error.to_string())?;
    // SQLite takes some files that are none of its own for empty ones, and would write over them.
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(|error| match &error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::NotADatabase => {
            "this is not a database".to_owned()
        }
        _ => error.to_string(),
    })?;
    if pages == 0 && length > 0 {
        return Err("this is not a database".to_owned());
    }
    let tables = "SELECT COUNT(*), COALESCE(SUM(name = ?1), 0) FROM sqlite_master WHERE type = 'table'";
    let (tables, history): (i64, i64) = connection
        .query_row(tables, [HISTORY], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(|error| format!("its tables cannot be read: {error}"))?;
    if tables == 0 {
        return Ok(0);
    }
    if history == 0 {
        return Err("this is a database of another program".to_owned());
    }
    let found: i64 = connection
        .query_row(&format!("SELECT COALESCE(MAX(version), 0) FROM {HISTORY}"), [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    migrations::refuse_newer(found, &migrations::shared())?;
    Ok(found)
}

/// `synchronous = FULL`: an answered write outlives a power cut. Rows are written seldom and a revoked key must stay
/// revoked; the ledger writes a few batches a second and then drops its spool. Both are worth one fsync a commit.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    write_ahead(connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    Ok(())
}

/// Turns the write-ahead log on. Where two processes do so at once, one is told that the file is busy without a wait,
/// since both read and want to write: it waits for the other's turn to end, and looks again.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let until = Instant::now() + BUSY;
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if failure.code == ErrorCode::DatabaseBusy && Instant::now() < until =>
            {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            done => return done,
        }
    }
}

/// Brings the tables to our version in one transaction. Where two processes start at once, the one that comes second
/// waits for the first, finds its work done, and looks again.
fn migrate(connection: &mut Connection) -> std::result::Result<(), String> {
    connection.set_transaction_behavior(rusqlite::TransactionBehavior::Immediate);
    let run = |connection: &mut Connection| {
        let runner = migrations::runner().set_grouped(true).set_abort_divergent(true);
        runner.run(connection).map(drop).map_err(|error| format!("cannot migrate its tables: {error}"))
    };
    let migrated = run(connection).or_else(|_| run(connection));
    connection.set_transaction_behavior(rusqlite::TransactionBehavior::Deferred);
    migrated
}
