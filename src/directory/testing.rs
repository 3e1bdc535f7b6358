//! What tests of several rooms need of a directory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::migrations::Mode;
use super::postgres::{Place, PostgresStore};
use super::sqlite::SqliteStore;
use super::{AuditEntry, SharedStore};
use crate::config;
use crate::domain::{Secret, Timestamp};
use crate::real::pgbouncer::PgBouncer;
use crate::real::postgres::Postgres;

/// A store in a folder that goes with it.
pub(crate) struct TempStore {
    pub(crate) store: SharedStore,
    pub(crate) folder: tempfile::TempDir,
}

impl TempStore {
    pub(crate) async fn sqlite() -> TempStore {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.db");
        let store = SqliteStore::open(&file, Mode::Auto, Arc::new(AtomicU64::new(0))).await.unwrap();
        TempStore { store: Arc::new(store), folder }
    }

    pub(crate) async fn postgres() -> TempStore {
        TempStore::on_postgres(&Postgres::shared().database(), &config::Directory::default()).await
    }

    /// Behind a pooler in transaction mode.
    pub(crate) async fn pgbouncer() -> TempStore {
        let url = Postgres::shared().database();
        let config = config::Directory {
            prepared_statements: config::PreparedStatements::Off,
            listen_url: Some(Secret::new(url.as_str())),
            ..config::Directory::default()
        };
        TempStore::on_postgres(&PgBouncer::shared().url(&url), &config).await
    }

    async fn on_postgres(url: &str, config: &config::Directory) -> TempStore {
        let store = postgres(url, config).await.unwrap();
        TempStore { store: Arc::new(store), folder: tempfile::tempdir().unwrap() }
    }
}

/// A store on a database.
pub(super) async fn postgres(url: &str, config: &config::Directory) -> super::Result<PostgresStore> {
    let place = Arc::new(Place::of(config, &Secret::new(url))?);
    PostgresStore::open(&place, config, Arc::new(AtomicU64::new(0))).await
}

pub(crate) fn audit() -> AuditEntry {
    AuditEntry {
        at: Timestamp::parse("2026-11-24T12:00:00Z").unwrap(),
        changed_by: "admin".to_owned(),
        changed_by_key: None,
        action: "updated",
        table: "keys",
        object_id: "id".to_owned(),
        before: None,
        after: Some(serde_json::json!({"blocked": false})),
    }
}
