use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Logs and metrics.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `json` or `text`.
    pub log_format: LogFormat,
    /// What is logged: a level, or levels by module as in `info,tollward::gate=debug`. `RUST_LOG` stands before it.
    pub log: String,
    /// Logs a line for each denial.
    pub log_denials: bool,
    /// Logs a line for each allowed request.
    pub log_allows: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { log_format: LogFormat::Text, log: "info".to_owned(), log_denials: true, log_allows: false }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}
