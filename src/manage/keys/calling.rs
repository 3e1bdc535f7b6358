//! What a caller hands on by a key: no higher role, and no more models and limits than the key or credential it calls
//! with has.

use super::super::delegation::{self, Grant, Parent};
use super::super::{Actor, ManageError, Manager, Result};
use super::ownership::Owners;
use crate::domain::{AccessGroup, Key};

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

    /// A key made with a key or a narrowed credential gets no more than that has, and what it leaves unset from it.
    pub(super) async fn check_calling_key(&self, actor: &Actor, key: &mut Key) -> Result<()> {
        if actor.is_admin() {
            return Ok(());
        }
        let maker = actor.key();
        let groups = self.groups_among(key, maker).await?;
        if let Some(maker) = maker.filter(|maker| maker.models.is_empty() && key.models.is_empty())
            && key.access_group_ids.is_empty()
        {
            key.access_group_ids.clone_from(&maker.access_group_ids);
        }
        for parent in of_key(maker, &groups).into_iter().chain(of_credential(actor)) {
            // A key with access groups and no list is confined to the groups.
            let only_groups = key.models.is_empty() && !key.access_group_ids.is_empty();
            delegation::inherit(key, &parent.grant);
            if only_groups {
                key.models.clear();
            }
            self.check_parent(key, &groups, &parent)?;
        }
        Ok(())
    }

    /// Whoever rotates a key receives it: a key rotates itself and none that has more, a narrowed credential none that
    /// has more than it allows, and nobody one of a higher role.
    pub(super) async fn check_rotated(&self, actor: &Actor, before: &Key, key: &Key) -> Result<()> {
        if actor.is_admin() {
            return Ok(());
        }
        Self::check_role(actor, &self.owners(key).await?)?;
        let caller = actor.key().filter(|caller| caller.token != before.token);
        let groups = self.groups_among(key, caller).await?;
        let mut whole = key.clone();
        if let Some(id) = &key.budget_id
            && let Some(budget) = self.store.budget(id).await?
        {
            whole.limits = whole.limits.or(&budget.limits);
        }
        for parent in of_key(caller, &groups).into_iter().chain(of_credential(actor)) {
            let mut bounded = whole.clone();
            delegation::inherit(&mut bounded, &parent.grant);
            if whole.models.is_empty() && !whole.access_group_ids.is_empty() {
                bounded.models.clear();
            }
            if bounded != whole {
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

    /// The access groups of the directory, where one of the keys has any.
    async fn groups_among(&self, key: &Key, maker: Option<&Key>) -> Result<Vec<AccessGroup>> {
        let none = key.access_group_ids.is_empty() && maker.is_none_or(|maker| maker.access_group_ids.is_empty());
        if none { Ok(Vec::new()) } else { Ok(self.store.access_groups().await?) }
    }
}

fn of_key(key: Option<&Key>, groups: &[AccessGroup]) -> Option<Parent> {
    let key = key?;
    let mut grant = Grant::from(key);
    if !key.access_group_ids.is_empty() {
        grant.models.extend(models_of(groups, &key.access_group_ids));
        nothing_is_not_all(&mut grant.models);
    }
    Some(Parent { name: "the calling key".to_owned(), grant })
}

fn of_credential(actor: &Actor) -> Option<Parent> {
    let grant = actor.caller.grant.as_deref()?;
    Some(Parent { name: "what your credential allows".to_owned(), grant: grant.into() })
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
