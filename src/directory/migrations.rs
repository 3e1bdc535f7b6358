//! Migrations: the versions of the tables, and how far a database is behind them.

use refinery::{Migration, Runner};
use serde::Serialize;

mod embedded {
    refinery::embed_migrations!("src/directory/migrations");
}

pub use crate::config::Migrate as Mode;

/// How far the tables of a database are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
    /// The version of the tables; 0 where there are none.
    pub version: i64,
    /// The version this program works with.
    pub needed: i64,
    /// The migrations between the two.
    pub pending: Vec<String>,
}

impl Schema {
    pub(super) fn new(engine: &'static str, version: i64, migrations: &[Migration]) -> Self {
        let behind = migrations.iter().filter(|migration| i64::from(migration.version()) > version);
        Schema {
            engine,
            version,
            needed: newest(migrations),
            pending: behind.map(|migration| format!("V{}__{}", migration.version(), migration.name())).collect(),
        }
    }

    /// Refuses tables that are behind.
    pub(super) fn require_current(&self) -> Result<(), String> {
        if self.pending.is_empty() {
            return Ok(());
        }
        Err(format!(
            "its tables have version {}, this tollward needs {}: run `tollward migrate` (directory.migrate is check)",
            self.version, self.needed
        ))
    }
}

/// Refuses tables of a version that none of these migrations leads to.
pub(super) fn refuse_newer(found: i64, migrations: &[Migration]) -> Result<(), String> {
    let known = newest(migrations);
    if found <= known {
        return Ok(());
    }
    Err(format!("its tables have version {found}, this tollward knows them up to {known}: use the newer tollward"))
}

fn newest(migrations: &[Migration]) -> i64 {
    migrations.iter().map(|migration| i64::from(migration.version())).max().unwrap_or(0)
}

/// The migrations that both engines run, in order.
pub(super) fn shared() -> Vec<Migration> {
    runner().get_migrations().clone()
}

/// Runs [`shared`] on SQLite.
pub(super) fn runner() -> Runner {
    embedded::migrations::runner()
}
