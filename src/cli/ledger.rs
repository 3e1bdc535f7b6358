//! `tollward ledger`.

use clap::Subcommand;

use super::output::Output;
use crate::config::Config;
use crate::directory::{Directory, Verification};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Prove that what entities spent is the sum of their records
    Verify,
}

pub(super) fn run(config: &Config, command: &Command, output: &Output) -> anyhow::Result<()> {
    let Command::Verify = command;
    let found = verify(config)?;
    let document = serde_json::to_value(&found)?;
    output.document(&document, |_| report(&found))?;
    anyhow::ensure!(found.differences.is_empty(), "the ledger does not add up");
    Ok(())
}

fn report(found: &Verification) -> String {
    let total = crate::domain::Money::nanos(found.total_nanodollars);
    let mut text = format!(
        "{} records, {} accounts, {total} in all, {} pending, {} differences",
        found.records,
        found.accounts,
        found.pending,
        found.differences.len()
    );
    for difference in &found.differences {
        let (expected, there) = (difference.expected_nanodollars, difference.found_nanodollars);
        text.push_str(&format!(
            "\n{} {}: {expected} nano-dollars expected, {there} found",
            difference.place, difference.account
        ));
    }
    text
}

/// Verifies the ledger of the configured directory. Beside a running server it sees what is written; what that server
/// still holds in its spool is written within moments.
fn verify(config: &Config) -> anyhow::Result<Verification> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let directory = Directory::open(config).await?;
        Ok(directory.store().verify().await?)
    })
}
