//! Moving in: the rows of a LiteLLM database become ours. It reads in one snapshot and changes nothing there, leaves
//! nothing out without saying so, and imports no row whose bounds it cannot read: a key that does not come is refused,
//! a key that comes without its budget is a free one.

mod litellm;
mod openings;
mod report;
mod row;
mod source;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;

use crate::config::Config;
use crate::directory::{DirectoryError, SharedStore};
use crate::domain::{BudgetDuration, Calendar, Secret, Timestamp};

pub use report::{Remark, Report, TableReport};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("the URL of the LiteLLM database: {0}")]
    Url(String),
    #[error("cannot connect to the LiteLLM database: {0}")]
    Connect(String),
    #[error("the LiteLLM database: {0}")]
    Read(String),
    #[error("schema {0:?} holds no table of LiteLLM; the URL may name another one, as in ?schema=litellm")]
    NoTables(String),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// What an import needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    pub now: Timestamp,
    pub dry_run: bool,
    /// A server counts on this directory in its memory meanwhile: what it has counted must not change behind its back.
    pub server_runs: bool,
    /// Where budget periods begin.
    pub calendar: Calendar,
    /// The period of the budget of the whole gate.
    pub global_duration: Option<BudgetDuration>,
    /// The budget of end users without one of their own.
    pub end_user_budget: Option<String>,
}

impl Options {
    /// As the configuration says it.
    pub fn new(config: &Config, now: Timestamp) -> Result<Options, String> {
        let settings = &config.litellm_settings;
        Ok(Options {
            now,
            dry_run: false,
            server_runs: false,
            calendar: Calendar::new(&settings.timezone, &settings.budget_reset_time)?,
            global_duration: settings.budget_duration,
            end_user_budget: settings.max_end_user_budget_id.clone(),
        })
    }
}

/// Imports what is at `url` into `store`. `progress` hears what is being done.
pub async fn litellm(
    url: &Secret,
    store: &SharedStore,
    options: Options,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, ImportError> {
    let mut source = source::Source::open(url).await?;
    let read = litellm::read(&mut source, &options, progress).await;
    source.close().await;
    let (bundle, mut report) = read?;
    progress("writing");
    let imported = store.import(Arc::new(bundle)).await?;
    report.finish(&imported);
    Ok(report)
}
