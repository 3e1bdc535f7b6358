//! `tollward import`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::Output;
use super::table::Table;
use crate::config::Config;
use crate::directory::Directory;
use crate::domain::{Money, Secret, Timestamp};
use crate::import::{Options, Report, litellm};
use crate::quota::counters::CountersError;
use crate::server::shared;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Bring keys, teams, users, budgets and spend from a LiteLLM database; keys keep working
    Litellm(Litellm),
}

#[derive(Debug, Args)]
pub(super) struct Litellm {
    /// Its URL, as in LiteLLM's DATABASE_URL: postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "LITELLM_DATABASE_URL", hide_env_values = true, value_parser = secret)]
    from: Secret,
    /// Report what would happen, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[allow(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

pub(super) fn run(config: &Config, command: &Command, output: &Output) -> anyhow::Result<()> {
    let Command::Litellm(litellm) = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (report, told) = runtime.block_on(import(config, litellm, output))?;
    let document = serde_json::to_value(&report)?;
    output.tables(&document, tables)?;
    if !output.is_json() {
        output.hint(&summary(&report));
    }
    told.context(
        "everything is imported, but the counters could not be told: budgets that servers have loaded already do not \
         count what was spent before. Run the same command again when Redis answers; it changes nothing else",
    )
}

/// The report of what is written, and whether the counters heard of it.
async fn import(
    config: &Config,
    command: &Litellm,
    output: &Output,
) -> anyhow::Result<(Report, Result<(), CountersError>)> {
    let directory = Directory::open(config).await?;
    let mut options = Options::new(config, Timestamp::now()).map_err(anyhow::Error::msg)?;
    options.dry_run = command.dry_run;
    let counters = if config.counters.in_memory() {
        None
    } else {
        // Servers may run: they count in Redis, and hear of it there.
        Some(shared::beside(config).context("counters.url")?)
    };
    // Held until all is written: no server starts to count in between.
    let lock = if counters.is_none() { directory.exclusive_lock().await.ok() } else { None };
    options.server_runs = counters.is_none() && lock.is_none();
    let mut progress = output.progress();
    let imported = litellm(&command.from, directory.store(), options, &mut |what| progress.show(what)).await;
    drop(lock);
    let report = imported?;
    let told = match counters {
        Some(counters) if !report.dry_run => {
            progress.show("telling the counters");
            counters.reload(&report.accounts).await
        }
        _ => Ok(()),
    };
    Ok((report, told))
}

fn tables(report: &Value) -> Vec<Table> {
    let rows = |name: &str| report[name].as_array().cloned().unwrap_or_default();
    let read = [
        ("TABLE", "table"),
        ("INTO", "into"),
        ("READ", "read"),
        ("IMPORTED", "imported"),
        ("UNCHANGED", "unchanged"),
        ("SKIPPED", "skipped"),
    ];
    let remarks: Vec<Value> = rows("remarks")
        .into_iter()
        .map(|mut remark| {
            remark["rows"] = if remark["count"] == 0 { Value::Null } else { remark["count"].clone() };
            remark["what"] = json!(if remark["skipped"] == true { "skipped" } else { "" });
            remark
        })
        .collect();
    let said = [
        ("TABLE", "table"),
        ("COLUMN", "column"),
        ("ROWS", "rows"),
        ("", "what"),
        ("REASON", "reason"),
        ("FOR EXAMPLE", "examples"),
    ];
    vec![Table::of_rows(&rows("tables"), &read), Table::of_rows(&remarks, &said)]
}

fn summary(report: &Report) -> String {
    let sum = |count: fn(&crate::import::TableReport) -> u64| report.tables.iter().map(count).sum::<u64>();
    let (imported, unchanged, skipped) =
        (sum(|table| table.imported), sum(|table| table.unchanged), sum(|table| table.skipped));
    let done = if report.dry_run { "would be imported" } else { "imported" };
    let (rows, opening) = (report.opening_records, Money::nanos(report.opening_nanodollars));
    format!(
        "{imported} rows {done}, {unchanged} unchanged, {skipped} skipped; {rows} opening records, {opening} over all \
         entities"
    )
}
