//! Virtual keys: read, list, update, delete, block. Issuing them is [`generate`], changing their secret [`regenerate`].

mod calling;
mod generate;
mod list;
mod ownership;
mod regenerate;
mod secret;
mod settings;

use serde_json::{Value, json};

pub use generate::IssuedKey;
pub(super) use list::Paging;
pub(super) use settings::check_chosen;

use super::attributes::Attributes;
use super::audit::{Action, Change};
use super::permissions::KeyAction;
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows};
use crate::domain::{Key, KeyHash, Money, Secret};

pub(super) const TABLE: &str = "keys";
/// The most keys one call names.
const BATCH_LIMIT: usize = 1_000;

/// How a request names a key: its secret, its hash, or its alias.
#[derive(Clone, Debug)]
pub struct KeyName(Secret);

impl KeyName {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        KeyName(Secret::new(text))
    }

    fn hash(&self) -> Option<KeyHash> {
        let text = self.0.expose();
        if text.starts_with("sk-") { Some(KeyHash::of(text)) } else { text.parse().ok() }
    }

    /// What may be shown: an alias or a hash as it is, a secret masked.
    #[must_use]
    pub fn shown(&self) -> String {
        let text = self.0.expose();
        if text.starts_with("sk-") { Secret::masked(text) } else { text.chars().take(255).collect() }
    }
}

impl Manager {
    pub(super) async fn find_key(&self, name: &KeyName) -> Result<Key> {
        let found = match name.hash() {
            Some(hash) => self.store.key(&hash).await?,
            None => self.store.key_by_alias(name.0.expose()).await?,
        };
        found.ok_or_else(|| ManageError::not_found("key", "key", &name.shown()))
    }

    /// One key, without its hash in `info`. `None` is the calling key itself.
    pub async fn key_info(&self, actor: &Actor, name: Option<&KeyName>) -> Result<Value> {
        let (shown, key) = match (name, actor.key_hash()) {
            (Some(name), _) => (name.shown(), self.find_key(name).await?),
            (None, Some(own)) => {
                let key = self.store.key(&own).await?;
                (own.to_string(), key.ok_or_else(|| ManageError::not_found("key", "key", &own.to_string()))?)
            }
            (None, None) => return Err(ManageError::invalid("key", "name a key: the caller is not a virtual key")),
        };
        self.authorize_key(actor, &key, KeyAction::Info).await?;
        Ok(json!({"key": shown, "info": self.key_details(&key).await?}))
    }

    /// The keys named in `keys`; unknown ones are left out.
    pub async fn keys_info(&self, actor: &Actor, params: Params) -> Result<Value> {
        let names = Attributes::new(params).texts("keys")?;
        if names.len() > BATCH_LIMIT {
            return Err(ManageError::invalid("keys", format!("one call names at most {BATCH_LIMIT} keys")));
        }
        let (mut shown, mut rows) = (Vec::with_capacity(names.len()), Vec::with_capacity(names.len()));
        for name in names.into_iter().map(KeyName::new) {
            match self.find_key(&name).await {
                Ok(key) => {
                    self.authorize_key(actor, &key, KeyAction::Info).await?;
                    shown.push(name.shown());
                    rows.push(Value::Object(self.key_row(&key)));
                }
                Err(error) if error.status == 404 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(json!({"key": shown, "info": rows}))
    }

    /// Changes what is sent and nothing else. Names the key by `key` or `key_alias`.
    pub async fn update_key(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_key_once(actor, params.clone())).await
    }

    async fn update_key_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let name = match attributes.text("key")? {
            Some(name) => KeyName::new(name),
            None => KeyName::new(attributes.required("key_alias")?),
        };
        let before = self.find_key(&name).await?;
        let standing = self.authorize_key(actor, &before, KeyAction::Update).await?;
        let spend: Option<Money> = attributes.optional("spend")?;
        self.check_spend(actor, spend).await?;
        let mut key = before.clone();
        let warnings = self.change_key(actor, standing, &before, &mut key, attributes).await?;
        let change = Change {
            action: Action::Updated,
            table: TABLE,
            id: key.token.to_string(),
            before: Some(&before),
            after: Some(&key),
        };
        self.store.update_key(&key, self.audit(actor, change)).await?;
        if let Some(spend) = spend {
            self.adjuster.adjust(key.scope(), spend).await?;
            key.spend = spend;
        }
        let mut row = self.key_row(&key);
        row.insert("key".to_owned(), name.shown().into());
        Ok(super::render::with_warnings(row, &warnings))
    }

    /// Only admins set spend, never below zero, and only while it can be booked.
    async fn check_spend(&self, actor: &Actor, spend: Option<Money>) -> Result<()> {
        super::attributes::not_negative("spend", spend)?;
        if spend.is_none() {
            return Ok(());
        }
        self.require_role_of_admin(actor)?;
        self.adjuster.ready().await
    }

    /// Deletes keys by `keys` (secrets or hashes) and `key_aliases`. All are found and allowed before the first goes.
    pub async fn delete_keys(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let keys = attributes.texts("keys")?;
        let aliases = attributes.texts("key_aliases")?;
        if keys.is_empty() && aliases.is_empty() {
            return Err(ManageError::invalid("keys", "name at least one key in keys or key_aliases"));
        }
        if keys.len().saturating_add(aliases.len()) > BATCH_LIMIT {
            return Err(ManageError::invalid("keys", format!("one call deletes at most {BATCH_LIMIT} keys")));
        }
        let mut found: Vec<Key> = Vec::with_capacity(keys.len());
        for name in keys.iter().chain(&aliases) {
            let key = self.find_key(&KeyName::new(name.as_str())).await?;
            self.authorize_key(actor, &key, KeyAction::Delete).await?;
            if !found.iter().any(|other| other.token == key.token) {
                found.push(key);
            }
        }
        for key in &found {
            let id = key.token.to_string();
            let change = Change { action: Action::Deleted, table: TABLE, id, before: Some(key), after: None };
            self.store.delete_key(&key.token, self.audit(actor, change)).await?;
        }
        let deleted: Vec<String> = keys.into_iter().chain(aliases).collect();
        Ok(json!({"deleted_keys": deleted}))
    }

    /// Sets what a key has spent to `reset_to`: no more than it has spent, and no more than its budget.
    pub async fn reset_spend(&self, actor: &Actor, name: &KeyName, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.reset_spend_once(actor, name, params.clone())).await
    }

    async fn reset_spend_once(&self, actor: &Actor, name: &KeyName, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let to: Option<Money> = Attributes::new(params).optional("reset_to")?;
        let to = to.ok_or_else(|| ManageError::invalid("reset_to", "reset_to is required"))?;
        super::attributes::not_negative("reset_to", Some(to))?;
        let before = self.find_key(name).await?;
        let bounds = [("spent", Some(before.spend)), ("a budget of", before.limits.max_budget)];
        for (what, bound) in bounds {
            if let Some(bound) = bound.filter(|bound| to > *bound) {
                let message = format!("reset_to {to} is more than this key has: {what} {bound}");
                return Err(ManageError::bad("reset_to", message));
            }
        }
        self.adjuster.ready().await?;
        let mut key = before.clone();
        key.updated_at = self.now;
        key.updated_by = Some(actor.name());
        let id = key.token.to_string();
        let after = Key { spend: to, ..key.clone() };
        let change = Change { action: Action::Updated, table: TABLE, id, before: Some(&before), after: Some(&after) };
        self.store.update_key(&key, self.audit(actor, change)).await?;
        self.adjuster.adjust(key.scope(), to).await?;
        let mut row = self.key_row(&after);
        row.insert("key".to_owned(), name.shown().into());
        row.insert("key_hash".to_owned(), before.token.to_string().into());
        row.insert("previous_spend".to_owned(), json!(before.spend));
        Ok(Value::Object(row))
    }

    /// Blocks or unblocks a key.
    pub async fn block_key(&self, actor: &Actor, name: &KeyName, blocked: bool) -> Result<Value> {
        on_fresh_rows(|| self.block_key_once(actor, name, blocked)).await
    }

    async fn block_key_once(&self, actor: &Actor, name: &KeyName, blocked: bool) -> Result<Value> {
        let before = self.find_key(name).await?;
        self.authorize_key(actor, &before, KeyAction::Block).await?;
        let mut key = before.clone();
        key.blocked = blocked;
        key.updated_at = self.now;
        key.updated_by = Some(actor.name());
        let action = Action::blocking(blocked);
        let change =
            Change { action, table: TABLE, id: key.token.to_string(), before: Some(&before), after: Some(&key) };
        self.store.update_key(&key, self.audit(actor, change)).await?;
        Ok(Value::Object(self.key_row(&key)))
    }
}
