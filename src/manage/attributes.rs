//! Attributes as they are sent: a JSON object in which an absent name leaves a value alone and an explicit null clears
//! it. Each value is taken out once by its name; what nobody took is either known to LiteLLM and kept, or reported.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ManageError, Result};
use crate::domain::{BudgetDuration, Limits, Money, Timestamp};

/// A JSON object of attributes by LiteLLM's names.
pub type Params = Map<String, Value>;

/// Names of LiteLLM that are kept and returned, and mean nothing to the gate.
const KEPT: &[&str] = &[
    "allowed_cache_controls",
    "allowed_model_region",
    "allowed_passthrough_routes",
    "allowed_vector_store_indexes",
    "budget_fallbacks",
    "config",
    "default_model",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "enable_prompt_caching",
    "guardrails",
    "logging",
    "mcp_rpm_limit",
    "model_itpm_limit",
    "model_otpm_limit",
    "object_permission",
    "policies",
    "prompts",
    "require_trace_id",
    "router_settings",
    "rpm_limit_type",
    "secret_manager_settings",
    "send_invite_email",
    "tpm_limit_type",
];

/// Kept attributes that open something to their holder: only admins set them.
pub(super) const KEPT_FOR_ADMINS: &[&str] = &["allowed_passthrough_routes", "config", "object_permission"];

/// The largest attributes object kept as free JSON (`metadata`, `permissions`, kept names), in bytes.
const FREE_JSON_LIMIT: usize = 64 * 1024;
/// Windows of one entity's budget: every request is held to each of them.
const MOST_WINDOWS: usize = 64;

/// What [`Attributes::set_limits`] takes.
const LIMITS: [&str; 11] = [
    "max_budget",
    "soft_budget",
    "budget_duration",
    "budget_limits",
    "rpm_limit",
    "tpm_limit",
    "tpd_limit",
    "max_parallel_requests",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
];

/// Attributes not yet taken.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Params);

impl Attributes {
    #[must_use]
    pub fn new(params: Params) -> Self {
        Attributes(params)
    }

    pub(super) fn sends(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether a value other than null, empty text, an empty list or an empty object is sent.
    pub(super) fn sends_value(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !is_empty(value))
    }

    /// Takes a value: `None` where it is absent, `Some(None)` where it is null.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<Option<T>>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => parse(name, value).map(|value| Some(Some(value))),
        }
    }

    /// Takes a value where one is sent; null counts as absent.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>> {
        Ok(self.take(name)?.flatten())
    }

    /// Takes an id or a name; empty text counts as absent.
    pub(crate) fn text(&mut self, name: &'static str) -> Result<Option<String>> {
        Ok(self.optional::<String>(name)?.filter(|text| !text.trim().is_empty()))
    }

    /// Takes an id or a name that must be sent.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<String> {
        self.text(name)?.ok_or_else(|| ManageError::invalid(name, format!("{name} is required")))
    }

    /// Takes a list of ids or names; one text is a list of one.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<Vec<String>> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(vec![text]),
            Some(value) => parse(name, value),
        }
    }

    /// Writes a sent value to its place; null writes the default.
    pub(super) fn set<T: DeserializeOwned + Default>(&mut self, name: &'static str, place: &mut T) -> Result<()> {
        if let Some(sent) = self.take(name)? {
            *place = sent.unwrap_or_default();
        }
        Ok(())
    }

    /// Like [`Attributes::set`] for an id: empty text clears it.
    pub(super) fn set_id<T: From<String>>(&mut self, name: &'static str, place: &mut Option<T>) -> Result<()> {
        if self.sends(name) {
            *place = self.text(name)?.map(T::from);
        }
        Ok(())
    }

    /// Writes a list of addresses (`10.1.2.3`) and networks (`10.0.0.0/8`), of either version.
    pub(super) fn set_networks(&mut self, name: &'static str, place: &mut Vec<IpNet>) -> Result<()> {
        if self.sends(name) {
            let entries = self.texts(name)?;
            *place = entries.iter().map(|entry| network(name, entry)).collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// Takes `duration`: how long from `now` something lives. `"-1"` and null are for ever.
    pub(super) fn set_expiry(&mut self, place: &mut Option<Timestamp>, now: Timestamp) -> Result<()> {
        match self.take::<Value>("duration")? {
            None => {}
            Some(None) => *place = None,
            Some(Some(Value::String(text))) if text == "-1" => *place = None,
            Some(Some(value)) => {
                let duration: BudgetDuration = parse("duration", value)?;
                *place = Some(duration.after(now));
            }
        }
        Ok(())
    }

    /// Writes all sent limits.
    pub(super) fn set_limits(&mut self, limits: &mut Limits) -> Result<()> {
        self.set("max_budget", &mut limits.max_budget)?;
        self.set("soft_budget", &mut limits.soft_budget)?;
        self.set("budget_duration", &mut limits.budget_duration)?;
        self.set("budget_limits", &mut limits.budget_limits)?;
        self.set("rpm_limit", &mut limits.rpm_limit)?;
        self.set("tpm_limit", &mut limits.tpm_limit)?;
        self.set("tpd_limit", &mut limits.tpd_limit)?;
        self.set("max_parallel_requests", &mut limits.max_parallel_requests)?;
        self.set("model_max_budget", &mut limits.model_max_budget)?;
        self.set("model_rpm_limit", &mut limits.model_rpm_limit)?;
        self.set("model_tpm_limit", &mut limits.model_tpm_limit)?;
        check_limits(limits)
    }

    /// Whether any limit is sent with a value.
    pub(super) fn sends_limits(&self) -> bool {
        LIMITS.iter().any(|name| self.sends_value(name))
    }

    /// Clears the limits that are sent, and takes none of them.
    pub(super) fn clear_sent_limits(&self, limits: &mut Limits) -> Result<()> {
        let sent = LIMITS.iter().filter(|name| self.sends(name));
        Attributes(sent.map(|name| ((*name).to_owned(), Value::Null)).collect()).set_limits(limits)
    }

    /// Writes free JSON objects, bounded in size.
    pub(super) fn set_object(&mut self, name: &'static str, place: &mut Params) -> Result<()> {
        self.set(name, place)?;
        bounded(name, &Value::Object(place.clone()))
    }

    /// Moves what LiteLLM knows and we only keep into `extra`, and answers a warning for each name nobody knows.
    pub(super) fn finish(self, extra: &mut Params) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for (name, value) in self.0 {
            if !KEPT.contains(&name.as_str()) {
                let shown: String = name.chars().take(64).collect();
                warnings.push(format!("{shown:?} is not an attribute known here; it was not kept"));
            } else if value.is_null() {
                extra.remove(&name);
            } else {
                bounded("extra", &value)?;
                extra.insert(name, value);
            }
        }
        Ok(warnings)
    }
}

fn parse<T: DeserializeOwned>(name: &'static str, value: Value) -> Result<T> {
    let is_duration = name.ends_with("duration") || name == "rotation_interval" || name == "grace_period";
    serde_json::from_value(value).map_err(|error| {
        let message = format!("{name}: {error}");
        if is_duration { ManageError::bad(name, message) } else { ManageError::invalid(name, message) }
    })
}

fn network(name: &'static str, entry: &str) -> Result<IpNet> {
    let text = entry.trim();
    let read = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    read.map_err(|_| {
        let shown: String = entry.chars().take(64).collect();
        ManageError::bad(name, format!("{name}: {shown:?} is neither an address nor a network, as in 10.0.0.0/8"))
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn bounded(name: &'static str, value: &Value) -> Result<()> {
    if value.to_string().len() > FREE_JSON_LIMIT {
        return Err(ManageError::bad(name, format!("{name} is larger than {FREE_JSON_LIMIT} bytes")));
    }
    Ok(())
}

/// Refuses negative money, and more budgets than a request should be held to. NaN and infinities are no JSON; counts are
/// unsigned by type.
pub(super) fn check_limits(limits: &Limits) -> Result<()> {
    if limits.budget_limits.len() > MOST_WINDOWS {
        return Err(ManageError::bad("budget_limits", format!("budget_limits has more than {MOST_WINDOWS} budgets")));
    }
    not_negative("max_budget", limits.max_budget)?;
    not_negative("soft_budget", limits.soft_budget)?;
    for window in &limits.budget_limits {
        not_negative("budget_limits", Some(window.max_budget))?;
    }
    for budget in limits.model_max_budget.values() {
        not_negative("model_max_budget", budget.max_budget)?;
    }
    if let (Some(soft), Some(hard)) = (limits.soft_budget, limits.max_budget)
        && soft > hard
    {
        return Err(ManageError::bad("soft_budget", format!("soft_budget {soft} is above max_budget {hard}")));
    }
    Ok(())
}

pub(super) fn not_negative(name: &'static str, amount: Option<Money>) -> Result<()> {
    match amount {
        Some(amount) if amount < Money::ZERO => Err(ManageError::bad(name, format!("{name} must not be negative"))),
        _ => Ok(()),
    }
}

/// An id that goes into paths, scopes and logs: 1 to 255 characters, none of them a control character.
pub(super) fn check_id(name: &'static str, id: &str) -> Result<()> {
    let length = id.chars().count();
    if !(1..=255).contains(&length) || id.chars().any(char::is_control) {
        return Err(ManageError::bad(name, format!("{name} must be 1 to 255 characters without control characters")));
    }
    Ok(())
}

/// A random id in the form of a UUID, version 4 (RFC 9562).
pub(super) fn random_id() -> Result<String> {
    let mut bytes = random_bytes()?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

/// 16 bytes from the operating system's generator.
pub(super) fn random_bytes() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ManageError {
        status: 503,
        kind: "service_unavailable",
        message: "the system gives no random numbers".to_owned(),
        param: None,
    })?;
    Ok(bytes)
}
