//! The team an assertion stands for: what the request chooses among those claimed, the one that is claimed, or among
//! several the first that may do what is asked.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::assertion::{Assertion, Named};
use super::super::virtual_key::unavailable;
use super::{Ask, Name, Resolver, created};
use crate::authz::{self, ModelAsk, routes};
use crate::domain::{Caller, Denial, ErrorType, Principal, Role, Team, Timestamp, Trace};

/// By which a request chooses one of the caller's teams; an id or an alias.
const TEAM_HEADER: &str = "x-litellm-team-id";
/// Why a caller is refused of whose teams none may do what is asked.
const NONE_MAY: &str = "team.none_may";

impl Resolver {
    pub(super) async fn team(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Arc<str>>, Denial> {
        let rules = &assertion.rules;
        if rules.team_header
            && (!rules.any_team || ask.view.route.api.is_model_route())
            && let Some(chosen) = header(ask)?
        {
            let team = self.chosen(assertion, user_id, chosen, ask.now).await?;
            trace.step("team", format_args!("{team} by the header {TEAM_HEADER}"));
            return Ok(Some(team));
        }
        let found = match self.claimed(assertion, user_id, ask, trace).await {
            Ok(Some(team)) => return Ok(Some(team)),
            Err(denial) if denial.is_infrastructure() || !rules.team_claim_fallback => return Err(denial),
            // The claim names teams that are there; that none may do this is no reason to take another.
            Err(denial) if denial.reason == NONE_MAY => return Err(denial),
            found => found,
        };
        let teams = match user_id {
            Some(user_id) if rules.fallback_to_db_teams || rules.team_claim_fallback => self.teams_of(user_id).await?,
            _ => Vec::new(),
        };
        if let Err(denial) = found {
            // The claim names what is not there; the only team of the user is meant.
            let [only] = &*teams else { return Err(denial) };
            trace.step("team", format_args!("{only} is the only team of the user in the directory"));
            return Ok(Some(Arc::clone(only)));
        }
        if rules.fallback_to_db_teams && !teams.is_empty() {
            let first = self.first_that_may(assertion, user_id, &teams, ask, trace).await?;
            return first.map(Some).ok_or_else(none_may);
        }
        if rules.team_required {
            let message = "Authentication Error: no team found in the token, and one is required";
            return Err(Denial::new(ErrorType::AuthError, "team.missing", message).param("team_id"));
        }
        if rules.enforce_team_based_model_access && ask.view.route.api.is_model_route() {
            let message = "a model may be used in the name of a team only, and the token names none";
            return Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, "team.required", message) });
        }
        Ok(None)
    }

    /// The team that the credential itself names.
    async fn claimed(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Arc<str>>, Denial> {
        let claim = &assertion.teams;
        match &claim.one {
            Some(Named::Id(id)) => return self.existing(assertion, id, ask.now).await.map(Some),
            Some(Named::Alias(alias)) => return self.by_alias(alias).await.map(Some),
            None => {}
        }
        if claim.list.is_empty() {
            return match &claim.default {
                Some(id) => self.existing(assertion, id, ask.now).await.map(Some),
                None => Ok(None),
            };
        }
        let mut list = claim.list.clone();
        list.sort_unstable();
        if assertion.rules.team_upsert {
            for id in &list {
                self.existing(assertion, id, ask.now).await?;
            }
        }
        match self.first_that_may(assertion, user_id, &list, ask, trace).await? {
            Some(team) => Ok(Some(team)),
            None if self.is_any_there(&list).await? => Err(none_may()),
            None => Err(Denial { reason: "team.unknown".into(), ..none_may() }),
        }
    }

    async fn is_any_there(&self, teams: &[Arc<str>]) -> Result<bool, Denial> {
        for id in teams {
            let principal = Principal { team_id: Some(Arc::clone(id)), ..Principal::default() };
            let known = self.directory.principal(&principal).await.map_err(|error| unavailable(&error))?;
            if known.team.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The team a request chooses: one of those claimed or, where the rules say so, any whose member the user is.
    async fn chosen(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        chosen: &str,
        now: Timestamp,
    ) -> Result<Arc<str>, Denial> {
        let alias = Name::Team { alias: Arc::from(chosen) };
        let of_alias = self.directory.id_of(&alias).await.map_err(|error| unavailable(&error))?;
        let is_chosen = |id: &str| id == chosen || of_alias.as_deref() == Some(id);
        if assertion.rules.any_team {
            return match of_alias {
                Some(id) => Ok(id),
                None => self.existing(assertion, &Arc::from(chosen), now).await,
            };
        }
        let claim = &assertion.teams;
        let mut named: Vec<Arc<str>> = claim.list.clone();
        match &claim.one {
            Some(Named::Id(id)) => named.push(Arc::clone(id)),
            Some(Named::Alias(alias)) => named.push(self.by_alias(alias).await?),
            None => {}
        }
        if claim.one.is_none() && claim.list.is_empty() {
            named.extend(claim.default.clone());
        }
        if assertion.rules.fallback_to_db_teams
            && let Some(user_id) = user_id
        {
            named.extend(self.teams_of(user_id).await?);
        }
        named.into_iter().find(|id| is_chosen(id)).ok_or_else(|| {
            let message = format!("the header {TEAM_HEADER} names a team that this credential is not of");
            let denial = Denial::new(ErrorType::AuthError, "team.foreign", message).param("team_id");
            Denial { status: 403, ..denial }
        })
    }

    async fn by_alias(&self, alias: &Arc<str>) -> Result<Arc<str>, Denial> {
        let name = Name::Team { alias: Arc::clone(alias) };
        match self.directory.id_of(&name).await.map_err(|error| unavailable(&error))? {
            Some(id) => Ok(id),
            None => {
                let known = self.directory.store().teams_by_alias(alias).await.map_err(|error| unavailable(&error))?;
                if known.len() < 2 {
                    return Err(super::no_such_team(alias));
                }
                let message = "several teams have the alias that the credential names";
                let denial = Denial::new(ErrorType::AuthError, "team.ambiguous", message).param("team_alias");
                Err(Denial { status: 400, ..denial })
            }
        }
    }

    async fn teams_of(&self, user_id: &str) -> Result<Vec<Arc<str>>, Denial> {
        let members = self.directory.memberships(user_id).await.map_err(|error| unavailable(&error))?;
        Ok(members.iter().map(|member| Arc::clone(&member.team_id)).collect())
    }

    /// The team of this id, created where the rules say so. That it is there is judged with what it stands for.
    async fn existing(&self, assertion: &Assertion, id: &Arc<str>, now: Timestamp) -> Result<Arc<str>, Denial> {
        let principal = Principal { team_id: Some(Arc::clone(id)), ..Principal::default() };
        let known = self.directory.principal(&principal).await.map_err(|error| unavailable(&error))?;
        if known.team.is_none() {
            if !assertion.rules.team_upsert {
                return Err(super::no_such_team(id));
            }
            let team = new_team(&self.team_defaults, id, now);
            let audit = created("teams", id, &team, now);
            super::put(self.directory.store().put_team(&team, true, audit).await)?;
        }
        Ok(Arc::clone(id))
    }

    async fn first_that_may(
        &self,
        assertion: &Assertion,
        user_id: Option<&Arc<str>>,
        teams: &[Arc<str>],
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Arc<str>>, Denial> {
        for team in teams {
            if self.may_use(assertion, user_id, team, ask).await? {
                trace.step("team", format_args!("{team} is the first that may use model and route"));
                return Ok(Some(Arc::clone(team)));
            }
            trace.step("team", format_args!("{team} may not use model or route, or is not there"));
        }
        Ok(None)
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
            helpers: &body.helper_models,
            catalog: &self.catalog,
            groups: registry.access_groups(),
            end_user: None,
            owner_teams: &[],
        };
        Ok(!ask.view.route.api.is_model_route() || authz::model_access(&asked).is_ok())
    }
}

/// Whether the request chooses a team.
pub(super) fn is_chosen(ask: &Ask<'_>) -> bool {
    ask.view.http.headers.get(TEAM_HEADER).is_some()
}

/// What the request chooses; several different choices are refused.
fn header<'a>(ask: &Ask<'a>) -> Result<Option<&'a str>, Denial> {
    let mut values = ask.view.http.headers.all(TEAM_HEADER).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let Some(first) = values.next() else { return Ok(None) };
    match std::str::from_utf8(first) {
        Ok(text) if text.len() <= 512 && values.all(|other| other == first) => Ok(Some(text)),
        _ => {
            let message = format!("the header {TEAM_HEADER} names more than one team, or none that can be read");
            Err(Denial::new(ErrorType::BadRequest, "team.header", message).param("team_id"))
        }
    }
}

fn none_may() -> Denial {
    let message = "none of the teams of this credential may use this model and route";
    Denial { status: 403, ..Denial::new(ErrorType::AuthError, NONE_MAY, message) }
}

/// A team as `default_team_params` says.
fn new_team(defaults: &Map<String, Value>, id: &Arc<str>, now: Timestamp) -> Team {
    let team = serde_json::from_value(Value::Object(defaults.clone())).unwrap_or_else(|error| {
        tracing::warn!(%error, "default_team_params cannot be read; a new team has none of it");
        Team::default()
    });
    Team { team_id: Arc::clone(id), created_at: now, updated_at: now, ..team }
}
