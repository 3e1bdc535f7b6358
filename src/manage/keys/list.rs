//! Listing keys: admins see all, others their own and those of teams they administer.

use serde_json::{Value, json};

use super::super::attributes::Attributes;
use super::super::permissions::Standing;
use super::super::{Actor, ManageError, Manager, Params, Result};
use super::KeyName;
use crate::directory::{KeyFilter, Page};
use crate::domain::Key;

/// The largest page.
const PAGE_LIMIT: u64 = 100;

/// A page of a list, counted from 1.
#[derive(Clone, Copy)]
pub(in crate::manage) struct Paging {
    pub page: u64,
    pub size: u64,
}

impl Paging {
    /// Reads `page` and `size` (or the name the list uses), default 1 and `default`.
    pub(in crate::manage) fn take(attributes: &mut Attributes, size: &'static str, default: u64) -> Result<Paging> {
        let page = attributes.optional("page")?.unwrap_or(1);
        let rows = attributes.optional(size)?.unwrap_or(default);
        if page == 0 {
            return Err(ManageError::invalid("page", "pages count from 1"));
        }
        if !(1..=PAGE_LIMIT).contains(&rows) {
            return Err(ManageError::invalid(size, format!("{size} must be 1 to {PAGE_LIMIT}")));
        }
        Ok(Paging { page, size: rows })
    }

    pub(in crate::manage) fn offset(&self) -> u64 {
        (self.page - 1).saturating_mul(self.size)
    }

    /// Adds which page this is to a list with its `total`.
    pub(in crate::manage) fn describe(self, mut list: Value) -> Value {
        let total = list["total"].as_u64().unwrap_or_default();
        if let Some(fields) = list.as_object_mut() {
            fields.insert("page".to_owned(), self.page.into());
            fields.insert("page_size".to_owned(), self.size.into());
            fields.insert("total_pages".to_owned(), self.pages(total).into());
        }
        list
    }

    pub(in crate::manage) fn pages(&self, total: u64) -> u64 {
        total.div_ceil(self.size)
    }
}

impl Manager {
    /// One page of keys: hashes, or rows with `return_full_object`.
    pub async fn list_keys(&self, actor: &Actor, params: Params) -> Result<Value> {
        let mut attributes = Attributes::new(params);
        let full = attributes.optional("return_full_object")?.unwrap_or(false);
        let (found, paging) = self.page_of_keys(actor, attributes).await?;
        let keys: Vec<Value> = found
            .rows
            .iter()
            .map(|key| if full { Value::Object(self.listed_row(key)) } else { key.token.to_string().into() })
            .collect();
        Ok(json!({
            "keys": keys,
            "total_count": found.total,
            "current_page": paging.page,
            "total_pages": paging.pages(found.total),
        }))
    }

    /// The aliases on one page of keys; keys without one show nothing.
    pub async fn key_aliases(&self, actor: &Actor, params: Params) -> Result<Value> {
        let (found, paging) = self.page_of_keys(actor, Attributes::new(params)).await?;
        let aliases: Vec<&str> = found.rows.iter().filter_map(|key| key.key_alias.as_deref()).collect();
        Ok(json!({
            "aliases": aliases,
            "total_count": found.total,
            "current_page": paging.page,
            "size": paging.size,
            "total_pages": paging.pages(found.total),
        }))
    }

    async fn page_of_keys(&self, actor: &Actor, mut attributes: Attributes) -> Result<(Page<Key>, Paging)> {
        let paging = Paging::take(&mut attributes, "size", 10)?;
        let mut filter = KeyFilter {
            user_id: attributes.text("user_id")?,
            team_id: attributes.text("team_id")?,
            organization_id: attributes.text("organization_id")?,
            project_id: attributes.text("project_id")?,
            key_alias: attributes.text("key_alias")?,
            token: None,
            first_token: None,
            decides: false,
            offset: paging.offset(),
            limit: paging.size,
        };
        if let Some(name) = attributes.text("key_hash")? {
            let hash = KeyName::new(name).hash();
            filter.token = Some(hash.ok_or_else(|| ManageError::invalid("key_hash", "not the hash of a key"))?);
        }
        self.restrict(actor, &mut filter).await?;
        Ok((self.store.list_keys(&filter).await?, paging))
    }

    /// Bounds a filter to what the actor may see.
    async fn restrict(&self, actor: &Actor, filter: &mut KeyFilter) -> Result<()> {
        if actor.sees_everything() || self.administers(actor, filter.organization_id.as_deref()) {
            return Ok(());
        }
        if let Some(id) = &filter.team_id
            && let Some(team) = self.store.team(id).await?
            && self.standing_in(actor, &team).await? >= Standing::TeamAdmin
        {
            return Ok(());
        }
        match actor.user_id() {
            Some(own) if filter.user_id.as_deref().is_none_or(|asked| asked == &**own) => {
                filter.user_id = Some(own.to_string());
                Ok(())
            }
            _ => Err(ManageError::forbidden("you may list only your own keys and those of teams you administer")),
        }
    }
}
