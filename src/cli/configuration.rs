//! `tollward config`, and reading the file every command needs.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::Output;
use crate::config::Config;

/// Read where no file is named and this one is there.
const DEFAULT_FILE: &str = "tollward.yaml";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Read the configuration and say what is wrong with it
    Validate,
    /// Print the JSON schema of the configuration
    Schema,
}

pub(super) fn run(file: Option<PathBuf>, command: &Command, output: &Output) -> anyhow::Result<()> {
    match command {
        Command::Validate => {
            let name = path(file.clone()).map_or("the defaults".to_owned(), |path| path.display().to_string());
            load(file)?;
            output.document(&json!({"valid": true, "file": name}), |_| format!("{name}: valid"))
        }
        Command::Schema => output.line(&serde_json::to_string_pretty(&Config::schema())?),
    }
}

/// The configuration of the file named, else of `tollward.yaml`, else the defaults. Warnings go to standard error.
pub(super) fn load(file: Option<PathBuf>) -> anyhow::Result<Config> {
    let (config, warnings) = Config::load(path(file).as_deref(), &|name| std::env::var(name).ok())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

pub(super) fn path(file: Option<PathBuf>) -> Option<PathBuf> {
    file.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
}
