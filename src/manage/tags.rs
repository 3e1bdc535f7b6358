//! Tags with limits. Requests may carry any tag; only those made here carry limits.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id};
use super::audit::{Action, Change};
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::domain::Tag;

const TABLE: &str = "tags";

impl Manager {
    pub async fn create_tag(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let name = attributes.required("name")?;
        check_id("name", &name)?;
        if self.store.tag_row(&name).await?.is_some() {
            return Err(ManageError::bad("name", format!("tag {name:?} exists already")));
        }
        let tag = Tag { tag_name: name.into(), ..Tag::default() };
        self.change_tag(actor, None, tag, attributes).await
    }

    pub async fn update_tag(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_tag_once(actor, params.clone())).await
    }

    async fn update_tag_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let name = attributes.required("name")?;
        let before = self.store.tag_row(&name).await?.ok_or_else(|| ManageError::not_found("name", "tag", &name))?;
        self.change_tag(actor, Some(&before), before.clone(), attributes).await
    }

    pub async fn list_tags(&self, actor: &Actor) -> Result<Value> {
        self.require_viewer(actor)?;
        let tags = self.store.tags().await?;
        Ok(json!(tags.iter().map(|tag| self.tag_row(tag)).collect::<Vec<_>>()))
    }

    async fn change_tag(
        &self,
        actor: &Actor,
        before: Option<&Tag>,
        mut tag: Tag,
        mut attributes: Attributes,
    ) -> Result<Value> {
        attributes.set_id("description", &mut tag.description)?;
        attributes.set("models", &mut tag.models)?;
        let limits = self.link_budget(actor, &mut attributes, &mut tag.budget_id, &mut tag.limits).await?;
        let warnings = attributes.finish(&mut Params::new())?;
        let action = if before.is_some() { Action::Updated } else { Action::Created };
        let change = Change { action, table: TABLE, id: tag.tag_name.to_string(), before, after: Some(&tag) };
        self.store.put_tag(&tag, before.is_none(), self.audit(actor, change)).await?;
        Ok(render::with_warnings(self.tag_row(&Tag { limits, ..tag }), &warnings))
    }
}
