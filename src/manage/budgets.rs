//! Budget rows: limits that organizations, members, keys, end users and tags refer to by id.

use serde_json::{Value, json};

use super::attributes::{Attributes, check_id, random_id};
use super::audit::{Action, Change};
use super::{Actor, ManageError, Manager, Params, Result, on_fresh_rows, render};
use crate::domain::{Budget, Limits};

const TABLE: &str = "budgets";

impl Manager {
    pub async fn create_budget(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let budget_id = match attributes.text("budget_id")? {
            Some(id) => id,
            None => random_id()?,
        };
        check_id("budget_id", &budget_id)?;
        if self.store.budget(&budget_id).await?.is_some() {
            return Err(ManageError::bad("budget_id", format!("budget {budget_id:?} exists already")));
        }
        let mut budget = Budget { budget_id, created_at: self.now, updated_at: self.now, ..Budget::default() };
        let warnings = change(&mut budget, attributes)?;
        self.write_budget(actor, None, &budget).await?;
        Ok(render::with_warnings(self.budget_row(&budget), &warnings))
    }

    pub async fn update_budget(&self, actor: &Actor, params: Params) -> Result<Value> {
        on_fresh_rows(|| self.update_budget_once(actor, params.clone())).await
    }

    async fn update_budget_once(&self, actor: &Actor, params: Params) -> Result<Value> {
        self.require_admin(actor)?;
        let mut attributes = Attributes::new(params);
        let before = self.find_budget(&attributes.required("budget_id")?).await?;
        let mut budget = Budget { updated_at: self.now, ..before.clone() };
        let warnings = change(&mut budget, attributes)?;
        self.write_budget(actor, Some(&before), &budget).await?;
        Ok(render::with_warnings(self.budget_row(&budget), &warnings))
    }

    /// The rows named in `budgets`; unknown ones are left out.
    pub async fn budget_info(&self, actor: &Actor, ids: &[String]) -> Result<Value> {
        self.require_viewer(actor)?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.extend(self.store.budget(id).await?.map(|budget| self.budget_row(&budget)));
        }
        Ok(json!(rows))
    }

    pub async fn list_budgets(&self, actor: &Actor, offset: u64, limit: u64) -> Result<Value> {
        self.require_viewer(actor)?;
        let page = self.store.list_budgets(offset, limit).await?;
        Ok(json!(page.rows.iter().map(|budget| self.budget_row(budget)).collect::<Vec<_>>()))
    }

    pub async fn delete_budget(&self, actor: &Actor, id: &str) -> Result<Value> {
        self.require_admin(actor)?;
        let budget = self.find_budget(id).await?;
        let change =
            Change { action: Action::Deleted, table: TABLE, id: id.to_owned(), before: Some(&budget), after: None };
        self.store.delete_budget(id, self.audit(actor, change)).await?;
        Ok(Value::Object(self.budget_row(&budget)))
    }

    pub(super) async fn find_budget(&self, id: &str) -> Result<Budget> {
        self.store.budget(id).await?.ok_or_else(|| ManageError::not_found("budget_id", "budget", id))
    }

    pub(super) async fn write_budget(&self, actor: &Actor, before: Option<&Budget>, budget: &Budget) -> Result<()> {
        let action = if before.is_some() { Action::Updated } else { Action::Created };
        let change = Change { action, table: TABLE, id: budget.budget_id.clone(), before, after: Some(budget) };
        Ok(self.store.put_budget(budget, before.is_none(), self.audit(actor, change)).await?)
    }

    /// Limits as they bind: a row's own, and what it leaves to the budget row that it links.
    pub(super) async fn linked(&self, own: &Limits, budget_id: Option<&str>) -> Result<Limits> {
        let budget = match budget_id {
            Some(id) => self.store.budget(id).await?,
            None => None,
        };
        Ok(with_own(own, budget.as_ref()))
    }

    /// Gives an organization, end user or tag its limits, and answers those that bind. They are sent by the `budget_id` of
    /// a row, or go to the row that is linked or to a new one; they never go to `own`, where they would hide what becomes
    /// of the budget. What `own` has, as an import may have brought it, ends where it is sent anew.
    pub(super) async fn link_budget(
        &self,
        actor: &Actor,
        attributes: &mut Attributes,
        link: &mut Option<String>,
        own: &mut Limits,
    ) -> Result<Limits> {
        if attributes.sends("budget_id") {
            *own = Limits::default();
        }
        attributes.clear_sent_limits(own)?;
        let budget = self.sent_budget(actor, attributes, link.as_deref()).await?;
        *link = budget.as_ref().map(|budget| budget.budget_id.clone());
        Ok(with_own(own, budget.as_ref()))
    }

    /// The budget row named by `budget_id`, or the present one with the limits sent, or a new one. Naming both a row and
    /// limits is a contradiction.
    async fn sent_budget(
        &self,
        actor: &Actor,
        attributes: &mut Attributes,
        present: Option<&str>,
    ) -> Result<Option<Budget>> {
        let named = attributes.take::<String>("budget_id")?;
        if let Some(Some(id)) = &named {
            if attributes.sends_limits() {
                return Err(ManageError::bad("budget_id", "name a budget_id or limits, not both"));
            }
            let missing = || ManageError::bad("budget_id", format!("budget {id:?} does not exist; create it first"));
            return Ok(Some(self.store.budget(id).await?.ok_or_else(missing)?));
        }
        let row = match present.filter(|_| named.is_none()) {
            Some(id) => self.store.budget(id).await?,
            None => None,
        };
        let mut limits = row.as_ref().map(|row| row.limits.clone()).unwrap_or_default();
        attributes.set_limits(&mut limits)?;
        match row {
            Some(before) if before.limits == limits => Ok(Some(before)),
            Some(before) => {
                let after = Budget { limits, updated_at: self.now, ..before.clone() };
                self.write_budget(actor, Some(&before), &after).await?;
                Ok(Some(after))
            }
            None if limits.is_unlimited() => Ok(None),
            None => self.new_budget(actor, limits).await.map(Some),
        }
    }
}

fn with_own(own: &Limits, budget: Option<&Budget>) -> Limits {
    match budget {
        Some(budget) => own.clone().or(&budget.limits),
        None => own.clone(),
    }
}

fn change(budget: &mut Budget, mut attributes: Attributes) -> Result<Vec<String>> {
    attributes.set_limits(&mut budget.limits)?;
    attributes.set("allowed_models", &mut budget.allowed_models)?;
    attributes.finish(&mut Params::new())
}
