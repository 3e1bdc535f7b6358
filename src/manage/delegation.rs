//! A child never gets more than its parent: key ≤ owner or team ≤ organization, and a key made with a key ≤ that key.
//! This is the only place that compares them. What a child leaves unset is no excess where the gate enforces the
//! parent's value on every request too; where it does not (a key made with a key), the child takes the parent's.

use std::collections::BTreeMap;
use std::fmt::Display;

use ipnet::IpNet;

use crate::config::ModelEntry;
use crate::domain::{
    BudgetDuration, BudgetWindow, Key, Limits, ModelBudget, Organization, Team, Timestamp, User, glob,
};

use super::{ManageError, Result};

/// Names in a list of models that stand for every model.
const EVERY_MODEL: [&str; 2] = ["*", "all-proxy-models"];
/// What leaves the choice to the team, or without one to the owner.
const ALL_TEAM_MODELS: &str = "all-team-models";
/// Names that grant nothing of their own: the team's list decides, or nothing does.
const NO_GRANT: [&str; 2] = [ALL_TEAM_MODELS, "no-default-models"];

/// What an entity may do, as far as it can be handed down.
#[derive(Clone, Debug, Default)]
pub(super) struct Grant {
    /// Models and patterns; empty is every model.
    pub models: Vec<String>,
    /// Routes; empty is whatever the role allows.
    pub routes: Vec<String>,
    /// Networks it may be used from; empty is any.
    pub networks: Vec<IpNet>,
    pub limits: Limits,
    pub expires: Option<Timestamp>,
}

/// A grant and whose it is, as in `team "blue"`.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    pub name: String,
    pub grant: Grant,
}

impl From<&Key> for Grant {
    fn from(key: &Key) -> Self {
        let mut limits = key.limits.clone();
        if let Some(increase) = key.temp_budget_increase {
            limits.max_budget = limits.max_budget.map(|budget| budget + increase);
        }
        Grant {
            models: key.models.clone(),
            routes: key.allowed_routes.clone(),
            networks: key.allowed_ips.clone(),
            limits,
            expires: key.expires,
        }
    }
}

/// What a credential itself allows of models and limits. Its routes are those of the call, not of what is made by it.
impl From<&crate::domain::Grant> for Grant {
    fn from(credential: &crate::domain::Grant) -> Self {
        let lists = &credential.models;
        let holds =
            |list: &Vec<String>, name: &str| list.iter().any(|entry| entry == name || glob::matches(entry, name));
        // In a credential's list `all-team-models` stands for no model; in a key it would stand for all of the team's.
        let in_all = |name: &&String| *name != ALL_TEAM_MODELS && lists.iter().all(|list| holds(list, name));
        let mut models: Vec<String> = lists.iter().flatten().filter(in_all).cloned().collect();
        models.dedup();
        // None at all, where an empty list of a key is every model.
        if !lists.is_empty() && models.is_empty() {
            models.push("no-default-models".to_owned());
        }
        Grant { models, limits: credential.all_limits(), ..Grant::default() }
    }
}

impl From<&Team> for Grant {
    fn from(team: &Team) -> Self {
        let mut models = team.models.clone();
        // `all-team-models` in a team's own list is every model.
        if models.iter().any(|model| model == ALL_TEAM_MODELS) {
            models.clear();
        }
        if !models.is_empty() {
            models.extend(team.model_aliases.keys().cloned());
        }
        Grant { models, limits: team.limits.clone(), ..Grant::default() }
    }
}

impl From<&User> for Grant {
    fn from(user: &User) -> Self {
        Grant { models: user.models.clone(), limits: user.limits.clone(), ..Grant::default() }
    }
}

impl From<&Organization> for Grant {
    fn from(organization: &Organization) -> Self {
        Grant { models: organization.models.clone(), limits: organization.limits.clone(), ..Grant::default() }
    }
}

/// Refuses (400) a child that asks for more than its parent has. `catalog` tells which models an access group holds.
pub(super) fn check(child: &Grant, parent: &Parent, catalog: &[ModelEntry]) -> Result<()> {
    for model in &child.models {
        if !grants_model(&parent.grant.models, model, catalog) {
            return Err(exceeds("models", parent, &format!("model {model:?} is not among its models")));
        }
    }
    for route in &child.routes {
        if !grants_route(&parent.grant.routes, route) {
            return Err(exceeds("allowed_routes", parent, &format!("route {route:?} is not among its routes")));
        }
    }
    let granted = |network: &IpNet| parent.grant.networks.iter().any(|granted| granted.contains(network));
    if let Some(network) = child.networks.iter().find(|network| !parent.grant.networks.is_empty() && !granted(network))
    {
        return Err(exceeds("allowed_ips", parent, &format!("{network} is not in its networks")));
    }
    if let (Some(child), Some(limit)) = (child.expires, parent.grant.expires)
        && child > limit
    {
        return Err(exceeds("duration", parent, &format!("it expires at {limit}")));
    }
    check_limits(&child.limits, parent)
}

/// Like [`check`], for a parent whose list of models and budgets no request with the child is held to: the child may not
/// leave the choice to its team either, unless the parent does, and none of its budgets starts anew more often.
pub(super) fn check_handed_on(child: &Grant, parent: &Parent, catalog: &[ModelEntry]) -> Result<()> {
    let list = &parent.grant.models;
    let leaves = |name: &String| name == ALL_TEAM_MODELS;
    let grants_all = |name: &String| leaves(name) || EVERY_MODEL.contains(&name.as_str());
    if child.models.iter().any(leaves) && !list.is_empty() && !list.iter().any(grants_all) {
        return Err(exceeds("models", parent, "all-team-models is more than its models"));
    }
    check(child, parent, catalog)?;
    check_handed_limits(&child.limits, parent, catalog)
}

/// Gives the child what it left unset and the parent has bounded.
pub(super) fn inherit(key: &mut Key, parent: &Grant) {
    if key.models.is_empty() {
        key.models.clone_from(&parent.models);
    }
    if key.allowed_routes.is_empty() {
        key.allowed_routes.clone_from(&parent.routes);
    }
    if key.allowed_ips.is_empty() {
        key.allowed_ips.clone_from(&parent.networks);
    }
    key.expires = key.expires.or(parent.expires);
    let (limits, bound) = (&mut key.limits, &parent.limits);
    // An amount and its period belong together.
    if limits.max_budget.is_none() && bound.max_budget.is_some() {
        (limits.max_budget, limits.budget_duration) = (bound.max_budget, bound.budget_duration);
    }
    limits.rpm_limit = limits.rpm_limit.or(bound.rpm_limit);
    limits.tpm_limit = limits.tpm_limit.or(bound.tpm_limit);
    limits.tpd_limit = limits.tpd_limit.or(bound.tpd_limit);
    limits.max_parallel_requests = limits.max_parallel_requests.or(bound.max_parallel_requests);
    let missing = |window: &&BudgetWindow| !limits.budget_limits.iter().any(|own| is_within(own, window));
    let missing: Vec<BudgetWindow> = bound.budget_limits.iter().filter(missing).cloned().collect();
    limits.budget_limits.extend(missing);
    for (model, limit) in &bound.model_max_budget {
        limits.model_max_budget.entry(model.clone()).or_insert_with(|| limit.clone());
    }
    for (model, limit) in &bound.model_rpm_limit {
        limits.model_rpm_limit.entry(model.clone()).or_insert(*limit);
    }
    for (model, limit) in &bound.model_tpm_limit {
        limits.model_tpm_limit.entry(model.clone()).or_insert(*limit);
    }
    let entries = model_entries(bound);
    for (model, own) in model_entries(limits) {
        let Some(bound) = entries.get(&model) else { continue };
        if let (None, Some(budget)) = (own.max_budget, bound.max_budget) {
            let entry = limits.model_max_budget.entry(model.clone()).or_default();
            (entry.max_budget, entry.budget_duration) = (Some(budget), bound.budget_duration);
        }
        if let (None, Some(limit)) = (own.rpm_limit, bound.rpm_limit) {
            limits.model_rpm_limit.insert(model.clone(), limit);
        }
        if let (None, Some(limit)) = (own.tpm_limit, bound.tpm_limit) {
            limits.model_tpm_limit.insert(model, limit);
        }
    }
}

/// What single models may cost and take; the maps of rates stand before the one of budgets.
fn model_entries(limits: &Limits) -> BTreeMap<String, ModelBudget> {
    let mut entries = limits.model_max_budget.clone();
    for (model, limit) in &limits.model_rpm_limit {
        entries.entry(model.clone()).or_default().rpm_limit = Some(*limit);
    }
    for (model, limit) in &limits.model_tpm_limit {
        entries.entry(model.clone()).or_default().tpm_limit = Some(*limit);
    }
    entries
}

/// The pattern or access group among entries that holds a model or pattern which has no entry of its own.
fn holder<'e>(entries: &'e BTreeMap<String, ModelBudget>, name: &str, catalog: &[ModelEntry]) -> Option<&'e String> {
    let is_in = |group: &String| {
        catalog.iter().any(|model| model.model_name == name && model.model_info.access_groups.contains(group))
    };
    let holds = |other: &&String| glob::is_pattern(other) && glob::matches(other, name) || is_in(other);
    if entries.contains_key(name) { None } else { entries.keys().find(holds) }
}

/// Whether one window of a budget never lets more through than another. Windows of two lengths do not begin together: less
/// in a longer one may be more in a shorter.
fn is_within(window: &BudgetWindow, other: &BudgetWindow) -> bool {
    window.budget_duration == other.budget_duration && window.max_budget <= other.max_budget
}

/// What is compared where no request with the child is held to the parent's limits: the same amount more often is more, and
/// so is a count of its own for a model that the parent counts among others.
fn check_handed_limits(child: &Limits, parent: &Parent, catalog: &[ModelEntry]) -> Result<()> {
    let limit = &parent.grant.limits;
    if child.max_budget.is_some() && limit.max_budget.is_some() {
        period("budget_duration", child.budget_duration, limit.budget_duration, parent)?;
    }
    let entries = model_entries(limit);
    for (model, child) in model_entries(child) {
        if let Some(holder) = holder(&entries, &model, catalog) {
            let why = format!("limits of {model:?} would count apart from those of {holder:?}");
            return Err(exceeds("model_max_budget", parent, &why));
        }
        let Some(limit) = entries.get(&model) else { continue };
        at_most("model_max_budget", child.max_budget, limit.max_budget, parent)?;
        if child.max_budget.is_some() && limit.max_budget.is_some() {
            period("model_max_budget", child.budget_duration, limit.budget_duration, parent)?;
        }
        at_most("model_rpm_limit", child.rpm_limit, limit.rpm_limit, parent)?;
        at_most("model_tpm_limit", child.tpm_limit, limit.tpm_limit, parent)?;
    }
    Ok(())
}

/// A budget may start anew no more often than the parent's.
fn period(
    name: &'static str,
    child: Option<BudgetDuration>,
    limit: Option<BudgetDuration>,
    parent: &Parent,
) -> Result<()> {
    let Some(child) = child else { return Ok(()) };
    match limit {
        Some(limit) if child.as_duration() >= limit.as_duration() => Ok(()),
        Some(limit) => Err(exceeds(name, parent, &format!("its budget starts anew every {limit}, not every {child}"))),
        None => Err(exceeds(name, parent, &format!("its budget never starts anew, this one every {child}"))),
    }
}

fn at_most<T: PartialOrd + Display>(
    name: &'static str,
    child: Option<T>,
    limit: Option<T>,
    parent: &Parent,
) -> Result<()> {
    match (child, limit) {
        (Some(child), Some(limit)) if child > limit => {
            Err(exceeds(name, parent, &format!("{name} {child} is above its {limit}")))
        }
        _ => Ok(()),
    }
}

fn check_limits(child: &Limits, parent: &Parent) -> Result<()> {
    let limit = &parent.grant.limits;
    at_most("max_budget", child.max_budget, limit.max_budget, parent)?;
    at_most("rpm_limit", child.rpm_limit, limit.rpm_limit, parent)?;
    at_most("tpm_limit", child.tpm_limit, limit.tpm_limit, parent)?;
    at_most("tpd_limit", child.tpd_limit, limit.tpd_limit, parent)?;
    at_most("max_parallel_requests", child.max_parallel_requests, limit.max_parallel_requests, parent)?;
    for window in &child.budget_limits {
        let same = limit.budget_limits.iter().find(|other| other.budget_duration == window.budget_duration);
        at_most("budget_limits", Some(window.max_budget), same.map(|other| other.max_budget), parent)?;
    }
    for (model, child) in &child.model_max_budget {
        let limit = limit.model_max_budget.get(model);
        at_most("model_max_budget", child.max_budget, limit.and_then(|limit| limit.max_budget), parent)?;
    }
    for (model, child) in &child.model_rpm_limit {
        at_most("model_rpm_limit", Some(*child), limit.model_rpm_limit.get(model).copied(), parent)?;
    }
    for (model, child) in &child.model_tpm_limit {
        at_most("model_tpm_limit", Some(*child), limit.model_tpm_limit.get(model).copied(), parent)?;
    }
    Ok(())
}

/// Whether a list of models grants one entry of another list. A pattern is granted by a pattern that covers it: every
/// star of the entry must fall under a star of the list.
fn grants_model(list: &[String], entry: &str, catalog: &[ModelEntry]) -> bool {
    let names = |name: &str| {
        EVERY_MODEL.contains(&name) || name == entry || (glob::is_pattern(name) && glob::matches(name, entry))
    };
    let granted = |entry: &str| list.iter().any(|name| name == entry || glob::matches(name, entry));
    if list.is_empty() || NO_GRANT.contains(&entry) || list.iter().any(|name| names(name)) {
        return true;
    }
    // The entry is a model of a granted access group.
    let groups = catalog.iter().filter(|model| model.model_name == entry).flat_map(|m| &m.model_info.access_groups);
    if groups.into_iter().any(|group| list.contains(group)) {
        return true;
    }
    // The entry is an access group, and all its models are granted.
    let mut members =
        catalog.iter().filter(|m| m.model_info.access_groups.iter().any(|group| group == entry)).peekable();
    members.peek().is_some() && members.all(|model| granted(&model.model_name))
}

/// Whether a list of routes grants one entry of another: literally, or as a path below it.
fn grants_route(list: &[String], entry: &str) -> bool {
    let covers = |route: &String| {
        route == entry
            || route.strip_suffix('*').is_some_and(|prefix| entry.starts_with(prefix))
            || (route.starts_with('/') && entry.strip_prefix(route.as_str()).is_some_and(|rest| rest.starts_with('/')))
    };
    list.is_empty() || list.iter().any(covers)
}

fn exceeds(param: &'static str, parent: &Parent, why: &str) -> ManageError {
    ManageError::bad(param, format!("more than {} has: {why}", parent.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelInfo;
    use crate::domain::{KeyHash, Money};

    fn catalog() -> Vec<ModelEntry> {
        let entry = |name: &str, group: &str| ModelEntry {
            model_name: name.into(),
            litellm_params: Default::default(),
            model_info: ModelInfo { access_groups: vec![group.into()], ..ModelInfo::default() },
        };
        vec![entry("gpt-4o", "good"), entry("gpt-4o-mini", "cheap"), entry("haiku", "cheap")]
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_child_names_only_models_its_parent_grants() {
        for (parent, child, expected) in [
            (&[][..], "anything", true),
            (&["*"], "anything", true),
            (&["all-proxy-models"], "openai/*", true),
            (&["gpt-4o"], "gpt-4o", true),
            (&["gpt-4o"], "gpt-4o-mini", false),
            (&["gpt-4o"], "*", false),
            (&["gpt-4o"], "all-proxy-models", false),
            (&["gpt-4o"], "all-team-models", true),
            (&["openai/*"], "openai/gpt-4o", true),
            (&["openai/*"], "openai/gpt*", true),
            (&["openai/gpt*"], "openai/*", false),
            (&["cheap"], "haiku", true),
            (&["cheap"], "gpt-4o", false),
            (&["gpt-4o-mini", "haiku"], "cheap", true),
            (&["gpt-4o-mini"], "cheap", false),
            (&["gpt-4o-mini"], "nobody", false),
        ] {
            assert_eq!(grants_model(&list(parent), child, &catalog()), expected, "{child} of {parent:?}");
        }
    }

    #[test]
    fn a_key_leaves_the_choice_to_its_team_only_where_its_maker_does() {
        for (parent, child, expected) in [
            (&[][..], &["all-team-models"][..], true),
            (&["*"], &["all-team-models"], true),
            (&["all-proxy-models"], &["all-team-models"], true),
            (&["all-team-models"], &["all-team-models"], true),
            (&["gpt-4o"], &["gpt-4o"], true),
            (&["gpt-4o"], &["no-default-models"], true),
            (&["gpt-4o"], &["all-team-models"], false),
            (&["gpt-4o"], &["gpt-4o", "all-team-models"], false),
            (&["no-default-models"], &["no-default-models", "all-team-models"], false),
        ] {
            let grant = |names: &[&str]| Grant { models: list(names), ..Grant::default() };
            let parent = Parent { name: "the calling key".into(), grant: grant(parent) };
            let got = check_handed_on(&grant(child), &parent, &catalog());
            assert_eq!(got.is_ok(), expected, "{child:?} of {:?}", parent.grant.models);
        }
    }

    #[test]
    fn what_is_handed_on_of_a_credential_is_what_all_its_lists_hold() {
        for (lists, expected) in [
            (&[][..], &[][..]),
            (&[&["a", "b"][..]], &["a", "b"]),
            (&[&["a", "b"], &["b"]], &["b"]),
            (&[&["a"], &["b"]], &["no-default-models"]),
            (&[&[]], &["no-default-models"]),
            (&[&["all-team-models"]], &["no-default-models"]),
            (&[&["a", "all-team-models"]], &["a"]),
        ] {
            let lists: Vec<Vec<String>> = lists.iter().map(|names| list(names)).collect();
            let credential = crate::domain::Grant { models: lists.clone(), ..Default::default() };
            assert_eq!(Grant::from(&credential).models, list(expected), "{lists:?}");
        }
    }

    #[test]
    fn a_child_names_only_routes_its_parent_grants() {
        for (parent, child, expected) in [
            (&[][..], "management_routes", true),
            (&["llm_api_routes"], "llm_api_routes", true),
            (&["llm_api_routes"], "management_routes", false),
            (&["/v1/*"], "/v1/chat/completions", true),
            (&["/v1/chat"], "/v1/chat/completions", true),
            (&["/v1/chat"], "/v1/chatter", false),
            (&["/v1/chat"], "/*", false),
        ] {
            assert_eq!(grants_route(&list(parent), child), expected, "{child} of {parent:?}");
        }
    }

    #[test]
    fn limits_of_a_child_stay_within_those_of_its_parent() {
        let limits = |budget: i64, rpm: u64| Limits {
            max_budget: Some(Money::nanos(budget)),
            rpm_limit: Some(rpm),
            ..Limits::default()
        };
        let parent =
            Parent { name: "team \"blue\"".into(), grant: Grant { limits: limits(100, 10), ..Grant::default() } };
        for (child, expected) in [
            (limits(100, 10), None),
            (Limits::default(), None),
            (limits(101, 10), Some("max_budget")),
            (limits(100, 11), Some("rpm_limit")),
        ] {
            let refused = check(&Grant { limits: child, ..Grant::default() }, &parent, &[]).err();
            assert_eq!(refused.and_then(|error| error.param).as_deref(), expected);
        }
    }

    #[test]
    fn a_budget_that_is_handed_on_starts_anew_no_more_often() {
        let limits = |period: &str| -> Limits {
            let period = if period.is_empty() { json!(null) } else { json!(period) };
            serde_json::from_value(json!({"max_budget": 10, "budget_duration": period,
                "model_max_budget": {"gpt-4o": {"max_budget": 1, "budget_duration": period}}}))
            .unwrap()
        };
        for (parent, child, expected) in [
            ("30d", "30d", true),
            ("30d", "60d", true),
            ("30d", "", true),
            ("30d", "1d", false),
            ("", "", true),
            ("", "30d", false),
        ] {
            let grant = |period: &str| Grant { limits: limits(period), ..Grant::default() };
            let parent = Parent { name: "the calling key".into(), grant: grant(parent) };
            assert_eq!(check_handed_on(&grant(child), &parent, &[]).is_ok(), expected, "{child:?} of {parent:?}");
            // Those of a team are budgets of the team, whatever its keys have.
            assert!(check(&grant(child), &parent, &[]).is_ok());
            let mut other = grant(child);
            other.limits.max_budget = None;
            let refused = check_handed_on(&other, &parent, &[]).err().and_then(|error| error.param);
            assert_eq!(refused.as_deref(), (!expected).then_some("model_max_budget"));
        }
    }

    #[test]
    fn a_model_of_a_key_is_bounded_as_its_maker_is() {
        let limits = |value: serde_json::Value| -> Limits { serde_json::from_value(value).unwrap() };
        let budget = |name: &str, dollars: f64| limits(json!({"model_max_budget": {name: {"max_budget": dollars}}}));
        for (parent, child, inherited, refused) in [
            // Nothing of its own is what the maker has.
            (budget("gpt-4o", 1.0), limits(json!({"model_max_budget": {"gpt-4o": {}}})), Some(1.0), None),
            (budget("gpt-4o", 1.0), budget("haiku", 2.0), Some(1.0), None),
            (budget("cheap", 1.0), budget("gpt-4o", 2.0), Some(2.0), None),
            // A model counts among others, or apart from them.
            (budget("gpt-*", 1.0), budget("gpt-*", 1.0), None, None),
            (budget("gpt-*", 1.0), budget("gpt-4o", 0.5), Some(0.5), Some("model_max_budget")),
            (budget("cheap", 1.0), limits(json!({"model_rpm_limit": {"haiku": 3}})), None, Some("model_max_budget")),
            // Rates stand in two places.
            (
                limits(json!({"model_rpm_limit": {"gpt-4o": 5}})),
                limits(json!({"model_max_budget": {"gpt-4o": {"rpm_limit": 9}}})),
                None,
                None,
            ),
            (
                limits(json!({"model_max_budget": {"gpt-4o": {"tpm_limit": 5}}})),
                limits(json!({"model_max_budget": {"gpt-4o": {"tpm_limit": 9}}})),
                None,
                Some("model_tpm_limit"),
            ),
        ] {
            let parent = Parent { name: "the calling key".into(), grant: Grant { limits: parent, ..Grant::default() } };
            let mut key = Key::new(KeyHash::of("sk-child"), Timestamp::millis(1_000));
            key.limits = child.clone();
            inherit(&mut key, &parent.grant);
            let got = check_handed_on(&Grant::from(&key), &parent, &catalog()).err().and_then(|error| error.param);
            assert_eq!(got.as_deref(), refused, "{child:?} of {:?}", parent.grant.limits);
            let of_gpt = key.limits.model_max_budget.get("gpt-4o").and_then(|entry| entry.max_budget);
            assert_eq!(of_gpt.map(|money| money.as_nanos() as f64 / 1e9), inherited, "{child:?}");
        }
    }

    #[test]
    fn a_key_has_every_window_of_its_maker_or_one_within_it() {
        let window = |period: &str, dollars: i64| BudgetWindow {
            budget_duration: period.parse().unwrap(),
            max_budget: Money::nanos(dollars * 1_000_000_000),
        };
        let now = Timestamp::millis(1_000);
        let mut maker = Key::new(KeyHash::of("sk-maker"), now);
        maker.limits.budget_limits = vec![window("1d", 10), window("30d", 100)];
        for (own, expected) in [
            (vec![], vec![("1d", 10), ("30d", 100)]),
            (vec![("1h", 1)], vec![("1h", 1), ("1d", 10), ("30d", 100)]),
            (vec![("1d", 5)], vec![("1d", 5), ("30d", 100)]),
            (vec![("60d", 10)], vec![("60d", 10), ("1d", 10), ("30d", 100)]),
        ] {
            let windows = |list: &[(&str, i64)]| -> Vec<BudgetWindow> {
                list.iter().map(|(period, dollars)| window(period, *dollars)).collect()
            };
            let mut child = Key::new(KeyHash::of("sk-child"), now);
            child.limits.budget_limits = windows(&own);
            inherit(&mut child, &Grant::from(&maker));
            assert_eq!(child.limits.budget_limits, windows(&expected), "{own:?}");
        }
    }

    #[test]
    fn a_key_made_with_a_bounded_key_is_bounded_by_it() {
        let now = Timestamp::millis(1_000);
        let mut maker = Key::new(KeyHash::of("sk-maker"), now);
        maker.models = list(&["gpt-4o"]);
        maker.allowed_routes = list(&["management_routes"]);
        maker.expires = Some(Timestamp::millis(9_000));
        maker.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()];
        maker.limits.max_budget = Some(Money::nanos(5));
        maker.limits.model_rpm_limit.insert("gpt-4o".into(), 3);
        let mut child = Key::new(KeyHash::of("sk-child"), now);
        child.limits.max_budget = Some(Money::nanos(2));
        inherit(&mut child, &Grant::from(&maker));
        assert_eq!((&child.models, &child.allowed_routes), (&maker.models, &maker.allowed_routes));
        assert_eq!(child.allowed_ips, maker.allowed_ips);
        let parent = || Parent { name: "the calling key".into(), grant: Grant::from(&maker) };
        for (network, expected) in [("10.1.0.0/16", true), ("10.0.0.0/8", true), ("0.0.0.0/0", false), ("::/0", false)]
        {
            let child = Grant { networks: vec![network.parse().unwrap()], ..Grant::default() };
            assert_eq!(check(&child, &parent(), &[]).is_ok(), expected, "{network}");
        }
        assert_eq!((child.expires, child.limits.max_budget), (maker.expires, Some(Money::nanos(2))));
        assert_eq!(child.limits.model_rpm_limit, maker.limits.model_rpm_limit);
        child.expires = Some(Timestamp::millis(9_001));
        assert!(check(&Grant::from(&child), &parent(), &[]).is_err());
    }
}
