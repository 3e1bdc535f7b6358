//! Lines of the audit log: who changed which row, from what to what. Rows hold hashes of keys, never secrets.

use serde::Serialize;

use super::{Actor, Manager};
use crate::directory::AuditEntry;

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Created,
    Updated,
    Deleted,
    Blocked,
    Unblocked,
    Rotated,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Action::Created => "created",
            Action::Updated => "updated",
            Action::Deleted => "deleted",
            Action::Blocked => "blocked",
            Action::Unblocked => "unblocked",
            Action::Rotated => "rotated",
        }
    }

    pub(super) const fn blocking(blocked: bool) -> Action {
        if blocked { Action::Blocked } else { Action::Unblocked }
    }
}

/// One row before and after; absent where it was created or deleted.
pub(super) struct Change<'r, T> {
    pub action: Action,
    pub table: &'static str,
    pub id: String,
    pub before: Option<&'r T>,
    pub after: Option<&'r T>,
}

impl Manager {
    pub(super) fn audit<T: Serialize>(&self, actor: &Actor, change: Change<'_, T>) -> AuditEntry {
        let value = |row: Option<&T>| row.and_then(|row| serde_json::to_value(row).ok());
        AuditEntry {
            at: self.now,
            changed_by: actor.name(),
            changed_by_key: actor.key_hash(),
            action: change.action.as_str(),
            table: change.table,
            object_id: change.id,
            before: value(change.before),
            after: value(change.after),
        }
    }
}
