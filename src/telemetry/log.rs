//! Log lines: text for people, with colours on a terminal only, or JSON for machines. `RUST_LOG` stands before the
//! configuration.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, Telemetry};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "telemetry.log (or RUST_LOG) is {0:?}, which is not a list of levels as in `info,tollward::gate=debug`: {1}"
    )]
    Filter(String, tracing_subscriber::filter::ParseError),
    #[error("logging is already running")]
    Running,
}

/// Starts logging to standard error, for the whole process and once.
pub fn init(telemetry: &Telemetry) -> Result<(), LogError> {
    let directives = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter(directives.as_deref().unwrap_or(&telemetry.log))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match telemetry.log_format {
        LogFormat::Text => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_ansi(false)).try_init(),
    }
    .map_err(|_| LogError::Running)
}

fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(directives).map_err(|error| LogError::Filter(directives.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_nonsense_is_named() {
        assert!(filter("info,tollward::gate=debug").is_ok());
        let error = filter("tollward=loud=er").unwrap_err().to_string();
        assert!(error.contains("tollward=loud=er"), "{error}");
    }
}
