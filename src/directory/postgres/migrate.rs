//! Migrations of PostgreSQL: all of them in one transaction, which holds a lock, so that any number of processes may
//! start at once, and through any pooler.

use std::time::Duration;

use refinery::Migration;
use tokio_postgres::Client;

use super::super::migrations::{self, Mode, Schema};
use super::super::{DirectoryError, Result};
use super::connect::ask;
use super::{CALL, Place, errors, locks, within};
use crate::domain::Timestamp;

mod embedded {
    refinery::embed_migrations!("src/directory/postgres/migrations");
}

/// Longest time for everything: the wait for another's migration, and our own.
const BOUND: Duration = Duration::from_secs(600);

/// The migrations of this engine, in order: those both engines run, and its own.
pub(super) fn all() -> Vec<Migration> {
    let mut all = migrations::shared();
    all.extend(embedded::migrations::runner().get_migrations().iter().cloned());
    all.sort_by_key(Migration::version);
    all.sort_by_key(Migration::version);
    all
}

/// Looks at the tables, and does what `mode` says. Answers what was found.
pub(in super::super) async fn migrate(place: &Place, mode: Mode) -> Result<Schema> {
    let target = place.direct.clone();
    let work = async move {
        let client = ask(&target).await?;
        let all = all();
        let found = Schema::new("postgres", within(CALL, version(&client, &all)).await?, &all);
        match mode {
            Mode::Auto if !found.pending.is_empty() => {
                let migrated = within(BOUND, run(&client, &all)).await;
                if migrated.is_err() {
                    // Where even this fails, the connection ends, and nothing stays.
                    let _ = tokio::time::timeout(CALL, client.batch_execute("ROLLBACK")).await;
                }
                migrated?;
            }
            Mode::Auto | Mode::Check | Mode::Off => {}
        }
        Ok(found)
    };
    place.driver.handle().spawn(work).await.map_err(errors::unavailable)?
}

/// The version of the tables; 0 where there are none, and an error where they are newer than ours.
async fn version(client: &Client, all: &[Migration]) -> Result<i64> {
    let failed = |error: tokio_postgres::Error| errors::of(&error);
    let there = client.query_typed("SELECT to_regclass('tollward_schema') IS NOT NULL", &[]).await.map_err(failed)?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let text = "SELECT version, checksum FROM tollward_schema ORDER BY version";
    let mut newest = 0;
    for row in client.query_typed(text, &[]).await.map_err(failed)? {
        let (version, checksum): (i64, &str) = (row.get(0), row.get(1));
        let ours = all.iter().find(|migration| i64::from(migration.version()) == version);
        if ours.is_some_and(|ours| ours.checksum().to_string() != checksum) {
            return Err(errors::unavailable(format!("version {version} of its tables is not ours")));
        }
        newest = version;
    }
    migrations::refuse_newer(newest, all).map_err(DirectoryError::Unavailable)?;
    Ok(newest)
}

async fn run(client: &Client, all: &[Migration]) -> Result<()> {
    let failed = |error: tokio_postgres::Error| errors::of(&error);
    let begin = format!(
        "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = {}; \
         SELECT pg_advisory_xact_lock({}, {});",
        BOUND.as_millis() / 2,
        locks::CLASS,
        locks::MIGRATE
    );
    client.batch_execute(&begin).await.map_err(failed)?;
    let table = "CREATE TABLE IF NOT EXISTS tollward_schema (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
                 checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";
    client.batch_execute(table).await.map_err(failed)?;
    // Another may have done it meanwhile.
    let found = version(client, all).await?;
    for migration in all.iter().filter(|migration| i64::from(migration.version()) > found) {
        let (version, name) = (migration.version(), migration.name());
        client.batch_execute(migration.sql().unwrap_or_default()).await.map_err(|error| {
            errors::unavailable(format!("cannot migrate its tables (V{version}__{name}): {}", errors::said(&error)))
        })?;
        // Names are those of our files.
        let row = format!(
            "INSERT INTO tollward_schema (version, name, checksum, applied_at) VALUES ({version}, '{name}', '{}', {})",
            migration.checksum(),
            Timestamp::now().as_millis()
        );
        client.batch_execute(&row).await.map_err(failed)?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)
}
