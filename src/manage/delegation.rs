//! A child never gets more than its parent: key ≤ owner or team ≤ organization, and a key made with a key ≤ that key.
//! This is the only place that compares them. What a child leaves unset is no excess where the gate enforces the
//! parent's value on every request too; where it does not (a key made with a key), the child takes the parent's.

mod limits;

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::config::ModelEntry;
use crate::domain::{Key, Limits, Organization, Team, Timestamp, User, glob};

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
    /// Names that a key gives to models.
    pub aliases: BTreeMap<String, String>,
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
            aliases: key.aliases.clone(),
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
    limits::check(&child.limits, parent)
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
    check_aliases(child, parent, catalog)?;
    limits::check_handed_on(&child.limits, parent)
}

/// Refuses aliases by which one model passes for another. Lists and prices are asked for the target, while the upstream
/// is asked for the name. So what the parent calls by a name keeps it, and another name leads to a model that the parent
/// may use, and is not that of one.
pub(super) fn check_aliases(child: &Grant, parent: &Parent, catalog: &[ModelEntry]) -> Result<()> {
    let grants = |name: &str| grants_model(&parent.grant.models, name, catalog);
    for (name, target) in &child.aliases {
        let why = match parent.grant.aliases.get(name) {
            Some(same) if same == target => continue,
            Some(other) => format!("{name:?} is its name for {other:?}"),
            None if !grants(target) => format!("{target:?}, which {name:?} stands for, is not among its models"),
            None if grants(name) => format!("{name:?} may be a model of its own"),
            None => continue,
        };
        return Err(exceeds("aliases", parent, &why));
    }
    Ok(())
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
    for (name, target) in &parent.aliases {
        key.aliases.entry(name.clone()).or_insert_with(|| target.clone());
    }
    key.expires = key.expires.or(parent.expires);
    limits::inherit(&mut key.limits, &parent.limits);
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
    fn an_alias_that_is_no_ones_before_leads_to_a_model_from_a_name_that_is_none() {
        let aliases = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, target)| ((*name).to_owned(), (*target).to_owned())).collect()
        };
        for (models, had, sent, expected) in [
            (&["gpt-4o-mini"][..], &[][..], &[("fast", "gpt-4o-mini")][..], true),
            (&["cheap"], &[], &[("fast", "haiku")], true),
            (&["gpt-4o-mini"], &[], &[("fast", "gpt-4o")], false),
            (&["gpt-4o-mini", "gpt-4o"], &[], &[("gpt-4o", "gpt-4o-mini")], false),
            (&["cheap"], &[], &[("haiku", "gpt-4o-mini")], false),
            (&["gpt-*"], &[], &[("gpt-5", "gpt-4o-mini")], false),
            // Every name may be a model's where every model is granted.
            (&[], &[], &[("fast", "gpt-4o-mini")], false),
            (&["*"], &[], &[("fast", "gpt-4o-mini")], false),
            (&["all-team-models"], &[], &[("fast", "gpt-4o-mini")], false),
            // What somebody who may gave it stays, and leads nowhere else.
            (&["gpt-4o"], &[("gpt-4o", "gpt-4o-mini")], &[("gpt-4o", "gpt-4o-mini")], true),
            (&["gpt-4o", "haiku"], &[("fast", "gpt-4o")], &[("fast", "haiku")], false),
        ] {
            let grant =
                |pairs: &[(&str, &str)]| Grant { models: list(models), aliases: aliases(pairs), ..Grant::default() };
            let parent = Parent { name: "this key".into(), grant: grant(had) };
            let got = check_aliases(&grant(sent), &parent, &catalog());
            assert_eq!(got.is_ok(), expected, "{sent:?} for {models:?} with {had:?}");
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
