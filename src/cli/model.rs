//! `tollward model`: the models of the configuration and what they cost.

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::Output;
use super::table::Table;
use crate::config::{Config, ModelEntry};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the models of model_list
    List,
}

pub(super) fn run(config: &Config, command: &Command, output: &Output) -> anyhow::Result<()> {
    let Command::List = command;
    let models: Vec<Value> = config.model_list.iter().map(row).collect();
    output.table(&json!(models), |models| {
        let rows = models.as_array().map_or(&[][..], Vec::as_slice);
        let columns = [
            ("MODEL", "model_name"),
            ("PROVIDER MODEL", "model"),
            ("$/1M INPUT", "input_cost_per_million_tokens"),
            ("$/1M OUTPUT", "output_cost_per_million_tokens"),
            ("ACCESS GROUPS", "access_groups"),
        ];
        Table::of_rows(rows, &columns)
    })
}

/// A model without the provider's key.
fn row(entry: &ModelEntry) -> Value {
    let price = |name: &str| {
        let own = entry.model_info.other.get(name).or_else(|| entry.litellm_params.other.get(name));
        // Rounded to what prices are quoted in, so that 1.5e-7 a token reads 0.15 a million.
        own.and_then(Value::as_f64).map(|dollars| (dollars * 1e15).round() / 1e9)
    };
    json!({
        "model_name": entry.model_name,
        "model": entry.litellm_params.model,
        "input_cost_per_million_tokens": price("input_cost_per_token"),
        "output_cost_per_million_tokens": price("output_cost_per_token"),
        "access_groups": entry.model_info.access_groups,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LiteLlmParams, ModelInfo};
    use crate::domain::Secret;

    #[test]
    fn a_model_shows_its_prices_and_never_its_providers_key() {
        let other = json!({"input_cost_per_token": 1.5e-7}).as_object().cloned().unwrap();
        let params = LiteLlmParams { api_key: Some(Secret::new("sk-provider-secret")), other, ..Default::default() };
        let entry = ModelEntry { model_name: "m".into(), litellm_params: params, model_info: ModelInfo::default() };
        let row = row(&entry);
        assert_eq!(row["input_cost_per_million_tokens"], json!(0.15));
        assert!(row["output_cost_per_million_tokens"].is_null() && !row.to_string().contains("secret"));
    }
}
