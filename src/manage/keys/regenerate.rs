//! A new secret for an old key: same row, new hash. The old secret dies at once, or after a grace period.

use super::super::attributes::Attributes;
use super::super::audit::{Action, Change};
use super::super::permissions::KeyAction;
use super::super::{Actor, Manager, Params, Result, on_fresh_rows};
use super::{IssuedKey, KeyName, TABLE, secret};
use crate::domain::{BudgetDuration, KeyHash, Secret};

impl Manager {
    /// Issues a new secret for a key, with `new_key`, `grace_period` and any attribute of an update. `None` takes the
    /// key's name from `key` in the request.
    pub async fn regenerate_key(&self, actor: &Actor, name: Option<&KeyName>, params: Params) -> Result<IssuedKey> {
        on_fresh_rows(|| self.regenerate_once(actor, name, params.clone())).await
    }

    async fn regenerate_once(&self, actor: &Actor, name: Option<&KeyName>, params: Params) -> Result<IssuedKey> {
        let mut attributes = Attributes::new(params);
        let sent = attributes.text("key")?.map(KeyName::new);
        let name = match (name.cloned(), sent) {
            (Some(name), _) | (None, Some(name)) => name,
            (None, None) => KeyName::new(attributes.required("key")?),
        };
        let custom = attributes.text("new_key")?;
        let grace: Option<BudgetDuration> = match attributes.text("grace_period")?.as_deref() {
            None | Some("0" | "0s") => None,
            Some(text) => {
                Some(text.parse().map_err(|error| super::super::ManageError::bad("grace_period", format!("{error}")))?)
            }
        };
        let before = self.find_key(&name).await?;
        let standing = self.authorize_key(actor, &before, KeyAction::Regenerate).await?;
        let mut key = before.clone();
        let warnings = self.change_key(actor, standing, &before, &mut key, attributes).await?;
        self.check_rotated(actor, &before, &key).await?;

        let secret: Secret = self.choose_secret("new_key", custom).await?;
        key.token = KeyHash::of(secret.expose());
        key.key_name = Some(secret::display(&secret));
        key.rotation_count = key.rotation_count.saturating_add(1);
        let revoke_at = grace.map(|grace| grace.after(self.now));
        let id = before.token.to_string();
        let change = Change { action: Action::Rotated, table: TABLE, id, before: Some(&before), after: Some(&key) };
        self.store.rotate_key(&before.token, &key, revoke_at, self.audit(actor, change)).await?;
        let row = self.issued_row(&key);
        Ok(IssuedKey { key, secret, warnings, row })
    }
}
