//! Organizations: the outermost tenants. Their limits live in a budget row.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id, random_id};
use super::audit::{Action, Change};
use super::delegation::Parent;
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::domain::{Limits, Organization};

const TABLE: &str = "organizations";

impl Manager {
    pub async fn create_organization(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let id = match attributes.text("organization_id")? {
            Some(id) => id,
            None => random_id()?,
        };
        check_id("organization_id", &id)?;
        if self.store.organization(&id).await?.is_some() {
            return Err(ManageError::bad("organization_id", format!("organization {id:?} exists already")));
        }
        let mut organization = Organization { organization_id: id.into(), created_at: self.now, ..Default::default() };
        if !attributes.sends_value("organization_alias") {
            return Err(ManageError::invalid("organization_alias", "organization_alias is required"));
        }
        let (limits, warnings) = self.change_organization(actor, &mut organization, attributes).await?;
        self.write_organization(actor, None, &organization).await?;
        Ok(render::with_warnings(self.organization_row(&Organization { limits, ..organization }), &warnings))
    }

    pub async fn update_organization(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_organization_once(actor, params.clone())).await
    }

    async fn update_organization_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let before = self.find_organization(&attributes.required("organization_id")?).await?;
        let mut organization = before.clone();
        let (limits, warnings) = self.change_organization(actor, &mut organization, attributes).await?;
        self.write_organization(actor, Some(&before), &organization).await?;
        Ok(render::with_warnings(self.organization_row(&Organization { limits, ..organization }), &warnings))
    }

    pub async fn organization_info(&self, actor: &Actor, id: &str) -> Result<Value> {
        if !self.administers(actor, Some(id)) {
            self.require_viewer(actor)?;
        }
        let organization = self.find_organization(id).await?;
        Ok(Value::Object(self.organization_row(&self.bound_organization(organization).await?)))
    }

    pub async fn list_organizations(&self, actor: &Actor, offset: u64, limit: u64) -> Result<Value> {
        self.require_viewer(actor)?;
        let page = self.store.list_organizations(offset, limit).await?;
        self.organization_rows(page.rows).await
    }

    /// Deletes organizations by `organization_ids`. One that still has teams is refused: they would lose its bounds.
    pub async fn delete_organizations(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let ids = Attributes::new(params).texts("organization_ids")?;
        if ids.is_empty() {
            return Err(ManageError::invalid("organization_ids", "name at least one organization in organization_ids"));
        }
        let mut deleted = Vec::with_capacity(ids.len());
        for id in &ids {
            let organization = self.find_organization(id).await?;
            if let Some(team) = self.team_in(id).await? {
                let message = format!("organization {id:?} still has team {team:?}; move or delete its teams first");
                return Err(ManageError::bad("organization_ids", message));
            }
            deleted.push(organization);
        }
        for organization in &deleted {
            let id = organization.organization_id.to_string();
            let change = Change { action: Action::Deleted, table: TABLE, id, before: Some(organization), after: None };
            self.store.delete_organization(&organization.organization_id, self.audit(actor, change)).await?;
        }
        self.organization_rows(deleted).await
    }

    async fn organization_rows(&self, organizations: Vec<Organization>) -> Result<Value> {
        let mut rows = Vec::with_capacity(organizations.len());
        for organization in organizations {
            rows.push(self.organization_row(&self.bound_organization(organization).await?));
        }
        Ok(json!(rows))
    }

    /// What an organization grants its teams, users and keys; `None` where there is no such organization.
    pub(super) async fn grant_of_organization(&self, id: &str) -> Result<Option<Parent>> {
        let Some(organization) = self.store.organization(id).await? else { return Ok(None) };
        let grant = (&self.bound_organization(organization).await?).into();
        Ok(Some(Parent { name: format!("organization {id:?}"), grant }))
    }

    /// An organization with the limits that bind it.
    async fn bound_organization(&self, organization: Organization) -> Result<Organization> {
        let limits = self.linked(&organization.limits, organization.budget_id.as_deref()).await?;
        Ok(Organization { limits, ..organization })
    }

    async fn team_in(&self, organization: &str) -> Result<Option<String>> {
        const PAGE: u64 = 1_000;
        let mut offset = 0;
        loop {
            let page = self.store.list_teams(offset, PAGE).await?;
            let found = page.rows.iter().find(|team| team.organization_id.as_deref() == Some(organization));
            if let Some(team) = found {
                return Ok(Some(team.team_id.to_string()));
            }
            offset += PAGE;
            if page.rows.is_empty() || offset >= page.total {
                return Ok(None);
            }
        }
    }

    async fn find_organization(&self, id: &str) -> Result<Organization> {
        let missing = || ManageError::not_found("organization_id", "organization", id);
        self.store.organization(id).await?.ok_or_else(missing)
    }

    /// Answers the limits that bind, and warnings.
    async fn change_organization(
        &self,
        actor: &Actor,
        organization: &mut Organization,
        mut attributes: Attributes,
    ) -> Result<(Limits, Vec<String>)> {
        attributes.set_id("organization_alias", &mut organization.organization_alias)?;
        attributes.set("models", &mut organization.models)?;
        attributes.set_object("metadata", &mut organization.metadata)?;
        let (link, own) = (&mut organization.budget_id, &mut organization.limits);
        let limits = self.link_budget(actor, &mut attributes, link, own).await?;
        organization.updated_at = self.now;
        Ok((limits, attributes.finish(&mut Params::new())?))
    }

    async fn write_organization(
        &self,
        actor: &Actor,
        before: Option<&Organization>,
        organization: &Organization,
    ) -> Result<()> {
        let action = if before.is_some() { Action::Updated } else { Action::Created };
        let id = organization.organization_id.to_string();
        let change = Change { action, table: TABLE, id, before, after: Some(organization) };
        Ok(self.store.put_organization(organization, before.is_none(), self.audit(actor, change)).await?)
    }
}
