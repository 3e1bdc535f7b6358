//! End users (customers): people behind a caller, named in requests. Their limits live in a budget row.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id};
use super::audit::{Action, Change};
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::domain::{EndUser, Limits};

const TABLE: &str = "end_users";

impl Manager {
    pub async fn create_end_user(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let id = attributes.required("user_id")?;
        check_id("user_id", &id)?;
        if self.store.end_user(&id).await?.is_some() {
            return Err(ManageError::bad("user_id", format!("customer {id:?} exists already")));
        }
        let mut end_user = EndUser { user_id: id.into(), ..EndUser::default() };
        let (limits, warnings) = self.change_end_user(actor, &mut end_user, attributes).await?;
        self.write_end_user(actor, None, &end_user, Action::Created).await?;
        Ok(render::with_warnings(self.end_user_row(&EndUser { limits, ..end_user }), &warnings))
    }

    pub async fn update_end_user(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_end_user_once(actor, params.clone())).await
    }

    async fn update_end_user_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let id = attributes.required("user_id")?;
        let before = self.store.end_user_row(&id).await?.ok_or_else(|| missing(&id))?;
        let mut end_user = before.clone();
        let (limits, warnings) = self.change_end_user(actor, &mut end_user, attributes).await?;
        self.write_end_user(actor, Some(&before), &end_user, Action::Updated).await?;
        Ok(render::with_warnings(self.end_user_row(&EndUser { limits, ..end_user }), &warnings))
    }

    pub async fn end_user_info(&self, actor: &Actor, id: &str) -> Result<Value> {
        self.require_viewer(actor)?;
        let end_user = self.store.end_user(id).await?.ok_or_else(|| missing(id))?;
        Ok(Value::Object(self.end_user_row(&end_user)))
    }

    /// Blocks or unblocks the customers in `user_ids`. Blocking one nobody has seen yet creates it, blocked.
    pub async fn block_end_users(&self, actor: &Actor, params: Params, blocked: bool) -> Result<Value> {
        self.require_admin(actor)?;
        let ids = Attributes::new(params).texts("user_ids")?;
        if ids.is_empty() {
            return Err(ManageError::invalid("user_ids", "name at least one customer in user_ids"));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in &ids {
            check_id("user_id", id)?;
            rows.push(on_fresh_rows(|| self.block_end_user(actor, id, blocked)).await?);
        }
        Ok(json!({"blocked_users": rows}))
    }

    async fn block_end_user(&self, actor: &Actor, id: &str, blocked: bool) -> Result<Params> {
        let before = self.store.end_user_row(id).await?;
        if before.is_none() && !blocked {
            return Err(ManageError::not_found("user_ids", "customer", id));
        }
        let base = before.clone().unwrap_or_else(|| EndUser { user_id: id.into(), ..EndUser::default() });
        let end_user = EndUser { blocked, ..base };
        self.write_end_user(actor, before.as_ref(), &end_user, Action::blocking(blocked)).await?;
        let limits = self.linked(&end_user.limits, end_user.budget_id.as_deref()).await?;
        Ok(self.end_user_row(&EndUser { limits, ..end_user }))
    }

    /// Answers the limits that bind, and warnings.
    async fn change_end_user(
        &self,
        actor: &Actor,
        end_user: &mut EndUser,
        mut attributes: Attributes,
    ) -> Result<(Limits, Vec<String>)> {
        attributes.set_id("alias", &mut end_user.alias)?;
        attributes.set("blocked", &mut end_user.blocked)?;
        attributes.set("models", &mut end_user.models)?;
        attributes.set_object("metadata", &mut end_user.metadata)?;
        let (link, own) = (&mut end_user.budget_id, &mut end_user.limits);
        let limits = self.link_budget(actor, &mut attributes, link, own).await?;
        // The row has no place of its own for what is only kept; it goes with the metadata.
        Ok((limits, attributes.finish(&mut end_user.metadata)?))
    }

    async fn write_end_user(
        &self,
        actor: &Actor,
        before: Option<&EndUser>,
        end_user: &EndUser,
        action: Action,
    ) -> Result<()> {
        let change = Change { action, table: TABLE, id: end_user.user_id.to_string(), before, after: Some(end_user) };
        Ok(self.store.put_end_user(end_user, before.is_none(), self.audit(actor, change)).await?)
    }
}

fn missing(id: &str) -> ManageError {
    ManageError::not_found("user_id", "customer", id)
}
