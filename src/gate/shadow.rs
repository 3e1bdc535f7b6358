//! Shadow mode: what decides without refusing. A request that would have been refused passes without a provider key and
//! without identity headers, and what it costs is booked to whoever is known to call, so that nobody gains by it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::admission::{hold, random_id};
use super::upstream::{self, Facts};
use super::worst::is_charged;
use super::{Gate, ModelUse, Purpose, Settings, Vetted, tags};
use crate::authn::IdentityHeaders;
use crate::authz::{self, ModelAsk};
use crate::config;
use crate::config::UpstreamIdentity;
use crate::domain::{
    Allow, Amount, AuthMethod, Caller, Denial, Fields, HoldId, Kind, Limit, Role, ScopeKind, Standing, Timestamp, glob,
};
use crate::quota::counters::Terms;
use crate::quota::{Admitted, Bound, Refused};
use crate::request::{HttpRequest, RequestView};

/// What is in shadow mode, compiled. Policies keep their own.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    /// The whole gate: nothing is refused.
    pub whole: bool,
    limits: Vec<(ScopeKind, Kind)>,
}

impl Shadow {
    pub fn of(config: &config::Shadow) -> Self {
        let all = ScopeKind::ALL.into_iter().flat_map(|scope| Kind::ALL.map(|kind| (scope, kind)));
        let is_named = |(scope, kind): &(ScopeKind, Kind)| {
            let reason = kind.reason(*scope);
            config.limits.iter().any(|pattern| glob::matches(pattern, &reason))
        };
        let limits = if config.limits.is_empty() { Vec::new() } else { all.filter(is_named).collect() };
        Shadow { whole: config.enabled, limits }
    }

    /// Whether any limit is in shadow mode by itself.
    pub fn has_limits(&self) -> bool {
        !self.limits.is_empty()
    }

    /// Whether this limit is in shadow mode by itself. A soft budget never refuses, so it has none.
    pub fn holds(&self, limit: &Limit) -> bool {
        let Limit { counter, limit, .. } = limit;
        self.has_limits() && *limit < Amount::MAX && self.limits.contains(&(counter.scope.kind(), counter.kind))
    }

    /// The same without the limits in shadow mode; `None` where there are none of them, or where what refuses is in
    /// force.
    pub fn lift(&self, bound: &Bound, refused: &Refused) -> Option<Bound> {
        let is_ours = match refused {
            Refused::Limit { hold, refusal } => {
                hold.binding.limits().get(refusal.charge).is_some_and(|limit| self.holds(limit))
            }
            // Nothing but these limits may need the meter, or counters that answer.
            Refused::MeterDead { .. } | Refused::Unavailable(_) => true,
            Refused::WrongPeriod { .. } => false,
        };
        if is_ours { self.without(bound) } else { None }
    }

    /// The same without the limits in shadow mode; `None` where there are none of them.
    pub fn without(&self, bound: &Bound) -> Option<Bound> {
        bound.binding.limits().iter().any(|limit| self.holds(limit)).then(|| lifted(bound, |limit| self.holds(limit)))
    }
}

/// The same without some of its limits. As a refused request it takes nothing from their counters, but its cost is
/// booked to every account.
fn lifted(bound: &Bound, is_lifted: impl Fn(&Limit) -> bool) -> Bound {
    let limits = bound.binding.limits().iter().zip(&bound.amounts);
    let kept = limits.filter(|(limit, _)| !is_lifted(limit)).map(|(limit, amount)| (limit.clone(), *amount));
    Bound::with_limits(&bound.binding, kept)
}

impl Gate {
    /// The answer to a request that the gate would refuse, were it not in shadow mode as a whole. `vetted` is what is
    /// known where only limits refused.
    pub(super) async fn pass(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: Option<Vetted<'_>>,
        denial: Denial,
        now: Timestamp,
    ) -> Allow {
        let vetted = match (vetted, &denial.caller) {
            (None, Some(caller)) => self.presume(settings, http, caller).await,
            (vetted, _) => vetted,
        };
        // Without randomness it has no name and no hold, and passes all the same.
        let id = random_id().ok();
        let admitted = match (id, &vetted) {
            (Some(id), Some(vetted)) => self.meter_anyway(settings, http, vetted, id, now).await,
            _ => None,
        };
        self.pass_as_it_came(settings, http, vetted.as_ref(), denial, id, admitted.as_ref())
    }

    /// What is known of a request that was refused before all of it was looked at; `None` where it cannot be read.
    async fn presume<'a>(&self, settings: &Settings, http: &'a HttpRequest<'a>, caller: &Caller) -> Option<Vetted<'a>> {
        let view = RequestView::read(http, &settings.read).ok()?;
        let mut purpose = Purpose::default();
        if view.route.api.is_model_route() {
            let registry = self.directory.registry().await.ok()?;
            let end_user = self.end_user(settings, caller, &view).await.ok()?;
            let body = view.body.as_ref().ok()?;
            let asked = authz::models_asked(&ModelAsk {
                caller,
                api: view.route.api,
                model: view.model.as_ref().ok()?.as_deref(),
                fallbacks: &body.fallback_models,
                helpers: &body.helper_models,
                catalog: &settings.catalog,
                groups: registry.access_groups(),
                end_user: end_user.as_deref(),
                owner_teams: &[],
            });
            let models: SmallVec<[ModelUse; 1]> = asked.iter().map(ModelUse::of).collect();
            drop(asked);
            let tags = tags(&view, caller);
            purpose = Purpose { models, end_user, tags, registry: Some(registry), shadow: None };
        }
        Some(Vetted::new(view, caller.clone(), purpose))
    }

    /// A hold under no limit, so that the meter books what the request costs. `None` where it costs nothing, or where
    /// that cannot be told or booked.
    async fn meter_anyway(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        id: HoldId,
        now: Timestamp,
    ) -> Option<Admitted> {
        if !is_charged(settings, vetted) {
            return None;
        }
        let plan = settings.plans.of(&vetted.caller, &settings.config, now);
        let worst = self.worst(settings, vetted).ok()?;
        let bound = self.bind(settings, vetted, &plan, &worst, now).await.ok()?;
        let terms = Terms { gateway: http.gateway, meter_required: false };
        // Without a limit no period can be the wrong one, and there is nothing to wait for.
        let bound = lifted(&bound, |_| true);
        self.quota.admit(hold(vetted, &worst, bound, id, now), terms, Duration::ZERO).await.ok()
    }

    /// A request that would have been refused, as it came but for copies of our headers, headers that name identity and
    /// the session cookie.
    fn pass_as_it_came(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: Option<&Vetted<'_>>,
        denial: Denial,
        id: Option<HoldId>,
        admitted: Option<&Admitted>,
    ) -> Allow {
        let request_id = id.map(|id| id.hex());
        let (upstream_headers, remove_headers) = changes(
            http,
            settings.identity_headers.as_deref(),
            settings.read.credential.session_cookie.as_deref(),
            request_id.as_deref(),
        );
        let status = denial.status.to_string();
        let mut metadata: Fields =
            [("shadow_decision", "deny"), ("shadow_reason", &*denial.reason), ("shadow_status", status.as_str())]
                .into_iter()
                .chain(request_id.iter().map(|id| ("request_id", id.as_str())))
                .collect();
        if let Some(Admitted { hold, .. }) = admitted {
            metadata.push_with("tollward_hold", |out| self.quota.sign(hold, out));
        }
        let standing = match vetted {
            Some(vetted) => unnamed(vetted),
            None => Standing { metadata: [("decision", "allow")].into_iter().collect(), ..Standing::default() },
        };
        let nobody = || Caller::new(AuthMethod::Public, Role::InternalUserViewer, Arc::default());
        Allow {
            caller: denial.caller.clone().unwrap_or_else(nobody),
            standing: Arc::new(standing),
            remove_headers,
            upstream_headers,
            remove_query: Vec::new(),
            response_headers: named(request_id.as_deref()),
            metadata,
            hold: admitted.map(|admitted| admitted.hold.id),
            shadow: Some(Box::new(denial)),
        }
    }

    /// The answer to a request that passed all that is in force, and that a policy or limit in shadow mode would have
    /// refused. Its credential stays here unless the whole gate is in shadow mode too.
    pub(super) fn pass_limited(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        mut denial: Denial,
        id: HoldId,
        admitted: Option<&Admitted>,
    ) -> Allow {
        denial.caller.get_or_insert_with(|| vetted.caller.clone());
        let mut allow = self.pass_as_it_came(settings, http, Some(vetted), denial, Some(id), admitted);
        if !settings.shadow.whole {
            upstream::take_credentials(
                &vetted.view,
                &settings.read.credential,
                None,
                &mut allow.upstream_headers,
                &mut allow.remove_headers,
                &mut allow.remove_query,
            );
        }
        allow
    }
}

/// What is set and what is taken out of a request that goes on as it came. A session cookie is good for nothing but
/// this gate.
fn changes(
    http: &HttpRequest<'_>,
    identity: Option<&IdentityHeaders>,
    session_cookie: Option<&str>,
    request_id: Option<&str>,
) -> (Fields, Vec<Cow<'static, str>>) {
    let is_set = |name: &str| request_id.is_some() && name == upstream::REQUEST_ID;
    let (mut set, mut remove) = (named(request_id), upstream::client_copies(http, identity, is_set));
    upstream::take_session_cookie(http, session_cookie, &mut set, &mut remove);
    (set, remove)
}

/// The name of a request, where it has one.
fn named(request_id: Option<&str>) -> Fields {
    request_id.map(|id| (upstream::REQUEST_ID, id)).into_iter().collect()
}

/// What access logs are told of a caller whom the upstream is told nothing of.
fn unnamed(vetted: &Vetted<'_>) -> Standing {
    let facts =
        Facts { caller: &vetted.caller, model: vetted.model().map(|model| &*model.name), end_user: None, tags: &[] };
    upstream::standing(&facts, UpstreamIdentity::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Binding, CounterKey, Hold, Money, Scope, Window};
    use crate::quota::counters::{CountersError, Refusal};
    use crate::request::Headers;

    fn shadow(limits: &[&str]) -> Shadow {
        let limits = limits.iter().map(|limit| (*limit).to_owned()).collect();
        Shadow::of(&config::Shadow { enabled: false, limits })
    }

    fn limit(scope: ScopeKind, kind: Kind, limit: Amount) -> Limit {
        let counter = CounterKey { scope: Scope::new(scope, &["x"]), kind, window: Window::Minute };
        Limit { counter, limit, soft_limit: None }
    }

    /// Requests of a key, a team's budget, a soft budget.
    fn bound() -> Bound {
        let limits = [
            limit(ScopeKind::Key, Kind::Requests, 3),
            limit(ScopeKind::Team, Kind::Spend, 5),
            limit(ScopeKind::User, Kind::Spend, Amount::MAX),
        ];
        Bound::with_limits(&Binding::default(), limits.into_iter().zip([1, 7, 2]))
    }

    fn refused_by(bound: &Bound, charge: usize) -> Refused {
        let hold = Hold {
            id: HoldId::new([0; 16]),
            admitted_at: Timestamp::millis(0),
            binding: Arc::clone(&bound.binding),
            amounts: bound.amounts.clone(),
            api: crate::domain::Api::OpenAiChat,
            priced_as: "".into(),
            price_version: "".into(),
            input_tokens: 0,
            input_characters: 0,
            output_tokens: 0,
            estimate: Money::ZERO,
            bounded: true,
        };
        let (spent, held, retry_after) = (0, 0, Duration::ZERO);
        let refusal = Refusal { charge, spent, held, retry_after, never: false, may_be_released: false, epoch: 0 };
        Refused::Limit { hold: Arc::new(hold), refusal }
    }

    #[test]
    fn limits_are_in_shadow_mode_by_the_names_of_their_refusals() {
        for (names, held) in [
            (&[] as &[&str], [false, false]),
            (&["rate_limit.key.requests"], [true, false]),
            (&["rate_limit.key.tokens", "budget.user"], [false, false]),
            (&["rate_limit.*", "budget.team"], [true, true]),
            (&["*"], [true, true]),
        ] {
            let shadow = shadow(names);
            let found: Vec<bool> = bound().binding.limits().iter().map(|limit| shadow.holds(limit)).collect();
            assert_eq!(found, [held[0], held[1], false], "{names:?}; what never refuses is not in shadow mode");
        }
    }

    #[test]
    fn a_request_goes_on_as_it_came_but_for_copies_of_our_headers_and_the_session_cookie() {
        for (cookie, set, removed) in [
            (&b"a=1; s=tollward_session_x; b=2"[..], Some("a=1; b=2"), &["x-tollward-role"][..]),
            (b"s=tollward_session_x", None, &["x-tollward-role", "cookie"]),
            (b"s=something-else; a=1", Some("a=1"), &["x-tollward-role"]),
            (b"a=1; b=2", None, &["x-tollward-role"]),
        ] {
            let http = HttpRequest {
                method: "POST",
                path: "/v1/chat/completions",
                headers: Headers(vec![
                    ("authorization", b"Bearer sk-of-another-system"),
                    ("x-tollward-role", b"proxy_admin"),
                    ("x-tollward-request-id", b"forged"),
                    ("cookie", cookie),
                ]),
                body: None,
                source: None,
                source_principal: "",
                extensions: Vec::new(),
                gateway: [127, 0, 0, 1].into(),
            };
            let (fields, remove) = changes(&http, None, Some("s"), Some("7"));
            let expected: Fields =
                [("x-tollward-request-id", "7")].into_iter().chain(set.map(|rest| ("cookie", rest))).collect();
            assert!(fields.iter().eq(expected.iter()), "{fields:?}");
            assert_eq!(remove, removed);
            let (fields, remove) = changes(&http, None, None, None);
            assert_eq!(fields.iter().count(), 0, "without sessions no cookie is ours");
            assert_eq!(remove, ["x-tollward-role", "x-tollward-request-id"]);
        }
    }

    #[test]
    fn limits_in_shadow_mode_go_where_one_of_them_refuses_or_may_be_the_reason_of_the_trouble() {
        let (team, bound) = (shadow(&["budget.team"]), bound());
        let trouble = || Refused::Unavailable(CountersError::Unavailable(String::new()));
        let dead = Refused::MeterDead { retry_after: Duration::ZERO };
        for (name, refused, lifts) in [
            ("it refuses", refused_by(&bound, 1), true),
            ("another refuses, which is in force", refused_by(&bound, 0), false),
            ("the meter is dead", dead, true),
            ("the counters are down", trouble(), true),
            ("a period ended", Refused::WrongPeriod { now: Timestamp::millis(0) }, false),
        ] {
            let lifted = team.lift(&bound, &refused);
            assert_eq!(lifted.is_some(), lifts, "{name}");
            let Some(lifted) = lifted else { continue };
            let left: Vec<_> = lifted.charges().map(|charge| (charge.counter.kind, charge.amount)).collect();
            assert_eq!(left, [(Kind::Requests, 1), (Kind::Spend, 2)], "{name}");
            assert!(bound.needs_meter() && !lifted.needs_meter(), "{name}");
            assert!(team.lift(&lifted, &trouble()).is_none(), "{name}: once");
        }
        assert!(shadow(&[]).lift(&bound, &trouble()).is_none(), "without shadow mode trouble is trouble");
    }
}
