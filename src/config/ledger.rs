use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::BudgetDuration;

/// How long records are kept, and where they wait until they are in the directory.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// How long records stay in the ledger, by whole UTC days, as `90d`; for ever where it is absent. What a day added up
    /// to stays in the books.
    pub keep: Option<BudgetDuration>,
    /// The folder of records that are not in the directory yet; each replica needs one of its own, on a disk that outlives
    /// it. Where it is absent, `FILE.spool` beside the file of SQLite, and `tollward.spool` for PostgreSQL.
    pub spool: Option<PathBuf>,
}
