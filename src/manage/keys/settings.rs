//! What a request sets on a key: typed attributes go to their places, attributes for admins are refused to others, and
//! ceilings of the configuration hold.

use serde_json::Value;

use super::super::attributes::{Attributes, KEPT_FOR_ADMINS, check_id, not_negative};
use super::super::permissions::Standing;
use super::super::{Actor, ManageError, Manager, Result};
use crate::domain::{BudgetDuration, Key, KeyHash, KeyType, Money, Timestamp};

/// Attributes only a `proxy_admin` sets.
const FOR_ADMINS: [&str; 9] = [
    "agent_id",
    "allowed_ips",
    "budget_id",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "end_user_budget_id",
    "permissions",
    "spend",
    "throttle_on_budget_exceeded",
];
/// The routes others may choose for their keys.
const PRESETS: [&str; 2] = ["llm_api_routes", "info_routes"];

/// Refuses what only admins choose for a new key. What is null or empty asks for nothing, and defaults of the
/// configuration are no choice.
pub(in crate::manage) fn check_chosen(attributes: &Attributes, actor: &Actor) -> Result<()> {
    if actor.is_admin() {
        return Ok(());
    }
    if let Some(name) = FOR_ADMINS.iter().chain(KEPT_FOR_ADMINS).find(|name| attributes.sends_value(name)) {
        return Err(for_admins(name));
    }
    let mut chosen = Key::new(KeyHash::of(""), Timestamp::default());
    apply_routes(&mut attributes.clone(), &mut chosen)?;
    check_routes(&[], &chosen.allowed_routes)
}

/// Refuses a change of what only admins change, also of what they set before.
pub(super) fn check_changed(before: &Key, after: &Key, actor: &Actor) -> Result<()> {
    if actor.is_admin() {
        return Ok(());
    }
    let typed = [
        ("agent_id", before.agent_id == after.agent_id),
        ("allowed_ips", before.allowed_ips == after.allowed_ips),
        ("budget_id", before.budget_id == after.budget_id),
        (
            "default_estimated_output_tokens",
            before.default_estimated_output_tokens == after.default_estimated_output_tokens
                && before.default_estimated_output_tokens_per_model == after.default_estimated_output_tokens_per_model,
        ),
        ("end_user_budget_id", before.end_user_budget_id == after.end_user_budget_id),
        ("permissions", before.permissions == after.permissions),
        ("throttle_on_budget_exceeded", before.throttle_on_budget_exceeded == after.throttle_on_budget_exceeded),
    ];
    let kept = KEPT_FOR_ADMINS.iter().map(|name| (*name, before.extra.get(*name) == after.extra.get(*name)));
    match typed.into_iter().chain(kept).find(|(_, same)| !same) {
        Some((name, _)) => Err(for_admins(name)),
        None => check_routes(&before.allowed_routes, &after.allowed_routes),
    }
}

/// Whether a key calls models and reads, and changes nothing.
pub(super) fn only_calls(key: &Key) -> bool {
    !key.allowed_routes.is_empty() && key.allowed_routes.iter().all(|route| PRESETS.contains(&route.as_str()))
}

fn check_routes(before: &[String], after: &[String]) -> Result<()> {
    if before == after || after.iter().all(|route| PRESETS.contains(&route.as_str())) {
        return Ok(());
    }
    Err(ManageError::forbidden("only a proxy_admin may choose routes other than llm_api_routes, info_routes"))
}

fn for_admins(name: &str) -> ManageError {
    ManageError::forbidden(format!("only a proxy_admin may set {name}"))
}

/// Writes what is sent to the key; owners, alias and secret are not written here.
pub(super) fn apply(attributes: &mut Attributes, key: &mut Key, now: Timestamp) -> Result<()> {
    attributes.set_limits(&mut key.limits)?;
    attributes.set_expiry(&mut key.expires, now)?;
    attributes.set("models", &mut key.models)?;
    attributes.set("aliases", &mut key.aliases)?;
    attributes.set("access_group_ids", &mut key.access_group_ids)?;
    attributes.set_networks("allowed_ips", &mut key.allowed_ips)?;
    attributes.set("blocked", &mut key.blocked)?;
    attributes.set_id("agent_id", &mut key.agent_id)?;
    attributes.set_id("budget_id", &mut key.budget_id)?;
    attributes.set("throttle_on_budget_exceeded", &mut key.throttle_on_budget_exceeded)?;
    attributes.set("tags", &mut key.tags)?;
    attributes.set("tag_rpm_limit", &mut key.tag_rpm_limit)?;
    attributes.set_id("end_user_budget_id", &mut key.end_user_budget_id)?;
    attributes.set("default_estimated_output_tokens", &mut key.default_estimated_output_tokens)?;
    attributes.set("default_estimated_output_tokens_per_model", &mut key.default_estimated_output_tokens_per_model)?;
    attributes.set("enforced_params", &mut key.enforced_params)?;
    attributes.set_object("permissions", &mut key.permissions)?;
    attributes.set("auto_rotate", &mut key.auto_rotate)?;
    attributes.set("rotation_interval", &mut key.rotation_interval)?;
    apply_metadata(attributes, key)?;
    apply_routes(attributes, key)?;
    apply_temporary_budget(attributes, key)?;
    for tag in &key.tags {
        check_id("tags", tag)?;
    }
    if key.auto_rotate && key.rotation_interval.is_none() {
        return Err(ManageError::bad("rotation_interval", "auto_rotate needs a rotation_interval"));
    }
    Ok(())
}

/// `metadata` is free, but for the mark that only service accounts carry, which stays as it is.
fn apply_metadata(attributes: &mut Attributes, key: &mut Key) -> Result<()> {
    const RESERVED: &str = "service_account_id";
    if !attributes.sends("metadata") {
        return Ok(());
    }
    let mark = key.metadata.get(RESERVED).cloned();
    attributes.set_object("metadata", &mut key.metadata)?;
    if key.metadata.get(RESERVED).is_some_and(|sent| Some(sent) != mark.as_ref()) {
        return Err(ManageError::bad("metadata", format!("metadata.{RESERVED} is reserved")));
    }
    key.metadata.extend(mark.map(|mark| (RESERVED.to_owned(), mark)));
    Ok(())
}

fn apply_routes(attributes: &mut Attributes, key: &mut Key) -> Result<()> {
    let kind = attributes.take::<KeyType>("key_type")?;
    let named = kind.is_some();
    if let Some(kind) = kind {
        key.key_type = kind.unwrap_or_default();
        key.allowed_routes = match key.key_type {
            KeyType::LlmApi => vec!["llm_api_routes".to_owned()],
            KeyType::Management => vec!["management_routes".to_owned()],
            KeyType::ReadOnly => vec!["info_routes".to_owned()],
            KeyType::Default => Vec::new(),
        };
    }
    let chosen = attributes.sends_value("allowed_routes");
    // An empty list beside a key type asks for nothing: clients send it by default.
    let mut ignored = Vec::<String>::new();
    attributes.set("allowed_routes", if chosen || !named { &mut key.allowed_routes } else { &mut ignored })?;
    Ok(())
}

/// An increase needs an expiry, and the other way round.
fn apply_temporary_budget(attributes: &mut Attributes, key: &mut Key) -> Result<()> {
    attributes.set("temp_budget_increase", &mut key.temp_budget_increase)?;
    attributes.set("temp_budget_expiry", &mut key.temp_budget_expiry)?;
    not_negative("temp_budget_increase", key.temp_budget_increase)?;
    if key.temp_budget_increase.is_some() != key.temp_budget_expiry.is_some() {
        let message = "temp_budget_increase and temp_budget_expiry go together";
        return Err(ManageError::bad("temp_budget_increase", message));
    }
    Ok(())
}

impl Manager {
    /// Fills what a new key does not set with the configured defaults.
    pub(super) fn with_defaults(&self, mut params: super::super::Params) -> super::super::Params {
        for (name, value) in &self.config.litellm_settings.default_key_generate_params {
            if params.get(name).is_none_or(Value::is_null) {
                params.insert(name.clone(), value.clone());
            }
        }
        params
    }

    /// Refuses values above the configured ceilings; with `fill`, absent ones become the ceiling.
    pub(super) fn check_ceilings(&self, key: &mut Key, fill: bool) -> Result<()> {
        let ceilings = self.config.litellm_settings.upperbound_key_generate_params.clone();
        if ceilings.is_empty() {
            return Ok(());
        }
        let mut ceilings = Attributes::new(ceilings);
        let limits = &mut key.limits;
        ceiling(&mut limits.max_budget, ceilings.optional::<Money>("max_budget")?, fill, "max_budget")?;
        ceiling(&mut limits.rpm_limit, ceilings.optional("rpm_limit")?, fill, "rpm_limit")?;
        ceiling(&mut limits.tpm_limit, ceilings.optional("tpm_limit")?, fill, "tpm_limit")?;
        let parallel = ceilings.optional("max_parallel_requests")?;
        ceiling(&mut limits.max_parallel_requests, parallel, fill, "max_parallel_requests")?;
        if let Some(longest) = ceilings.optional::<BudgetDuration>("budget_duration")? {
            match limits.budget_duration {
                Some(period) if period.as_duration() > longest.as_duration() => {
                    return Err(above("budget_duration", &period.to_string(), &longest.to_string()));
                }
                None if fill => limits.budget_duration = Some(longest),
                _ => {}
            }
        }
        if let Some(longest) = ceilings.optional::<BudgetDuration>("duration")? {
            let latest = longest.after(self.now);
            ceiling(&mut key.expires, Some(latest), fill, "duration")?;
        }
        Ok(())
    }

    /// Blocking is for those who stand above the owner.
    pub(super) fn check_block(&self, standing: Standing, before: bool, after: bool) -> Result<()> {
        if before == after || standing >= Standing::TeamAdmin {
            return Ok(());
        }
        Err(ManageError::forbidden("only an admin of the team, organization or proxy blocks and unblocks keys"))
    }
}

fn ceiling<T: PartialOrd + Copy + std::fmt::Display>(
    value: &mut Option<T>,
    ceiling: Option<T>,
    fill: bool,
    name: &'static str,
) -> Result<()> {
    match (*value, ceiling) {
        (Some(value), Some(ceiling)) if value > ceiling => Err(above(name, &value.to_string(), &ceiling.to_string())),
        (None, Some(_)) if fill => {
            *value = ceiling;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn above(name: &'static str, value: &str, ceiling: &str) -> ManageError {
    ManageError::bad(name, format!("{name} {value} is above the configured ceiling {ceiling}"))
}
