//! What tests of several rooms need of a directory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::sqlite::SqliteStore;
use super::{AuditEntry, SharedStore};
use crate::domain::Timestamp;

/// A store in a folder that goes with it.
pub(crate) struct TempStore {
    pub(crate) store: SharedStore,
    pub(crate) folder: tempfile::TempDir,
}

impl TempStore {
    pub(crate) async fn sqlite() -> TempStore {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("directory.db");
        let store = SqliteStore::open(&file, Arc::new(AtomicU64::new(0))).await.unwrap();
        TempStore { store: Arc::new(store), folder }
    }
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
