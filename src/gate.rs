//! The pipeline: one request in, one decision out. It knows nothing of gRPC, so Envoy's Check, the management API, the
//! command line and the tests all call the same function.

mod admission;
mod defaults;
pub mod explain;
mod lenders;
mod plans;
mod policy;
mod settings;
mod shadow;
mod upstream;
mod worst;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use smallvec::SmallVec;

pub use explain::Explanation;
pub use settings::Settings;

use crate::authn::{Ask, Kept};
use crate::authz::{self, ModelAsk, RouteAsk};
use crate::config::Config;
use crate::directory::{Directory, DirectoryError, Registry};
use crate::domain::{
    Allow, AuthMethod, Caller, Decision, Denial, EndUser, ErrorType, Fields, Role, Standing, Timestamp, Trace,
};
use crate::quota::Quota;
use crate::request::{HttpRequest, RequestView};

/// Answers every request: who asks, may they, can they afford it.
pub struct Gate {
    settings: ArcSwap<Settings>,
    directory: Arc<Directory>,
    quota: Arc<Quota>,
    /// What outlives a reload.
    kept: Kept,
}

/// A request that passed every check which costs nothing: only limits and budgets remain.
pub(crate) struct Vetted<'a> {
    pub view: RequestView<'a>,
    pub caller: Caller,
    pub models: SmallVec<[ModelUse; 1]>,
    pub end_user: Option<Arc<EndUser>>,
    pub tags: Vec<Arc<str>>,
    /// Tags and access groups, as they were when the models were judged.
    pub registry: Option<Arc<Registry>>,
    /// What a policy in shadow mode would have refused.
    pub shadow: Option<Box<Denial>>,
    /// Nobody in particular: a public route or a preflight, passed on without identity.
    pub is_public: bool,
}

impl Gate {
    pub fn new(config: Arc<Config>, directory: Arc<Directory>, quota: Arc<Quota>) -> Result<Self, String> {
        let kept = Kept::default();
        let settings = Settings::new(config, &directory, quota.prices(), &kept)?;
        Ok(Gate { settings: ArcSwap::from_pointee(settings), directory, quota, kept })
    }

    /// Puts a new configuration in force for all requests that begin from now on.
    pub fn reload(&self, config: Arc<Config>) -> Result<(), String> {
        self.settings.store(Arc::new(Settings::new(config, &self.directory, self.quota.prices(), &self.kept)?));
        self.kept.tidy();
        Ok(())
    }

    /// Fetches the keys of identity providers that will be too old `ahead` of now, so that no token has to wait for them.
    pub async fn renew_keys(&self, ahead: Duration) {
        self.kept.renew_keys(ahead).await;
    }

    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    #[must_use]
    pub fn quota(&self) -> &Arc<Quota> {
        &self.quota
    }

    /// The decision on one request of Envoy's. An allowed, billable request holds what it may cost. While the whole gate
    /// is in shadow mode nothing is refused, whatever the trouble.
    pub async fn decide(&self, http: &HttpRequest<'_>) -> Decision {
        let settings = self.settings.load_full();
        let now = Timestamp::now();
        let (vetted, mut denial) = match self.vet(&settings, http, now, &mut Trace::off()).await {
            Ok(vetted) => match self.admit(&settings, http, &vetted, now).await {
                Ok(allow) => return Decision::Allow(Box::new(allow)),
                Err(mut denial) => {
                    denial.caller.get_or_insert_with(|| vetted.caller.clone());
                    (Some(vetted), denial)
                }
            },
            Err(denial) => (None, denial),
        };
        if settings.shadow.whole {
            // Boxed: what is rare must not make every decision larger.
            return Decision::Allow(Box::new(Box::pin(self.pass(&settings, http, vetted, denial, now)).await));
        }
        denial.headers.extend(authz::cors::denial_headers(http, &settings.config.request.cors_allow_origins));
        Decision::Deny(Box::new(denial))
    }

    /// Who calls and may they, without limits and budgets: for the management API, where the gate is always in force.
    pub async fn authorize(&self, http: &HttpRequest<'_>) -> Result<Caller, Denial> {
        let settings = self.settings.load_full();
        let vetted = self.vet(&settings, http, Timestamp::now(), &mut Trace::off()).await?;
        if let Some(denial) = &vetted.shadow {
            tracing::info!(reason = %denial.reason, "a policy in shadow mode would have refused a management call");
        }
        Ok(vetted.caller)
    }

    /// Every check that costs nothing, in the order of the request's life.
    async fn vet<'a>(
        &self,
        settings: &Settings,
        http: &'a HttpRequest<'a>,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Vetted<'a>, Denial> {
        let config = &*settings.config;
        if config.request.allow_preflight && authz::cors::is_preflight(http) {
            trace.step("preflight", "a CORS preflight passes without a credential");
            let view = RequestView::read(http, &settings.read)?;
            return Ok(Vetted::public(view));
        }
        let view = RequestView::read(http, &settings.read)?;
        trace.step("route", format_args!("{} {} is {}", http.method, view.route.path, view.route.api.as_str()));

        let client = settings.network.client(http);
        trace.step("network", format_args!("client address {}", Shown(client.as_ref())));
        settings.network.admit(client)?;
        settings.routes.exists(&view.route.path)?;

        if settings.routes.is_public(http.method, &view.route.path) {
            trace.step("route", "public: no credential is needed");
            return Ok(Vetted::public(view));
        }

        let ask = Ask { view: &view, now };
        let at_hand = if trace.is_on() { None } else { settings.authenticators.at_hand(&ask) };
        let caller = match at_hand {
            Some(caller) => caller,
            // Boxed: what may have to be asked of others is large, and most requests need none of it.
            None => Box::pin(settings.authenticators.authenticate(&ask, trace)).await?,
        };
        let checked = self.check_caller(settings, &view, &caller, client, now, trace).await;
        match checked {
            Ok(purpose) => Ok(Vetted::new(view, caller, purpose)),
            Err(mut denial) => {
                denial.caller = Some(caller);
                Err(denial)
            }
        }
    }

    /// Status, networks, routes, parameters, models and policies of a known caller.
    async fn check_caller(
        &self,
        settings: &Settings,
        view: &RequestView<'_>,
        caller: &Caller,
        client: Option<IpAddr>,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Purpose, Denial> {
        authz::status(caller, now)?;
        trace.step("status", "active");
        if let Some(key) = &caller.identity.key {
            authz::network::key_network(key, client)?;
        }
        authz::route_access(caller, &RouteAsk::of(view), &settings.routes)?;
        trace.step("routes", format_args!("{} may be called", view.route.path));
        let api = view.route.api;
        if !api.is_model_route() {
            let purpose = Purpose::default();
            let shadow = policy::judge(settings, view, caller, client, &purpose, now, trace)?;
            return Ok(Purpose { shadow, ..purpose });
        }
        let body = view.body.as_ref().map_err(Clone::clone)?;
        let end_user = self.end_user(settings, caller, view).await?;
        let named = view.end_user(&settings.read.end_user);
        let has_member = |object: &str, member: &str| view.holds_member(&settings.read, object, member);
        settings.params.check(caller, view.http, api, body, named.as_deref(), has_member)?;
        if let Some(end_user) = &end_user {
            authz::end_user_status(end_user)?;
        }
        let asked = view.model.as_ref().map_err(Clone::clone)?.as_deref();
        let registry = self.directory.registry().await.map_err(|error| unavailable(&error))?;
        let lenders = self.lenders(settings, caller).await?;
        let ask = ModelAsk {
            caller,
            api,
            model: asked,
            fallbacks: &body.fallback_models,
            helpers: &body.helper_models,
            catalog: &settings.catalog,
            groups: registry.access_groups(),
            end_user: end_user.as_deref(),
            owner_teams: &[],
        };
        let models = lenders::models(&ask, &lenders)?;
        if let Some(asked) = asked {
            trace.step("models", format_args!("{asked} may be used"));
        }
        let tags = tags(view, caller);
        let groups = models.iter().flat_map(|model| &model.groups);
        authz::limits_status(
            tags.iter().filter_map(|name| registry.tag(name)),
            groups.filter_map(|name| registry.access_group(name)),
        )?;
        let purpose = Purpose { models, end_user, tags, registry: Some(registry), shadow: None };
        let shadow = policy::judge(settings, view, caller, client, &purpose, now, trace)?;
        Ok(Purpose { shadow, ..purpose })
    }

    /// The end user a request names, with its limits: its own, else the default budget of the key or of the gate.
    async fn end_user(
        &self,
        settings: &Settings,
        caller: &Caller,
        view: &RequestView<'_>,
    ) -> Result<Option<Arc<EndUser>>, Denial> {
        let told = caller.grant.as_ref().and_then(|grant| grant.end_user.as_deref().map(Cow::Borrowed));
        let Some(id) = told.or_else(|| view.end_user(&settings.read.end_user)) else { return Ok(None) };
        let known = self.directory.end_user(&id).await.map_err(|error| unavailable(&error))?;
        let litellm = &settings.config.litellm_settings;
        if known.is_none() && litellm.validate_end_user_id_in_db {
            return Ok(None);
        }
        if let Some(known) = &known
            && !known.limits.is_unlimited()
        {
            return Ok(Some(Arc::clone(known)));
        }
        let key = caller.identity.key.as_ref();
        let default = key.and_then(|key| key.end_user_budget_id.as_ref()).or(litellm.max_end_user_budget_id.as_ref());
        let mut end_user = known
            .map_or_else(|| EndUser { user_id: id.as_ref().into(), ..EndUser::default() }, |known| (*known).clone());
        if let Some(budget_id) = default {
            match self.directory.budget(budget_id).await.map_err(|error| unavailable(&error))? {
                Some(budget) => end_user.limits = end_user.limits.or(&budget.limits),
                // A default budget that is gone must not turn into no budget.
                None => {
                    return Err(Denial::new(
                        ErrorType::ServiceUnavailable,
                        "end_user.budget_missing",
                        format!("the default budget {budget_id:?} of end users does not exist"),
                    ));
                }
            }
        }
        Ok(Some(Arc::new(end_user)))
    }
}

impl<'a> Vetted<'a> {
    fn public(view: RequestView<'a>) -> Self {
        let caller = Caller::new(AuthMethod::Public, Role::InternalUserViewer, Arc::default());
        Vetted { is_public: true, ..Vetted::new(view, caller, Purpose::default()) }
    }

    fn new(view: RequestView<'a>, caller: Caller, purpose: Purpose) -> Self {
        let Purpose { models, end_user, tags, registry, shadow } = purpose;
        Vetted { view, caller, models, end_user, tags, registry, shadow, is_public: false }
    }

    /// The model that is asked for, the first of several.
    fn model(&self) -> Option<&ModelUse> {
        self.models.iter().find(|model| !model.helps)
    }
}

/// A model a request uses.
#[derive(Clone, Debug)]
pub(crate) struct ModelUse {
    /// As asked, and what aliases made of it.
    pub name: Arc<str>,
    pub target: Arc<str>,
    /// Access groups it belongs to.
    pub groups: SmallVec<[Arc<str>; 2]>,
    /// Whether it does a part of the work beside the one that answers.
    pub helps: bool,
}

impl ModelUse {
    fn of(resolved: &authz::Resolved<'_>) -> Self {
        let name: Arc<str> = resolved.asked.into();
        let target = if resolved.target == resolved.asked { Arc::clone(&name) } else { resolved.target.into() };
        let groups = resolved.access_groups.iter().map(|group| Arc::from(*group)).collect();
        ModelUse { name, target, groups, helps: resolved.helps }
    }
}

/// What a caller uses the gate for.
#[derive(Default)]
struct Purpose {
    models: SmallVec<[ModelUse; 1]>,
    end_user: Option<Arc<EndUser>>,
    tags: Vec<Arc<str>>,
    registry: Option<Arc<Registry>>,
    shadow: Option<Box<Denial>>,
}

/// The tags of a request: its own, then those of the key, the team and the project; the first of equal ones stays.
fn tags(view: &RequestView<'_>, caller: &Caller) -> Vec<Arc<str>> {
    let identity = &*caller.identity;
    let of_key = identity.key.iter().flat_map(|key| &key.tags);
    let of_team = identity.team.iter().flat_map(|team| &team.tags);
    let of_project = identity.project.iter().flat_map(|project| &project.tags);
    let mut tags: Vec<Arc<str>> = Vec::new();
    let own = view.tags().into_iter().map(|tag| Arc::from(tag.as_ref()));
    for tag in own.chain(of_key.chain(of_team).chain(of_project).cloned()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn unavailable(error: &DirectoryError) -> Denial {
    crate::authn::virtual_key::unavailable(error)
}

/// An optional value in words.
struct Shown<T>(Option<T>);

impl<T: std::fmt::Display> std::fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

/// An allowed request that nobody in particular makes: passed on without identity, our own headers removed.
fn allow_public(settings: &Settings, http: &HttpRequest<'_>, caller: Caller) -> Allow {
    let identity_headers = settings.identity_headers.as_deref();
    let mut remove_headers = upstream::client_copies(http, identity_headers, |_| false);
    let mut upstream_headers = Fields::default();
    let session_cookie = settings.read.credential.session_cookie.as_deref();
    upstream::take_session_cookie(http, session_cookie, &mut upstream_headers, &mut remove_headers);
    Allow {
        caller,
        standing: Arc::<Standing>::default(),
        remove_headers,
        upstream_headers,
        remove_query: Vec::new(),
        response_headers: Fields::default(),
        metadata: [("decision", "allow")].into_iter().collect(),
        hold: None,
        shadow: None,
    }
}
