//! Limits and attributes as LiteLLM spreads them: in columns, in a budget row, and inside `metadata`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::row::{Fault, SourceRow, Taken};
use super::{Move, NOT_ENFORCED};
use crate::domain::{BudgetWindow, Limits, ModelBudget, Money};

/// Attributes in `metadata` that mean something to LiteLLM and nothing to the gate.
const WITHOUT_EFFECT: [&str; 20] = [
    "allowed_tools",
    "allowed_vector_store_indexes",
    "disable_global_guardrails",
    "enable_prompt_caching",
    "guardrails",
    "logging",
    "mcp_rpm_limit",
    "model_itpm_limit",
    "model_otpm_limit",
    "policies",
    "priority",
    "prompts",
    "require_trace_id",
    "rpm_limit_type",
    "secret_manager_settings",
    "soft_budget_alerting_emails",
    "team_member_key_duration",
    "team_member_max_budget_alert_emails",
    "team_member_rpm_limit",
    "tpm_limit_type",
];

/// Reads all limits; those in `metadata` are taken out of it.
pub(super) fn take(row: &mut SourceRow, metadata: &mut Map<String, Value>) -> Taken<Limits> {
    let mut limits = Limits {
        max_budget: row.budget("max_budget")?,
        soft_budget: row.budget("soft_budget")?,
        budget_duration: row.duration("budget_duration")?,
        budget_limits: windows(row)?,
        rpm_limit: row.count("rpm_limit")?,
        tpm_limit: row.count("tpm_limit")?,
        tpd_limit: row.count("tpd_limit")?,
        max_parallel_requests: row.count("max_parallel_requests")?,
        model_max_budget: models(row)?,
        model_rpm_limit: row.take("model_rpm_limit")?.unwrap_or_default(),
        model_tpm_limit: row.take("model_tpm_limit")?.unwrap_or_default(),
    };
    let rpm: BTreeMap<String, u64> = lift(metadata, "model_rpm_limit")?.unwrap_or_default();
    let tpm: BTreeMap<String, u64> = lift(metadata, "model_tpm_limit")?.unwrap_or_default();
    limits.model_rpm_limit.extend(rpm);
    limits.model_tpm_limit.extend(tpm);
    Ok(limits)
}

fn windows(row: &mut SourceRow) -> Taken<Vec<BudgetWindow>> {
    const COLUMN: &str = "budget_limits";
    let entries: Vec<Map<String, Value>> = row.take(COLUMN)?.unwrap_or_default();
    let mut windows = Vec::with_capacity(entries.len());
    for entry in entries {
        // A window without an amount limits nothing.
        if entry.get("max_budget").is_none_or(Value::is_null) {
            continue;
        }
        let window = serde_json::from_value::<BudgetWindow>(Value::Object(entry));
        let window = window.map_err(|_| Fault::new(COLUMN, "a window that cannot be read"))?;
        not_negative(COLUMN, Some(window.max_budget))?;
        windows.push(window);
    }
    Ok(windows)
}

/// `model_max_budget`: an object a model, or in older versions its dollars alone.
fn models(row: &mut SourceRow) -> Taken<BTreeMap<String, ModelBudget>> {
    const COLUMN: &str = "model_max_budget";
    let mut budgets = BTreeMap::new();
    for (model, value) in row.object(COLUMN)? {
        let read = match value {
            Value::Null => continue,
            Value::Number(_) => serde_json::from_value::<Money>(value)
                .map(|dollars| ModelBudget { max_budget: Some(dollars), ..ModelBudget::default() }),
            value => serde_json::from_value::<ModelBudget>(value),
        };
        let budget = read.map_err(|_| Fault::new(COLUMN, "a budget of a model that cannot be read"))?;
        not_negative(COLUMN, budget.max_budget)?;
        budgets.insert(model, budget);
    }
    Ok(budgets)
}

pub(super) fn not_negative(column: &str, amount: Option<Money>) -> Taken<()> {
    match amount {
        Some(amount) if amount < Money::ZERO => Err(Fault::new(column, "a negative amount")),
        _ => Ok(()),
    }
}

/// Takes an attribute out of `metadata`; null is absent.
pub(super) fn lift<T: DeserializeOwned>(metadata: &mut Map<String, Value>, name: &str) -> Taken<Option<T>> {
    match metadata.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value)
            .map(Some)
            .map_err(|_| Fault::new(&format!("metadata.{name}"), "not of the type expected there")),
    }
}

impl Move<'_> {
    /// Says which attributes in `metadata` have no effect here; they stay in it.
    pub(super) fn judge(&mut self, table: &str, name: &str, metadata: &Map<String, Value>) {
        for attribute in WITHOUT_EFFECT {
            if metadata.get(attribute).is_some_and(|value| !super::super::row::says_nothing(value)) {
                self.report.remark(table, &format!("metadata.{attribute}"), NOT_ENFORCED, name);
            }
        }
    }
}
