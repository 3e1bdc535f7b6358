//! `tollward migrate`.

use clap::Args;

use super::output::Output;
use crate::config::Config;
use crate::directory::{self, Mode, Schema};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Only look; exit with 1 where the tables are behind
    #[arg(long)]
    check: bool,
}

/// Brings the directory's tables to the version of this program, whatever `directory.migrate` says.
pub(super) fn run(config: &Config, command: &Command, output: &Output) -> anyhow::Result<()> {
    let mode = if command.check { Mode::Check } else { Mode::Auto };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(directory::migrate(config, mode))?;
    output.document(&serde_json::to_value(&found)?, |_| report(&found, mode))?;
    anyhow::ensure!(mode == Mode::Auto || found.pending.is_empty(), "the tables are behind: run `tollward migrate`");
    Ok(())
}

fn report(found: &Schema, mode: Mode) -> String {
    if found.pending.is_empty() {
        return format!("{}: version {}, nothing to do", found.engine, found.version);
    }
    let steps = found.pending.join(", ");
    match mode {
        Mode::Auto => format!("{}: from version {} to {}: {steps}", found.engine, found.version, found.needed),
        Mode::Check | Mode::Off => {
            format!("{}: version {}, {} is needed: {steps}", found.engine, found.version, found.needed)
        }
    }
}
