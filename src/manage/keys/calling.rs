//! What a caller hands on by a key: no higher role, and no more models and limits than the key or credential it calls
//! with has.

use std::collections::BTreeMap;

use super::super::delegation::{self, Grant, Parent};
use super::super::permissions::Standing;
use super::super::{Actor, ManageError, Manager, Result};
use super::ownership::Owners;
use super::settings;
use crate::domain::{AccessGroup, Key, TeamRole};

/// Names and the models they stand for.
type Aliases = BTreeMap<String, String>;

impl Manager {
    /// A key has the role of its owner. The caller must have it too: its own may be narrowed for this request.
    pub(super) fn check_role(actor: &Actor, owners: &Owners) -> Result<()> {
        let role = owners.role();
        if actor.caller.role.includes(role) {
            return Ok(());
        }
        let message = format!("this key would act as {}, which your credential does not allow", role.as_str());
        Err(ManageError::forbidden(message))
    }

    /// A key acts as its user, who may stand above others in teams and organizations. Whoever makes or rotates a key of
    /// somebody else's receives that: it must be theirs too, or the key must call nothing but models.
    pub(super) async fn check_acts_as(&self, actor: &Actor, key: &Key, owners: &Owners) -> Result<()> {
        let is_own = key.user_id.as_ref() == actor.user_id();
        let Some(user) = owners.user().filter(|_| !actor.is_admin() && !is_own && !settings::only_calls(key)) else {
            return Ok(());
        };
        let above = |whose: &str| {
            let user = &user.user_id;
            let message =
                format!("this key would act as {user:?}, who administers {whose}; give it the key_type llm_api");
            Err(ManageError::forbidden(message))
        };
        if let Some(organization) = user.admin_of.iter().find(|id| !self.administers(actor, Some(id))) {
            return above(&format!("organization {organization:?}"));
        }
        let memberships = self.store.memberships_of_user(&user.user_id).await?;
        for member in memberships.into_iter().filter(|member| member.role == TeamRole::Admin) {
            if let Some(team) = self.store.team(&member.team_id).await?
                && self.standing_in(actor, &team).await? < Standing::TeamAdmin
            {
                return above(&format!("team {:?}", team.team_id));
            }
        }
        Ok(())
    }

    /// A key made with a key or a narrowed credential gets no more than that has, and what it leaves unset from it. The
    /// aliases that were `given` to it are no choice of the caller's.
    pub(super) async fn check_calling_key(&self, actor: &Actor, given: &Aliases, key: &mut Key) -> Result<()> {
        if actor.is_admin() {
            return Ok(());
        }
        let maker = actor.key().map(|maker| with_aliases(maker, given));
        let maker = maker.as_ref();
        let given = maker.map_or(given, |maker| &maker.aliases);
        let groups = self.groups_among(key, maker).await?;
        if let Some(maker) = maker.filter(|maker| maker.models.is_empty() && key.models.is_empty())
            && key.access_group_ids.is_empty()
        {
            key.access_group_ids.clone_from(&maker.access_group_ids);
        }
        for parent in parents(actor, maker, &groups, given) {
            let only_groups = has_only_groups(key);
            delegation::inherit(key, &parent.grant);
            if only_groups {
                key.models.clear();
            }
            self.check_parent(key, &groups, &parent)?;
        }
        self.check_aliases(given, key, &groups)
    }

    /// Whoever rotates a key receives it: a key rotates itself and none that has more, a narrowed credential none that
    /// has more than it allows, and nobody one that stands higher.
    pub(super) async fn check_rotated(&self, actor: &Actor, before: &Key, key: &Key) -> Result<()> {
        if actor.is_admin() {
            return Ok(());
        }
        let owners = self.owners(key).await?;
        Self::check_role(actor, &owners)?;
        self.check_acts_as(actor, key, &owners).await?;
        let caller = actor.key().filter(|caller| caller.token != before.token);
        self.check_received(actor, caller, &kept_aliases(before, key), key).await
    }

    /// A change of a key that is called with `actor`. An owner may narrow a key, never widen it: whoever issued it meant
    /// its bounds. Who may widen it goes no further than the key or the credential that is called with.
    pub(super) async fn check_change(&self, actor: &Actor, standing: Standing, before: &Key, key: &Key) -> Result<()> {
        if actor.is_admin() {
            return Ok(());
        }
        match self.check_narrowed(before, key).await {
            Err(error) if error.status == 403 && standing >= Standing::TeamAdmin => {
                let kept = kept_aliases(before, key);
                let caller = actor.key().map(|caller| with_aliases(caller, &kept));
                self.check_received(actor, caller.as_ref(), &kept, key).await?;
            }
            narrowed => narrowed?,
        }
        let groups = self.groups_among(key, None).await?;
        self.check_aliases(&before.aliases, key, &groups)
    }

    async fn check_narrowed(&self, before: &Key, key: &Key) -> Result<()> {
        let lost = before.enforced_params.iter().any(|name| !key.enforced_params.contains(name))
            || before.tags.iter().any(|tag| !key.tags.contains(tag))
            || before.tag_rpm_limit.iter().any(|(tag, limit)| key.tag_rpm_limit.get(tag).is_none_or(|now| now > limit));
        let lifted = lost
            || (key.temp_budget_increase, key.temp_budget_expiry)
                != (before.temp_budget_increase, before.temp_budget_expiry)
            || key.limits.budget_duration != before.limits.budget_duration && before.limits.max_budget.is_some();
        let only_an_admin = "only an admin of the team, organization or proxy lifts a bound of a key";
        if lifted {
            return Err(ManageError::forbidden(only_an_admin));
        }
        let groups = self.groups_among(key, Some(before)).await?;
        let parent = of_key("this key before", before, &groups);
        if !is_bounded_by(key, &parent) {
            return Err(ManageError::forbidden(only_an_admin));
        }
        self.check_parent(key, &groups, &parent).map_err(|error| ManageError::forbidden(error.message))
    }

    /// Refuses a key that has more than `caller`, or than the credential of the call with the aliases `given`.
    async fn check_received(&self, actor: &Actor, caller: Option<&Key>, given: &Aliases, key: &Key) -> Result<()> {
        let groups = self.groups_among(key, caller).await?;
        let mut whole = key.clone();
        if let Some(id) = &key.budget_id
            && let Some(budget) = self.store.budget(id).await?
        {
            whole.limits = whole.limits.or(&budget.limits);
        }
        for parent in parents(actor, caller, &groups, given) {
            if !is_bounded_by(&whole, &parent) {
                return Err(ManageError::forbidden(format!("this key lacks a bound of {}", parent.name)));
            }
            self.check_parent(&whole, &groups, &parent).map_err(|error| ManageError::forbidden(error.message))?;
        }
        Ok(())
    }

    /// Holds a key to a parent, the models of its access groups like those it names itself.
    fn check_parent(&self, key: &Key, groups: &[AccessGroup], parent: &Parent) -> Result<()> {
        let mut child = Grant::from(key);
        child.models.extend(models_of(groups, &key.access_group_ids));
        delegation::check_handed_on(&child, parent, &self.config.model_list)
    }

    /// Aliases that were not given to a key by those who may are held to its own models: they let no model pass for
    /// another.
    fn check_aliases(&self, given: &Aliases, key: &Key, groups: &[AccessGroup]) -> Result<()> {
        let mut own = of_key("this key", key, groups);
        own.grant.aliases.clone_from(given);
        delegation::check_aliases(&Grant::from(key), &own, &self.config.model_list)
    }

    /// The access groups of the directory, where one of the keys has any.
    async fn groups_among(&self, key: &Key, maker: Option<&Key>) -> Result<Vec<AccessGroup>> {
        let none = key.access_group_ids.is_empty() && maker.is_none_or(|maker| maker.access_group_ids.is_empty());
        if none { Ok(Vec::new()) } else { Ok(self.store.access_groups().await?) }
    }
}

/// The aliases of a key that it had before.
fn kept_aliases(before: &Key, key: &Key) -> Aliases {
    let kept = key.aliases.iter().filter(|(name, target)| before.aliases.get(*name) == Some(target));
    kept.map(|(name, target)| (name.clone(), target.clone())).collect()
}

/// A key that has these aliases too; its own stand.
fn with_aliases(key: &Key, more: &Aliases) -> Key {
    let mut key = key.clone();
    for (name, target) in more {
        key.aliases.entry(name.clone()).or_insert_with(|| target.clone());
    }
    key
}

/// What bounds those who receive a key: the key that is called with, and the credential, which says nothing of aliases
/// and has those that are given.
fn parents<'a>(
    actor: &'a Actor,
    caller: Option<&'a Key>,
    groups: &'a [AccessGroup],
    given: &'a Aliases,
) -> impl Iterator<Item = Parent> {
    let of_caller = caller.map(|caller| {
        // An increase for a time is not handed on for good.
        let lasting = Key { temp_budget_increase: None, ..caller.clone() };
        of_key("the calling key", &lasting, groups)
    });
    let of_credential = actor.caller.grant.as_deref().map(|grant| {
        let mut grant = Grant { aliases: given.clone(), ..Grant::from(grant) };
        // What it says of money is in its user's own period.
        let period = actor.user().and_then(|user| user.limits.budget_duration);
        grant.limits.budget_duration = grant.limits.budget_duration.or(period);
        Parent { name: "what your credential allows".to_owned(), grant }
    });
    of_caller.into_iter().chain(of_credential)
}

fn of_key(name: &str, key: &Key, groups: &[AccessGroup]) -> Parent {
    let mut grant = Grant::from(key);
    if !key.access_group_ids.is_empty() {
        grant.models.extend(models_of(groups, &key.access_group_ids));
        nothing_is_not_all(&mut grant.models);
    }
    Parent { name: name.to_owned(), grant }
}

/// A key with access groups and no list is confined to the groups.
fn has_only_groups(key: &Key) -> bool {
    key.models.is_empty() && !key.access_group_ids.is_empty()
}

/// Whether a key has a bound of its own wherever the parent has one.
fn is_bounded_by(key: &Key, parent: &Parent) -> bool {
    let mut bounded = key.clone();
    delegation::inherit(&mut bounded, &parent.grant);
    if has_only_groups(key) {
        bounded.models.clear();
    }
    bounded == *key
}

fn models_of<'a>(groups: &'a [AccessGroup], ids: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let named = groups.iter().filter(|group| ids.iter().any(|id| **id == *group.access_group_id));
    named.flat_map(|group| group.access_model_names.iter().cloned())
}

/// An empty list of a key is every model.
fn nothing_is_not_all(models: &mut Vec<String>) {
    if models.is_empty() {
        models.push("no-default-models".to_owned());
    }
}
