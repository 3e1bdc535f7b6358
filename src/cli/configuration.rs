//! `tollward config`, and reading the file every command needs.

use std::path::{Path, PathBuf};

use anyhow::Context;
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
        Command::Schema => {
            let schema = schemars::schema_for!(Config);
            output.line(&serde_json::to_string_pretty(&schema)?)
        }
    }
}

/// The configuration of the file named, else of `tollward.yaml`, else the defaults.
pub(super) fn load(file: Option<PathBuf>) -> anyhow::Result<Config> {
    match path(file) {
        Some(path) => read(&path),
        None => Ok(Config::default()),
    }
}

fn path(file: Option<PathBuf>) -> Option<PathBuf> {
    file.or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
}

fn read(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not a valid configuration", path.display()))
}
