//! What is SQLite's own: statements it can read, files it must refuse, disks that are full.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rusqlite::Connection;

use super::super::engine::{Engine, Reading};
use super::super::migrations::Mode;
use super::super::session;
use super::super::statements::{Dialect, Statements};
use super::super::testing::{TempStore, audit};
use super::super::{DirectoryError, Store};
use super::SqliteStore;
use crate::domain::{Key, KeyHash, Timestamp};

async fn open(file: &Path) -> super::Result<SqliteStore> {
    SqliteStore::open(file, Mode::Auto, Arc::new(AtomicU64::new(0))).await
}

#[tokio::test]
async fn every_statement_can_be_read() {
    let temp = TempStore::sqlite().await;
    let connection = Connection::open(temp.folder.path().join("directory.db")).unwrap();
    for text in Statements::load(Dialect::Sqlite).texts() {
        connection.prepare(&text).map_err(|error| format!("{text}: {error}")).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "this is a shopping list, and a long one at that\n".repeat(100)).unwrap();
    std::fs::write(path("short"), "x").unwrap();
    let foreign = Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE keys (id INTEGER)").unwrap();
    drop(foreign);
    drop(open(&path("newer")).await.unwrap());
    let newer = Connection::open(path("newer")).unwrap();
    newer
        .execute_batch(
            "UPDATE refinery_schema_history SET version = 999 \
             WHERE version = (SELECT MAX(version) FROM refinery_schema_history); PRAGMA journal_mode = DELETE",
        )
        .unwrap();
    drop(newer);
    for (name, why) in [
        ("text", "not a database"),
        ("short", "not a database"),
        ("foreign", "another program"),
        ("newer", "version 999"),
    ] {
        let before = std::fs::read(path(name)).unwrap();
        let error = open(&path(name)).await.err().map(|error| error.to_string()).unwrap();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(std::fs::read(path(name)).unwrap(), before, "{name}");
    }
    for name in [".", "no/such/folder.db"] {
        assert!(open(&path(name)).await.is_err(), "{name}");
    }
}

#[tokio::test]
async fn rows_outlive_the_process_and_two_may_open_the_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("directory.db");
    let (one, other) = tokio::join!(open(&file), open(&file));
    let (one, other) = (one.unwrap(), other.unwrap());
    let key = Key::new(KeyHash::of("sk-a"), Timestamp::millis(1));
    one.create_key(&key, audit()).await.unwrap();
    assert_eq!(other.key(&key.token).await.unwrap(), Some(key.clone()));
    drop((one, other));
    assert_eq!(open(&file).await.unwrap().key(&key.token).await.unwrap(), Some(key));
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_nothing_is_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("directory.db")).await.unwrap();
    let pages = |most: &'static str| {
        store
            .writer
            .call(super::CALL, move |connection| connection.query_row(most, [], |_| Ok(())).map_err(super::errors::of))
    };
    pages("PRAGMA max_page_count = 1").await.unwrap();
    let mut written = Vec::new();
    let refused = loop {
        let key = Key::new(KeyHash::of(&written.len().to_string()), Timestamp::millis(1));
        match store.create_key(&key, audit()).await {
            Ok(()) => written.push(key),
            Err(error) => break (key, error),
        }
        assert!(written.len() < 10_000, "the disk is never full");
    };
    assert!(matches!(refused.1, DirectoryError::Full(_)), "{}", refused.1);
    assert_eq!(store.key(&refused.0.token).await.unwrap(), None);
    pages("PRAGMA max_page_count = 1000000").await.unwrap();
    store.create_key(&refused.0, audit()).await.unwrap();
    let lines = store.read(Reading::Row, |session, _| {
        Box::pin(session::number(session, "SELECT COUNT(*) FROM audit_log", Vec::new()))
    });
    assert_eq!(lines.await.unwrap(), Some(written.len() as i64 + 1), "a refused write leaves no line of audit");
}
