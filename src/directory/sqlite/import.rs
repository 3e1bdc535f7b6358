//! Importing into SQLite: the engine's side of [`super::super::import`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use rusqlite::{Connection, Transaction};

use super::super::import::{self, Bundle, Engine, Imported};
use super::super::rows::Value;
use super::super::statements::Statements;
use super::super::{AuditEntry, Result};
use super::{SqliteStore, WHOLE_LEDGER, audit_values, begin, errors, ledger, rows};
use crate::domain::Record;

struct Writing<'a> {
    transaction: &'a Transaction<'a>,
    statements: &'a Statements,
}

impl Engine for Writing<'_> {
    async fn execute(&mut self, text: &str, values: Vec<Value>) -> Result<u64> {
        Ok(rows::execute(self.transaction, text, values)? as u64)
    }

    async fn finds(&mut self, text: &str, values: Vec<Value>) -> Result<bool> {
        Ok(rows::number(self.transaction, text, values)?.is_some())
    }

    async fn book(&mut self, records: &[Record]) -> Result<()> {
        ledger::write(self.transaction, self.statements, records).map(drop)
    }

    async fn audit(&mut self, entry: AuditEntry) -> Result<()> {
        rows::execute(self.transaction, &self.statements.insert_audit, audit_values(entry)?).map(drop)
    }
}

impl SqliteStore {
    /// Takes as long as it takes: nobody else writes meanwhile.
    pub(super) async fn import_bundle(&self, bundle: Arc<Bundle>) -> Result<Imported> {
        let (statements, generation) = (Arc::clone(&self.statements), Arc::clone(&self.generation));
        let job = move |connection: &mut Connection| {
            let transaction = begin(connection)?;
            let mut engine = Writing { transaction: &transaction, statements: &statements };
            // Nothing in it waits: every call of this engine is done when it returns.
            let done = import::run(&mut engine, &statements, &bundle).now_or_never();
            let imported = done.ok_or_else(|| errors::unavailable("an import waited"))??;
            if bundle.dry_run {
                transaction.rollback().map_err(errors::of)?;
                return Ok(imported);
            }
            rows::execute(&transaction, &statements.bump_version, Vec::new())?;
            transaction.commit().map_err(errors::of)?;
            generation.fetch_add(1, Ordering::AcqRel);
            Ok(imported)
        };
        self.writer.call(WHOLE_LEDGER, job).await
    }
}
