//! From a vetted request to an allowed one: the hold for what it may cost at most, and everything the upstream and
//! the client receive.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::upstream::{self, Facts};
use super::worst::{Worst, is_charged, per_request};
use super::{Gate, Settings, Vetted, allow_public};
use crate::config::{Reserve, TokenRateLimitType, Unmeterable, UpstreamIdentity};
use crate::domain::{
    Allow, Amount, Api, AuthMethod, Binding, Charge, Denial, ErrorType, Fields, Hold, HoldId, Kind, Limit, Money, Role,
    ScopeKind, Standing, Timestamp,
};
use crate::quota::counters::Terms;
use crate::quota::token::MAX_TOKEN;
use crate::quota::{Admitted, Ask, AskModel, Bound, Plan, Refused, TokenHold, headers, refusal};
use crate::request::HttpRequest;

impl Gate {
    pub(super) async fn admit(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        now: Timestamp,
    ) -> Result<Allow, Denial> {
        if vetted.is_public {
            return Ok(allow_public(settings, http, vetted.caller.clone()));
        }
        let mut id = random_id()?;
        if !is_charged(settings, vetted) {
            return Ok(self.answer(settings, http, vetted, None, id, None));
        }
        let plan = settings.plans.of(&vetted.caller, &settings.config, now);
        let worst = self.worst(settings, vetted)?;
        let mut bound = self.bind(settings, vetted, &plan, &worst, now).await?;
        // The first refusal by limits in shadow mode.
        let mut shadow = None;
        if let Err(denial) = check_meterable(settings, vetted, &bound) {
            match settings.shadow.without(&bound) {
                Some(lifted) if check_meterable(settings, vetted, &lifted).is_ok() => bound = lifted,
                _ => return Err(denial),
            }
            shadow = Some(denial);
        }
        let meter_required = |bound: &Bound| settings.config.metering.required && bound.needs_meter();
        let mut terms = Terms { gateway: http.gateway, meter_required: meter_required(&bound) };
        let patience = Duration::from_millis(settings.config.quota.release_wait_ms);
        let mut throttled = false;
        let mut again = true;
        let admitted = loop {
            let asked = settings.shadow.has_limits().then(|| bound.clone());
            let hold = hold(vetted, &worst, bound, id, now);
            let refused = match self.quota.admit(hold, terms, patience).await {
                Ok(admitted) => break admitted,
                Err(refused) => refused,
            };
            let denial = || {
                let status = settings.config.litellm_settings.budget_exceeded_status_code;
                refusal::denial(&refused, &vetted.caller, status, now)
            };
            if let Some(lifted) = asked.and_then(|bound| settings.shadow.lift(&bound, &refused)) {
                terms.meter_required = meter_required(&lifted);
                shadow.get_or_insert_with(denial);
                bound = lifted;
                // Counters that did not answer may yet undo what they know by the old name.
                id = random_id()?;
                continue;
            }
            let next = match &refused {
                Refused::WrongPeriod { now } if std::mem::take(&mut again) => {
                    Some(self.bind(settings, vetted, &plan, &worst, *now).await?)
                }
                Refused::Limit { hold, refusal } if !std::mem::replace(&mut throttled, true) => {
                    throttle(settings, vetted, hold, refusal.charge)
                }
                _ => None,
            };
            bound = next.ok_or_else(denial)?;
        };
        let allow = self.answer(settings, http, vetted, shadow, id, Some(&admitted));
        // What the meter would refuse to read would never be settled.
        if allow.metadata.values().len() > MAX_TOKEN {
            self.quota.release(id);
            return Err(Denial::new(
                ErrorType::BadRequest,
                "hold.too_long",
                "Too many tags and limits bind this request for it to be accounted; send fewer tags",
            ));
        }
        Ok(allow)
    }

    /// What an admitted request gets: less where something in shadow mode would have refused it.
    fn answer(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        shadow: Option<Denial>,
        id: HoldId,
        admitted: Option<&Admitted>,
    ) -> Allow {
        // Policies are asked before limits.
        match vetted.shadow.as_deref().cloned().or(shadow) {
            None => self.allow(settings, http, vetted, id, admitted),
            Some(denial) => self.pass_limited(settings, http, vetted, denial, id, admitted),
        }
    }

    pub(super) async fn bind(
        &self,
        settings: &Settings,
        vetted: &Vetted<'_>,
        plan: &Plan,
        worst: &Worst<'_>,
        now: Timestamp,
    ) -> Result<Bound, Denial> {
        let registry = match &vetted.registry {
            Some(registry) => Arc::clone(registry),
            None => self.directory.registry().await.map_err(|error| super::unavailable(&error))?,
        };
        let models: SmallVec<[AskModel<'_>; 1]> = vetted
            .models
            .iter()
            .map(|model| AskModel {
                names: [&model.name, &model.target],
                groups: &model.groups,
                default_limits: settings.default_key_limits.get(&model.target, &model.name),
            })
            .collect();
        let general = &settings.config.general_settings;
        let reserve = settings.config.quota.reserve == Reserve::WorstCase;
        let reserve_money = reserve && !general.disable_budget_reservation;
        let (input, output) = match general.token_rate_limit_type {
            TokenRateLimitType::Total => (worst.input_tokens, worst.output()),
            TokenRateLimitType::Input => (worst.input_tokens, 0),
            TokenRateLimitType::Output => (0, worst.output()),
        };
        let amount = |tokens: u64| Amount::try_from(tokens).unwrap_or(Amount::MAX);
        let tokens = TokenHold {
            input: amount(input),
            output: amount(output),
            guessed_choices: worst.guessed.then_some(amount(worst.choices)),
        };
        let unnamed;
        let model = match worst.model {
            Some(model) => &model.name,
            None => {
                unnamed = Arc::from(vetted.view.route.api.as_str());
                &unnamed
            }
        };
        let ask = Ask {
            models: &models,
            model,
            end_user: vetted.end_user.as_ref(),
            tags: &vetted.tags,
            registry: &registry,
            tokens: if reserve { tokens } else { TokenHold::default() },
            cost: (!worst.free).then_some(if reserve_money { worst.cost } else { Money::nanos(1) }),
        };
        Ok(plan.bind(&vetted.caller, &ask, &settings.periods, now))
    }

    fn allow(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        id: HoldId,
        admitted: Option<&Admitted>,
    ) -> Allow {
        let caller = &vetted.caller;
        let model = vetted.model().map(|model| &*model.name);
        let provider = model.and_then(|model| settings.provider_keys.header(model, http));
        let which = match provider {
            Some(_) => UpstreamIdentity::None,
            None => settings.config.request.upstream_identity,
        };
        let standing = standing(vetted, which, admitted.map(|admitted| &*admitted.hold.binding));
        let is_set = |name: &str| name == upstream::REQUEST_ID || standing.upstream_headers.has(name);
        let mut remove_headers = upstream::client_copies(http, settings.identity_headers.as_deref(), is_set);
        let request_id = id.hex();
        let mut upstream_headers = Fields::with_capacity(2, 128);
        upstream_headers.push(upstream::REQUEST_ID, &request_id);
        let credential = &settings.read.credential;
        let injected = provider.as_ref().map(|(name, _)| &**name);
        let (set, mut remove_query) = (&mut upstream_headers, Vec::new());
        upstream::take_credentials(&vetted.view, credential, injected, set, &mut remove_headers, &mut remove_query);
        if let Some((name, value)) = provider {
            upstream_headers.push(name, &value);
        }
        let session_cookie = credential.session_cookie.as_deref();
        upstream::take_session_cookie(http, session_cookie, &mut upstream_headers, &mut remove_headers);
        let mut metadata = Fields::with_capacity(2, 1_536);
        metadata.push("request_id", &request_id);
        let mut response_headers = Fields::with_capacity(9, 256);
        response_headers.push(upstream::REQUEST_ID, &request_id);
        if let Some(Admitted { hold, remaining }) = admitted {
            metadata.push_with("tollward_hold", |out| self.quota.sign(hold, out));
            let is_told = |limit: &Limit| !settings.shadow.holds(limit);
            headers::of_admission(hold.binding.limits(), remaining, is_told, &mut response_headers);
        }
        Allow {
            caller: caller.clone(),
            standing,
            upstream_headers,
            remove_headers,
            remove_query,
            response_headers,
            metadata,
            hold: admitted.map(|admitted| admitted.hold.id),
            shadow: None,
        }
    }
}

/// What the binding keeps of the answers to its requests.
struct Kept {
    role: Role,
    method: AuthMethod,
    which: UpstreamIdentity,
    model: Option<Arc<str>>,
    standing: Arc<Standing>,
}

/// What requests like this one get alike: worked out once for a binding, which has one caller, end user and set of tags.
fn standing(vetted: &Vetted<'_>, which: UpstreamIdentity, binding: Option<&Binding>) -> Arc<Standing> {
    let Vetted { caller, end_user, tags, .. } = vetted;
    let model = vetted.model().map(|model| &model.name);
    let work_out = || {
        let end_user = end_user.as_ref().map(|end_user| &*end_user.user_id);
        let facts = Facts { caller, model: model.map(|model| &**model), end_user, tags };
        Arc::new(upstream::standing(&facts, which))
    };
    let (role, method) = (caller.role, caller.method);
    let keep = || Kept { role, method, which, model: model.cloned(), standing: work_out() };
    let kept = binding
        .and_then(|binding| binding.standing.get_or_init_again(keep))
        .filter(|kept| (kept.role, kept.method, kept.which) == (role, method, which) && kept.model.as_ref() == model);
    kept.map_or_else(work_out, |kept| Arc::clone(&kept.standing))
}

impl Gate {
    /// The identity headers the upstream would receive, for explanations.
    pub(super) fn preview(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
    ) -> Vec<(String, String)> {
        if vetted.is_public {
            return Vec::new();
        }
        let allow = self.allow(settings, http, vetted, HoldId::new([0; 16]), None);
        let ours = allow.standing.upstream_headers.iter();
        ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

pub(super) fn hold(vetted: &Vetted<'_>, worst: &Worst<'_>, bound: Bound, id: HoldId, now: Timestamp) -> Hold {
    let body = vetted.view.body.as_ref().ok();
    Hold {
        id,
        admitted_at: now,
        binding: bound.binding,
        amounts: bound.amounts,
        api: vetted.view.route.api,
        priced_as: worst.price.as_ref().map_or_else(|| "".into(), |price| Arc::clone(price.name())),
        price_version: Arc::clone(&worst.price_version),
        input_tokens: worst.input_tokens,
        input_characters: body.map_or(0, |body| body.prompt.text_bytes),
        output_tokens: worst.output_tokens,
        estimate: worst.cost,
        bounded: worst.bounded,
    }
}

/// What cannot be metered is refused to callers under a money or token limit, unless the operator chose otherwise.
pub(super) fn check_meterable(settings: &Settings, vetted: &Vetted<'_>, bound: &Bound) -> Result<(), Denial> {
    let denied = vetted.view.route.api == Api::Unmeterable
        && settings.config.metering.unmeterable == Unmeterable::Deny
        && per_request(settings, vetted).is_none()
        && bound.needs_meter();
    if !denied {
        return Ok(());
    }
    Err(Denial::new(
        ErrorType::PermissionDenied,
        "metering.unmeterable",
        "The cost of this kind of request cannot be metered, and the caller is under a budget or token limit; the \
         operator may set metering.unmeterable",
    ))
}

/// A key with `throttle_on_budget_exceeded` whose own budget refuses keeps a share of its rate limits instead.
fn throttle(settings: &Settings, vetted: &Vetted<'_>, hold: &Hold, refuses: usize) -> Option<Bound> {
    let share = settings.config.litellm_settings.budget_exceeded_throttle_percentage?;
    let throttles = vetted.caller.identity.key.as_ref().is_some_and(|key| key.throttle_on_budget_exceeded);
    let of_key = |charge: &Charge<'_>| charge.counter.scope.kind() == ScopeKind::Key;
    let is_budget = |charge: &Charge<'_>| charge.counter.kind == Kind::Spend && of_key(charge);
    let is_rate = |charge: &Charge<'_>| matches!(charge.counter.kind, Kind::Requests | Kind::Tokens) && of_key(charge);
    let refused = hold.charge(refuses).is_some_and(|charge| is_budget(&charge));
    if !throttles || !refused || !hold.charges().any(|charge| is_rate(&charge)) {
        return None;
    }
    let throttled = |charge: &Charge<'_>| {
        let limit = match charge.limit {
            limit if limit > 0 && is_rate(charge) => ((limit as f64 * share) as Amount).max(1),
            limit => limit,
        };
        Limit { counter: charge.counter.clone(), limit, soft_limit: charge.soft_limit }
    };
    let kept = hold.charges().filter(|charge| !is_budget(charge));
    Some(Bound::with_limits(&hold.binding, kept.map(|charge| (throttled(&charge), charge.amount))))
}

/// A random name. Randomness is drawn for many names at once: what is left of it is no secret, since names are told.
pub(super) fn random_id() -> Result<HoldId, Denial> {
    const DRAWN: usize = 64;
    thread_local! {
        static NAMES: RefCell<([[u8; 16]; DRAWN], usize)> = const { RefCell::new(([[0; 16]; DRAWN], 0)) };
    }
    NAMES.with_borrow_mut(|(names, left)| {
        if *left == 0 {
            aws_lc_rs::rand::fill(names.as_flattened_mut())
                .map_err(|_| Denial::new(ErrorType::Internal, "internal.random", "no randomness is available"))?;
            *left = DRAWN;
        }
        *left -= 1;
        Ok(HoldId::new(names[*left]))
    })
}
