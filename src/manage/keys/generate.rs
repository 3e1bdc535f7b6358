//! Issuing keys. The secret leaves the house once, in the answer to this call.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::attributes::Attributes;
use super::super::audit::{Action, Change};
use super::super::permissions::{KeyAction, Standing};
use super::super::{Actor, ManageError, Manager, Params, Result, render};
use super::{TABLE, secret, settings};
use crate::domain::{Key, KeyHash, Money, Secret};

/// A key just issued, with the only copy of its secret.
#[derive(Debug)]
pub struct IssuedKey {
    pub key: Key,
    pub secret: Secret,
    /// Names that were sent and mean nothing here.
    pub warnings: Vec<String>,
    /// The row in the answer, without the secret.
    pub(super) row: Params,
}

impl IssuedKey {
    /// The answer of `/key/generate`: the row, and the secret as `key`.
    #[must_use]
    pub fn reveal(mut self) -> Value {
        self.row.insert("key".to_owned(), self.secret.expose().into());
        render::with_warnings(self.row, &self.warnings)
    }
}

impl Manager {
    /// Issues a key with the attributes sent, the configured defaults, and no more than its makers have.
    pub async fn generate_key(&self, actor: &Actor, params: Params) -> Result<IssuedKey> {
        self.issue(actor, params, false).await
    }

    /// Issues a key that belongs to a team and to no user; `team_id` is required.
    pub async fn generate_service_account(&self, actor: &Actor, params: Params) -> Result<IssuedKey> {
        self.issue(actor, params, true).await
    }

    async fn issue(&self, actor: &Actor, params: Params, service_account: bool) -> Result<IssuedKey> {
        let chosen = Attributes::new(params.clone());
        settings::check_chosen(&chosen, actor)?;
        let mut attributes = Attributes::new(self.with_defaults(params));
        let custom = attributes.text("key")?;
        let alias = attributes.text("key_alias")?;
        let spend: Option<Money> = attributes.optional("spend")?;
        self.check_spend(actor, spend).await?;

        let mut key = Key::new(KeyHash::of(""), self.now);
        Self::set_owners(&mut attributes, &mut key)?;
        if service_account {
            attributes_for_service_account(&mut key, alias.as_deref())?;
        } else if key.user_id.is_none() {
            key.user_id = actor.user_id().cloned();
        }
        settings::apply(&mut attributes, &mut key, self.now)?;
        let owners = self.owners(&key).await?;
        let standing = self.authorize_key(actor, &key, KeyAction::Generate).await?;
        self.check_owner(actor, standing, &key, &owners)?;
        Self::check_role(actor, &owners)?;
        self.check_acts_as(actor, &key, &owners).await?;
        self.check_ceilings(&mut key, true)?;
        // Those of the configuration are no choice of the caller's.
        let given = if chosen.sends_value("aliases") { BTreeMap::new() } else { key.aliases.clone() };
        self.check_calling_key(actor, &given, &mut key).await?;
        self.check_grants(actor, &[], &key, &owners).await?;
        if let Some(alias) = &alias {
            self.check_alias(alias, None).await?;
        }
        key.key_alias = alias.map(Into::into);
        let warnings = attributes.finish(&mut key.extra)?;

        let secret = self.choose_secret("key", custom).await?;
        key.token = KeyHash::of(secret.expose());
        key.first_token = key.token;
        key.key_name = Some(secret::display(&secret));
        key.created_by = Some(actor.name());
        key.updated_by = Some(actor.name());
        let change = Change {
            action: Action::Created,
            table: TABLE,
            id: key.token.to_string(),
            before: None,
            after: Some(&key),
        };
        self.store.create_key(&key, self.audit(actor, change)).await?;
        if let Some(spend) = spend.filter(|spend| !spend.is_zero()) {
            match self.adjuster.adjust(key.scope(), spend).await {
                Ok(()) => key.spend = spend,
                Err(error) => {
                    self.take_back(actor, &key).await?;
                    return Err(error.into());
                }
            }
        }
        let row = self.issued_row(&key);
        Ok(IssuedKey { key, secret, warnings, row })
    }

    /// Deletes a key whose secret nobody has seen.
    async fn take_back(&self, actor: &Actor, key: &Key) -> Result<()> {
        let id = key.token.to_string();
        let change = Change { action: Action::Deleted, table: TABLE, id, before: Some(key), after: None };
        Ok(self.store.delete_key(&key.token, self.audit(actor, change)).await?)
    }

    /// Writes what an update or a rotation sends to `key`, which starts as a copy of `before`; answers warnings.
    pub(super) async fn change_key(
        &self,
        actor: &Actor,
        standing: Standing,
        before: &Key,
        key: &mut Key,
        mut attributes: Attributes,
    ) -> Result<Vec<String>> {
        if attributes.sends("key_alias") {
            let alias = attributes.text("key_alias")?;
            if let Some(alias) = &alias {
                self.check_alias(alias, Some(before.token)).await?;
            }
            key.key_alias = alias.map(Into::into);
        }
        Self::set_owners(&mut attributes, key)?;
        settings::apply(&mut attributes, key, self.now)?;
        let warnings = attributes.finish(&mut key.extra)?;
        settings::check_changed(before, key, actor)?;
        self.check_block(standing, before.blocked, key.blocked)?;
        let owners = self.owners(key).await?;
        let moved = (&before.user_id, &before.team_id, &before.organization_id, &before.project_id)
            != (&key.user_id, &key.team_id, &key.organization_id, &key.project_id);
        if moved && !actor.is_admin() {
            let there = self.authorize_key(actor, key, KeyAction::Generate).await?;
            self.check_owner(actor, standing.min(there), key, &owners)?;
        }
        if before.user_id != key.user_id {
            Self::check_role(actor, &owners)?;
        }
        // Who holds its secret may be another than its user.
        if before.user_id != key.user_id || before.allowed_routes != key.allowed_routes {
            self.check_acts_as(actor, key, &owners).await?;
        }
        self.check_change(actor, standing, before, key).await?;
        self.check_ceilings(key, false)?;
        let had = if moved { &[][..] } else { &before.access_group_ids };
        self.check_grants(actor, had, key, &owners).await?;
        key.updated_at = self.now;
        key.updated_by = Some(actor.name());
        Ok(warnings)
    }
}

fn attributes_for_service_account(key: &mut Key, alias: Option<&str>) -> Result<()> {
    if key.team_id.is_none() {
        return Err(ManageError::bad("team_id", "a service account needs a team_id"));
    }
    key.user_id = None;
    let name = alias.map_or_else(super::super::attributes::random_id, |alias| Ok(alias.to_owned()))?;
    key.metadata = BTreeMap::from([("service_account_id".to_owned(), Value::String(name))]).into_iter().collect();
    Ok(())
}
