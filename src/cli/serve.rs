//! `tollward serve`.

use crate::config::Config;

/// Serves until told to stop.
pub(super) fn run(_config: Config) -> anyhow::Result<()> {
    anyhow::bail!("this build has no server to start")
}
