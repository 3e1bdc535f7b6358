//! Claims of tokens that stand for keys: who shows such a token is treated as the key in every way. Only
//! the role of an administrator changes them: with the route alone, a caller could make its own claim stand for any key.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id, random_id};
use super::audit::{Action, Change};
use super::keys::Paging;
use super::{Actor, KeyName, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::domain::KeyMapping;

const TABLE: &str = "jwt_key_mappings";

impl Manager {
    pub async fn create_key_mapping(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_role_of_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let key = self.find_key(&KeyName::new(attributes.required("key")?)).await?;
        let mut mapping = KeyMapping {
            id: random_id()?,
            jwt_issuer: String::new(),
            jwt_claim_name: String::new(),
            jwt_claim_value: String::new(),
            token: key.token,
            description: None,
            is_active: true,
            created_at: self.now,
            updated_at: self.now,
        };
        for name in ["jwt_claim_name", "jwt_claim_value"] {
            if !attributes.sends_value(name) {
                return Err(ManageError::invalid(name, format!("{name} is required")));
            }
        }
        let warnings = change(&mut mapping, attributes)?;
        self.write_key_mapping(actor, None, &mapping).await?;
        Ok(render::with_warnings(row(&mapping), &warnings))
    }

    /// Changes what is sent of the mapping that `id` names.
    pub async fn update_key_mapping(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_key_mapping_once(actor, params.clone())).await
    }

    async fn update_key_mapping_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_role_of_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let before = self.find_key_mapping(&attributes.required("id")?).await?;
        let mut mapping = KeyMapping { updated_at: self.now, ..before.clone() };
        if let Some(key) = attributes.text("key")? {
            mapping.token = self.find_key(&KeyName::new(key)).await?.token;
        }
        let warnings = change(&mut mapping, attributes)?;
        self.write_key_mapping(actor, Some(&before), &mapping).await?;
        Ok(render::with_warnings(row(&mapping), &warnings))
    }

    pub async fn key_mapping_info(&self, actor: &Actor, id: &str) -> Result<Value> {
        self.require_viewer(actor)?;
        Ok(Value::Object(row(&self.find_key_mapping(id).await?)))
    }

    /// One page by `page` and `size`.
    pub async fn page_of_key_mappings(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_viewer(actor)?;
        let paging = Paging::take(&mut Attributes::new(params), "size", 50)?;
        let page = self.store.list_key_mappings(paging.offset(), paging.size).await?;
        let rows: Vec<_> = page.rows.iter().map(row).collect();
        Ok(paging.describe(json!({"mappings": rows, "total": page.total})))
    }

    pub async fn delete_key_mapping(&self, actor: &Actor, id: &str) -> Result<Value> {
        self.require_role_of_admin(actor)?;
        let mapping = self.find_key_mapping(id).await?;
        let change =
            Change { action: Action::Deleted, table: TABLE, id: id.to_owned(), before: Some(&mapping), after: None };
        self.store.delete_key_mapping(id, self.audit(actor, change)).await?;
        Ok(Value::Object(row(&mapping)))
    }

    async fn find_key_mapping(&self, id: &str) -> Result<KeyMapping> {
        self.store.key_mapping_by_id(id).await?.ok_or_else(|| ManageError::not_found("id", "key mapping", id))
    }

    /// One claim stands for one key.
    async fn write_key_mapping(&self, actor: &Actor, before: Option<&KeyMapping>, mapping: &KeyMapping) -> Result<()> {
        let KeyMapping { jwt_issuer, jwt_claim_name, jwt_claim_value, .. } = mapping;
        let same = self.store.key_mapping(jwt_issuer, jwt_claim_name, jwt_claim_value).await?;
        if same.is_some_and(|same| same.id != mapping.id) {
            let message = format!("{jwt_claim_name} {jwt_claim_value:?} of this issuer stands for a key already");
            return Err(ManageError::bad("jwt_claim_value", message));
        }
        let action = if before.is_some() { Action::Updated } else { Action::Created };
        let change = Change { action, table: TABLE, id: mapping.id.clone(), before, after: Some(mapping) };
        Ok(self.store.put_key_mapping(mapping, None, before.is_none(), self.audit(actor, change)).await?)
    }
}

fn change(mapping: &mut KeyMapping, mut attributes: Attributes) -> Result<Vec<String>> {
    attributes.set("jwt_issuer", &mut mapping.jwt_issuer)?;
    for (name, place) in
        [("jwt_claim_name", &mut mapping.jwt_claim_name), ("jwt_claim_value", &mut mapping.jwt_claim_value)]
    {
        if let Some(sent) = attributes.take::<String>(name)? {
            *place = sent.unwrap_or_default();
            check_id(name, place)?;
        }
    }
    if !mapping.jwt_issuer.is_empty() {
        check_id("jwt_issuer", &mapping.jwt_issuer)?;
    }
    attributes.set_id("description", &mut mapping.description)?;
    if let Some(is_active) = attributes.optional("is_active")? {
        mapping.is_active = is_active;
    }
    attributes.finish(&mut Params::new())
}

/// The row; an issuer that is any is null.
fn row(mapping: &KeyMapping) -> Params {
    let KeyMapping { id, jwt_issuer, jwt_claim_name, jwt_claim_value, .. } = mapping;
    let fields = [
        ("id", json!(id)),
        ("jwt_issuer", json!((!jwt_issuer.is_empty()).then_some(jwt_issuer))),
        ("jwt_claim_name", json!(jwt_claim_name)),
        ("jwt_claim_value", json!(jwt_claim_value)),
        ("token", json!(mapping.token)),
        ("description", json!(mapping.description)),
        ("is_active", json!(mapping.is_active)),
        ("created_at", json!(mapping.created_at)),
        ("updated_at", json!(mapping.updated_at)),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
