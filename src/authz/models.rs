//! May this caller use this model? Every allowlist above the request must hold it: the key's, the team's, the member's,
//! the user's, the organization's, the project's and the end user's. A refusal names the kind of list and nothing of
//! what it holds.

mod catalog;

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::domain::{AccessGroup, Api, Caller, Denial, EndUser, ErrorType, Key, Team, glob};

pub use catalog::{Catalog, ProviderOf};

/// What to ask about.
#[derive(Clone, Copy, Debug)]
pub struct ModelAsk<'a> {
    pub caller: &'a Caller,
    pub api: Api,
    /// The model as the request names it; a comma-separated list asks for all of them.
    pub model: Option<&'a str>,
    /// Models the request wants tried where that one fails; all must be allowed.
    pub fallbacks: &'a [Cow<'a, str>],
    /// Models that do a part of the work; all must be allowed, whether or not the request names one itself.
    pub helpers: &'a [Cow<'a, str>],
    pub catalog: &'a Catalog,
    /// The unified access groups of the directory.
    pub groups: &'a [AccessGroup],
    pub end_user: Option<&'a EndUser>,
    /// Teams of the key's owner, where `personal_key_model_access_from_teams` is on; else empty.
    pub owner_teams: &'a [Team],
}

/// A model the caller may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// As the request names it.
    pub asked: &'a str,
    /// What the aliases of team, key and configuration make of it; `asked` where there are none.
    pub target: &'a str,
    /// Access groups it belongs to, of `model_list` and of the directory: they may carry budgets.
    pub access_groups: SmallVec<[&'a str; 2]>,
    /// Whether it does a part of the work beside the one that answers.
    pub helps: bool,
}

/// Words in allowlists that are no names of models.
const ALL_TEAM_MODELS: &str = "all-team-models";
const ALL_PROXY_MODELS: &str = "all-proxy-models";
const NO_DEFAULT_MODELS: &str = "no-default-models";

/// The models asked for, then the fallbacks and the helpers, resolved, if the caller may use each of them. A request that
/// costs and names no model is refused where any list confines the caller: the upstream would choose one.
pub fn model_access<'a>(ask: &ModelAsk<'a>) -> Result<SmallVec<[Resolved<'a>; 1]>, Denial> {
    let chooses = ask.api.is_billable() && ask.api != Api::Unmeterable;
    if ask.model.is_none() && chooses && is_confined(ask) {
        return Err(nameless());
    }
    let resolve = |(asked, helps)| {
        let names = Names::of(ask, asked);
        every_list(ask, &names)?;
        Ok(resolved(ask, asked, &names, helps))
    };
    asked(ask).map(resolve).collect()
}

/// What [`model_access`] answers where the caller may use every model: for a request that is refused and yet metered.
#[must_use]
pub fn models_asked<'a>(ask: &ModelAsk<'a>) -> SmallVec<[Resolved<'a>; 1]> {
    asked(ask).map(|(asked, helps)| resolved(ask, asked, &Names::of(ask, asked), helps)).collect()
}

/// Every model a request may use, and whether it only helps. A fallback of no model answers nothing.
fn asked<'a>(ask: &ModelAsk<'a>) -> impl Iterator<Item = (&'a str, bool)> + use<'a> {
    fn each<'a>(names: &'a [Cow<'a, str>]) -> impl Iterator<Item = &'a str> {
        names.iter().flat_map(|names| names.split(','))
    }
    let answering = ask.model.into_iter().flat_map(|model| model.split(',')).chain(each(ask.fallbacks));
    let helping = each(ask.helpers).map(|name| (name.trim(), true));
    let is_nameless = ask.model.is_none();
    answering.map(move |name| (name.trim(), is_nameless)).chain(helping)
}

fn resolved<'a>(ask: &ModelAsk<'a>, asked: &'a str, names: &Names<'a>, helps: bool) -> Resolved<'a> {
    let target = names.target;
    let mut access_groups: SmallVec<[&str; 2]> = ask.catalog.groups(target).collect();
    let unified = ask.groups.iter().filter(|group| group_holds(ask.catalog, group, names));
    access_groups.extend(unified.map(|group| group.access_group_id.as_ref()));
    access_groups.sort_unstable();
    access_groups.dedup();
    Resolved { asked, target, access_groups, helps }
}

/// The names under which a model may stand in an allowlist.
struct Names<'a> {
    /// Any of them will do: the name asked for and what team and configuration make of it; or only the target where an
    /// alias of the key chose it, since the key's owner may have written that alias.
    any: SmallVec<[&'a str; 3]>,
    target: &'a str,
    /// Whether the team itself gave this name to a model.
    is_team_alias: bool,
}

impl<'a> Names<'a> {
    fn of(ask: &ModelAsk<'a>, asked: &'a str) -> Self {
        let identity = &ask.caller.identity;
        let of_team = |name: &str| identity.team.as_ref()?.model_aliases.get(name).map(String::as_str);
        // A body goes to the upstream as it came: what is a model there would be asked for under its own name, and paid and
        // allowed as another.
        let of_key = |name: &str| {
            let target = identity.key.as_ref()?.aliases.get(name)?;
            (!ask.catalog.is_known(name)).then_some(target.as_str())
        };
        let team = of_team(asked);
        let first = team.unwrap_or(asked);
        let key = of_key(first);
        let second = key.unwrap_or(first);
        let third = ask.catalog.alias(second).unwrap_or(second);
        let key_again = of_key(third).filter(|target| *target != third);
        let target = key_again.unwrap_or(third);
        let chosen_by_key = key.is_some_and(|target| target != first) || key_again.is_some();
        let mut any: SmallVec<[&str; 3]> = SmallVec::new();
        if chosen_by_key {
            any.push(target);
        } else {
            any.extend([asked, first, target]);
            any.dedup();
        }
        Names { any, target, is_team_alias: team.is_some() && !chosen_by_key }
    }
}

/// Asks each list in turn; the first that does not hold the model refuses.
fn every_list(ask: &ModelAsk<'_>, names: &Names<'_>) -> Result<(), Denial> {
    let identity = &ask.caller.identity;
    let (key, team) = (identity.key.as_ref(), identity.team.as_ref());
    if !granted(ask.caller).iter().all(|list| any_entry_holds(ask.catalog, list, names)) {
        let denial = refusal(ErrorType::AuthError, "model.credential");
        return Err(Denial { status: 403, ..denial });
    }
    if let Some(key) = key
        && !key_holds(ask, key, names)
    {
        return Err(refusal(ErrorType::KeyModelAccessDenied, "model.key"));
    }
    if let Some(team) = team {
        if !team_holds(ask, key, team, names) {
            return Err(refusal(ErrorType::TeamModelAccessDenied, "model.team"));
        }
        if let Some(member) = &identity.member
            && !list_holds(ask.catalog, &member.allowed_models, names)
        {
            return Err(refusal(ErrorType::TeamModelAccessDenied, "model.team_member"));
        }
    } else if let Some(user) = &identity.user
        && !list_holds(ask.catalog, &user.models, names)
        && !ask.owner_teams.iter().any(|team| !team.blocked && team_holds(ask, None, team, names))
    {
        return Err(refusal(ErrorType::UserModelAccessDenied, "model.user"));
    }
    if let Some(organization) = &identity.organization
        && !list_holds(ask.catalog, &organization.models, names)
    {
        return Err(refusal(ErrorType::OrgModelAccessDenied, "model.organization"));
    }
    if let Some(project) = &identity.project
        && !list_holds(ask.catalog, &project.models, names)
    {
        return Err(refusal(ErrorType::ProjectModelAccessDenied, "model.project"));
    }
    if let Some(end_user) = ask.end_user
        && !list_holds(ask.catalog, &end_user.models, names)
    {
        return Err(refusal(ErrorType::CustomerModelAccessDenied, "model.end_user"));
    }
    Ok(())
}

/// The lists of models the credential itself is good for.
fn granted(caller: &Caller) -> &[Vec<String>] {
    let grant = caller.grant.as_ref().filter(|grant| !grant.is_unchecked);
    grant.map_or(&[], |grant| &grant.models)
}

/// A key with `all-team-models` leaves the choice to what stands above it: its team, or without one its owner. A key
/// that has access groups and no list is confined to the groups.
fn key_holds(ask: &ModelAsk<'_>, key: &Key, names: &Names<'_>) -> bool {
    if key.models.iter().any(|entry| entry == ALL_TEAM_MODELS) {
        return true;
    }
    let only_groups = key.models.is_empty() && !key.access_group_ids.is_empty();
    (!only_groups && list_holds(ask.catalog, &key.models, names)) || key_groups_hold(ask, key, names)
}

fn key_groups_hold(ask: &ModelAsk<'_>, key: &Key, names: &Names<'_>) -> bool {
    if ask.groups.is_empty() {
        return false;
    }
    let own = hashes(key);
    ask.groups.iter().any(|group| {
        (lists(&key.access_group_ids, group) || is_assigned(group, &own)) && group_holds(ask.catalog, group, names)
    })
}

/// Besides its list a team may use its own aliases and access groups, and a key of the team the groups that an
/// administrator assigned to this team or key.
fn team_holds(ask: &ModelAsk<'_>, key: Option<&Key>, team: &Team, names: &Names<'_>) -> bool {
    if names.is_team_alias
        || team.models.iter().any(|entry| entry == ALL_TEAM_MODELS)
        || list_holds(ask.catalog, &team.models, names)
    {
        return true;
    }
    if ask.groups.is_empty() {
        return false;
    }
    let own = key.map(hashes);
    ask.groups.iter().any(|group| {
        let of_team = group.assigned_team_ids.iter().any(|id| *id == *team.team_id);
        let of_key = own.as_ref().is_some_and(|own| is_assigned(group, own));
        (of_team || of_key || lists(&team.access_group_ids, group)) && group_holds(ask.catalog, group, names)
    })
}

/// What a group may call a key: by its hash, or by the first one, which it had when it was assigned.
fn hashes(key: &Key) -> [String; 2] {
    [key.token, key.first_token].map(|hash| hash.to_string())
}

fn is_assigned(group: &AccessGroup, key: &[String; 2]) -> bool {
    group.assigned_key_ids.iter().any(|id| key.contains(id))
}

fn lists(ids: &[String], group: &AccessGroup) -> bool {
    ids.iter().any(|id| *id == *group.access_group_id)
}

fn group_holds(catalog: &Catalog, group: &AccessGroup, names: &Names<'_>) -> bool {
    any_entry_holds(catalog, &group.access_model_names, names)
}

/// An empty list is all models. `no-default-models` takes everything away, whatever else the list holds.
fn list_holds(catalog: &Catalog, list: &[String], names: &Names<'_>) -> bool {
    if list.is_empty() {
        return true;
    }
    !list.iter().any(|entry| entry == NO_DEFAULT_MODELS) && any_entry_holds(catalog, list, names)
}

/// Whether an entry stands for a model under one of its names: everything, the name, a pattern over it with or without
/// its provider, or an access group it belongs to. The catalog is asked once a name, not once an entry.
fn any_entry_holds(catalog: &Catalog, list: &[String], names: &Names<'_>) -> bool {
    names.any.iter().any(|name| list.iter().any(|entry| entry_holds(catalog, entry, name)))
        || names.any.iter().any(|name| catalog.groups(name).any(|group| list.iter().any(|entry| entry == group)))
}

fn entry_holds(catalog: &Catalog, entry: &str, model: &str) -> bool {
    match entry {
        "*" | ALL_PROXY_MODELS => true,
        // A word of the list is not a model, also where a client asks for it by that name.
        ALL_TEAM_MODELS | NO_DEFAULT_MODELS => false,
        _ if glob::is_pattern(entry) => {
            entry == model || glob::matches(entry, model) || pattern_holds_provider(catalog, entry, model)
        }
        _ => entry == model,
    }
}

/// `openai/gpt-*` stands for `gpt-4o` where that is a model of OpenAI.
fn pattern_holds_provider(catalog: &Catalog, entry: &str, model: &str) -> bool {
    if model.contains('/') {
        return false;
    }
    let Some((provider, name)) = entry.split_once('/') else { return false };
    glob::matches(name, model) && catalog.provider_is(model, |known| glob::matches(provider, known))
}

/// Whether any list above the request names some models only.
fn is_confined(ask: &ModelAsk<'_>) -> bool {
    let identity = &ask.caller.identity;
    let confines = |list: &[String]| {
        !list.is_empty() && !list.iter().any(|entry| matches!(entry.as_str(), "*" | ALL_PROXY_MODELS | ALL_TEAM_MODELS))
    };
    let user = identity.user.as_ref().filter(|_| identity.team.is_none());
    granted(ask.caller).iter().any(|list| list.is_empty() || confines(list))
        || identity
            .key
            .as_ref()
            .is_some_and(|key| confines(&key.models) || (key.models.is_empty() && !key.access_group_ids.is_empty()))
        || identity.team.as_ref().is_some_and(|team| confines(&team.models))
        || identity.member.as_ref().is_some_and(|member| confines(&member.allowed_models))
        || user.is_some_and(|user| confines(&user.models))
        || identity.organization.as_ref().is_some_and(|organization| confines(&organization.models))
        || identity.project.as_ref().is_some_and(|project| confines(&project.models))
        || ask.end_user.is_some_and(|end_user| confines(&end_user.models))
}

fn refusal(kind: ErrorType, reason: &'static str) -> Denial {
    let message = "this model is not available to the caller, or its name is wrong; GET /v1/models lists what is";
    Denial::new(kind, reason, message).param("model")
}

fn nameless() -> Denial {
    let message = "the request names no model, and this caller may use some models only; set the parameter model";
    Denial::new(ErrorType::BadRequest, "model.nameless", message).param("model")
}

#[cfg(test)]
mod tests;
