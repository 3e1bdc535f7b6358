//! Rows as JSON, by LiteLLM's names: what the API answers and the command line prints with `--json`. No row ever holds a
//! secret.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Manager, Params, Result};
use crate::domain::{Account, Budget, BudgetDuration, EndUser, Key, Limits, Member, Organization, Scope, ScopeKind};
use crate::domain::{Tag, Team, User};

/// Attributes of LiteLLM that rows always show, with what they hold where nothing is kept.
const KEY_BLANKS: [(&str, Blank); 7] = [
    ("allowed_cache_controls", Blank::List),
    ("budget_fallbacks", Blank::Object),
    ("config", Blank::Object),
    ("guardrails", Blank::Null),
    ("litellm_budget_table", Blank::Null),
    ("object_permission", Blank::Null),
    ("router_settings", Blank::Null),
];

#[derive(Clone, Copy)]
enum Blank {
    Null,
    List,
    Object,
}

impl Manager {
    /// A key's row without its hashes.
    pub(super) fn key_row(&self, key: &Key) -> Params {
        let mut row = self.row(key, &key.limits);
        row.remove("token");
        row.remove("first_token");
        for (name, blank) in KEY_BLANKS {
            row.entry(name).or_insert_with(|| match blank {
                Blank::Null => Value::Null,
                Blank::List => Value::Array(Vec::new()),
                Blank::Object => Value::Object(Map::new()),
            });
        }
        row.insert("status".to_owned(), self.key_status(key).into());
        row
    }

    /// A key's row with its hash and the one its books are named by, as lists and teams show it.
    pub(super) fn listed_row(&self, key: &Key) -> Params {
        let mut row = self.key_row(key);
        row.insert("token".to_owned(), key.token.to_string().into());
        row.insert("first_token".to_owned(), key.first_token.to_string().into());
        row
    }

    /// The row in the answer to issuing a key; the secret is added by whoever reveals it.
    pub(super) fn issued_row(&self, key: &Key) -> Params {
        let mut row = self.listed_row(key);
        row.insert("token_id".to_owned(), key.token.to_string().into());
        row
    }

    /// A key's row and what its budgets have left.
    pub(super) async fn key_details(&self, key: &Key) -> Result<Params> {
        let mut row = self.key_row(key);
        if let Some(id) = &key.budget_id {
            let budget = self.store.budget(id).await?;
            row.insert("litellm_budget_table".to_owned(), json!(budget.map(|budget| self.budget_row(&budget))));
        }
        let first = key.first_token.to_string();
        let mut windows = Vec::with_capacity(key.limits.budget_limits.len());
        for window in &key.limits.budget_limits {
            let spent = self.spent(key.scope(), Some(window.budget_duration)).await?;
            windows.push(json!({
                "budget_duration": window.budget_duration,
                "max_budget": window.max_budget,
                "current_spend": spent,
                "budget_reset_at": self.calendar.period(window.budget_duration, self.now).end,
            }));
        }
        row.insert("budget_limits_usage".to_owned(), windows.into());
        let mut models = Map::new();
        for (model, limit) in &key.limits.model_max_budget {
            let scope = Scope::new(ScopeKind::ModelPerKey, &[&first, model]);
            models.insert(
                model.clone(),
                json!({
                    "current_spend": self.spent(scope, limit.budget_duration).await?,
                    "budget_limit": limit.max_budget,
                    "time_period": limit.budget_duration,
                }),
            );
        }
        row.insert("model_max_budget_usage".to_owned(), models.into());
        Ok(row)
    }

    async fn spent(&self, scope: Scope, duration: Option<BudgetDuration>) -> Result<crate::domain::Money> {
        let period = match duration {
            Some(duration) => self.calendar.period(duration, self.now),
            None => crate::domain::Period::total(),
        };
        Ok(self.store.spent(&Account { scope, period }).await?)
    }

    fn key_status(&self, key: &Key) -> &'static str {
        if key.blocked {
            "revoked"
        } else if key.expires.is_some_and(|at| at <= self.now) {
            "expired"
        } else {
            "active"
        }
    }

    pub(super) fn team_row(&self, team: &Team, members: &[Member]) -> Params {
        let mut row = self.row(team, &team.limits);
        let roles: Vec<Value> = members
            .iter()
            .map(|member| json!({"user_id": member.user_id, "user_email": member.user_email, "role": member.role}))
            .collect();
        row.insert("members_with_roles".to_owned(), roles.into());
        row.entry("object_permission").or_insert(Value::Null);
        row.insert("litellm_model_table".to_owned(), Value::Null);
        row
    }

    pub(super) fn member_row(&self, member: &Member) -> Value {
        let mut budget = limits_row(&member.limits, self);
        budget.insert("budget_id".to_owned(), json!(member.budget_id));
        json!({
            "user_id": member.user_id,
            "team_id": member.team_id,
            "role": member.role,
            "allowed_models": member.allowed_models,
            "budget_id": member.budget_id,
            "spend": member.spend,
            "litellm_budget_table": if member.limits.is_unlimited() { Value::Null } else { Value::Object(budget) },
        })
    }

    pub(super) fn user_row(&self, user: &User, teams: &[Member]) -> Params {
        let mut row = self.row(user, &user.limits);
        let ids: Vec<&str> = teams.iter().map(|member| &*member.team_id).collect();
        row.insert("teams".to_owned(), json!(ids));
        row
    }

    pub(super) fn organization_row(&self, organization: &Organization) -> Params {
        let mut row = self.row(organization, &organization.limits);
        let mut budget = limits_row(&organization.limits, self);
        budget.insert("budget_id".to_owned(), json!(organization.budget_id));
        row.insert("litellm_budget_table".to_owned(), budget.into());
        row
    }

    pub(super) fn budget_row(&self, budget: &Budget) -> Params {
        self.row(budget, &budget.limits)
    }

    pub(super) fn end_user_row(&self, end_user: &EndUser) -> Params {
        self.row(end_user, &end_user.limits)
    }

    pub(super) fn tag_row(&self, tag: &Tag) -> Params {
        self.row(tag, &tag.limits)
    }

    /// Any row: its fields, kept attributes beside them, empty budget windows as null, and when its budget begins anew.
    fn row<T: Serialize>(&self, row: &T, limits: &Limits) -> Params {
        let mut fields = match serde_json::to_value(row) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        if let Some(Value::Object(extra)) = fields.remove("extra") {
            for (name, value) in extra {
                fields.entry(name).or_insert(value);
            }
        }
        if limits.budget_limits.is_empty() {
            fields.insert("budget_limits".to_owned(), Value::Null);
        }
        let reset = limits.budget_duration.map(|duration| self.calendar.period(duration, self.now).end);
        fields.insert("budget_reset_at".to_owned(), json!(reset));
        fields
    }
}

fn limits_row(limits: &Limits, manager: &Manager) -> Params {
    manager.row(limits, limits)
}

/// Adds `warnings` where there are any.
pub(super) fn with_warnings(mut row: Params, warnings: &[String]) -> Value {
    if !warnings.is_empty() {
        row.insert("warnings".to_owned(), json!(warnings));
    }
    Value::Object(row)
}
