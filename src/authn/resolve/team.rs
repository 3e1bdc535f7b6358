//! The team an assertion stands for: the one it names, or among several the first that may do what is asked.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::assertion::{Assertion, Named};
use super::super::virtual_key::unavailable;
use super::{Ask, Name, Resolver, created};
use crate::authz::{self, ModelAsk, routes};
use crate::domain::{Caller, Denial, ErrorType, Principal, Role, Team, Timestamp, Trace};

impl Resolver {
    pub(super) async fn team(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Arc<str>>, Denial> {
        let (claim, rules) = (&assertion.teams, &assertion.rules);
        match &claim.one {
            Some(Named::Id(id)) => return self.existing(assertion, id, ask).await.map(Some),
            Some(Named::Alias(alias)) => {
                let name = Name::Team { alias: Arc::clone(alias) };
                let found = self.directory.id_of(&name).await.map_err(|error| unavailable(&error))?;
                return found.map(Some).ok_or_else(|| super::no_such_team(alias));
            }
            None => {}
        }
        let mut list: Vec<&Arc<str>> = claim.list.iter().collect();
        list.sort_unstable();
        for team in &list {
            if self.may_use(assertion, user_id, team, ask).await? {
                trace.step("team", format_args!("{team} is the first of the claimed teams that may"));
                return Ok(Some(Arc::clone(team)));
            }
        }
        if !list.is_empty() {
            let message = "none of the teams of this credential may use this model and route";
            return Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, "team.none_may", message) });
        }
        if rules.team_default.is_some() {
            return Ok(rules.team_default.clone());
        }
        if rules.team_required {
            let message = "Authentication Error: no team found in the token, and one is required";
            return Err(Denial::new(ErrorType::AuthError, "team.missing", message).param("team_id"));
        }
        Ok(None)
    }

    /// The team of this id, created where the rules say so. That it is there is judged with what it stands for.
    async fn existing(&self, assertion: &Assertion, id: &Arc<str>, ask: &Ask<'_>) -> Result<Arc<str>, Denial> {
        if assertion.rules.team_upsert {
            let principal = Principal { team_id: Some(Arc::clone(id)), ..Principal::default() };
            let known = self.directory.principal(&principal).await.map_err(|error| unavailable(&error))?;
            if known.team.is_none() {
                let team = new_team(&self.team_defaults, id, ask.now);
                let audit = created("teams", id, &team, ask.now);
                super::put(self.directory.store().put_team(&team, true, audit).await)?;
            }
        }
        Ok(Arc::clone(id))
    }

    /// Whether the user may use model and route as one of this team.
    async fn may_use(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        team: &Arc<str>,
        ask: &Ask<'_>,
    ) -> Result<bool, Denial> {
        let path = &*ask.view.route.path;
        let listed = &assertion.rules.team_routes;
        if !listed.is_empty() && !listed.iter().any(|entry| routes::entry_holds(entry, path)) {
            return Ok(false);
        }
        let principal = Principal { user_id: user_id.cloned(), team_id: Some(Arc::clone(team)), organization_id: None };
        let identity = self.directory.principal(&principal).await.map_err(|error| unavailable(&error))?;
        if identity.team.as_ref().is_none_or(|team| team.blocked) {
            return Ok(false);
        }
        let (Ok(model), Ok(body)) = (&ask.view.model, &ask.view.body) else { return Ok(true) };
        let registry = self.directory.registry().await.map_err(|error| unavailable(&error))?;
        let caller = Caller::new(assertion.method, Role::InternalUser, identity);
        let asked = ModelAsk {
            caller: &caller,
            api: ask.view.route.api,
            model: model.as_deref(),
            fallbacks: &body.fallback_models,
            catalog: &self.catalog,
            groups: registry.access_groups(),
            end_user: None,
            owner_teams: &[],
        };
        Ok(!ask.view.route.api.is_model_route() || authz::model_access(&asked).is_ok())
    }
}

/// A team as `default_team_params` says.
fn new_team(defaults: &Map<String, Value>, id: &Arc<str>, now: Timestamp) -> Team {
    let team = serde_json::from_value(Value::Object(defaults.clone())).unwrap_or_else(|error| {
        tracing::warn!(%error, "default_team_params cannot be read; a new team has none of it");
        Team::default()
    });
    Team { team_id: Arc::clone(id), created_at: now, updated_at: now, ..team }
}
