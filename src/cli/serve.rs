//! `tollward serve`.

use std::path::PathBuf;

use crate::config::Config;
use crate::server::{pages, start};

/// Serves until told to stop. The gRPC port has threads of its own; everything else runs on this one.
pub(super) fn run(config: Config, file: Option<PathBuf>) -> anyhow::Result<()> {
    pages::stay_small();
    tracing::info!("{}", config.summary());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(start::serve(config, file))
}
