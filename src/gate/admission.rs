//! From a vetted request to an allowed one: what it may cost at most, the hold for it, and everything the upstream and
//! the client receive.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::upstream::{self, Facts};
use super::{Gate, ModelUse, Settings, Vetted, allow_public};
use crate::config::{InputBound, Reserve, TokenRateLimitType, Unmeterable, UpstreamIdentity};
use crate::domain::{
    Allow, Amount, Api, Charge, Denial, ErrorType, Hold, HoldId, Kind, Money, Price, PromptSize, ScopeKind, Timestamp,
};
use crate::quota::counters::Terms;
use crate::quota::{Admitted, Ask, AskModel, Bound, Plan, Refused, TokenHold, headers, refusal};
use crate::request::{BodyView, HttpRequest};
use crate::spend::PriceBook;
use crate::spend::price::{Dearest, ModelPrice};

/// Recordings are taken for 32 kbit/s, as speech is often compressed: what is denser is shorter.
const AUDIO_BYTES_A_MILLISECOND: u64 = 4;

/// What a request may cost at most.
pub(super) struct Worst<'v> {
    /// Of several models the dearest.
    pub model: Option<&'v ModelUse>,
    pub price: Option<Arc<ModelPrice>>,
    /// Of the book that `price` and `cost` are from.
    pub price_version: Arc<str>,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Nothing says how long the output may be: neither the request nor its key nor the model.
    pub guessed: bool,
    pub choices: u64,
    pub cost: Money,
    pub bounded: bool,
    pub free: bool,
}

impl Gate {
    pub(super) async fn admit(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        now: Timestamp,
    ) -> Result<Allow, Denial> {
        if vetted.is_public {
            return Ok(allow_public(http, vetted.caller.clone()));
        }
        let id = random_id()?;
        if !is_charged(settings, vetted) {
            return Ok(self.allow(settings, http, vetted, id, None));
        }
        let plan = settings.plans.of(&vetted.caller, &settings.config, now);
        let worst = self.worst(settings, vetted)?;
        let mut bound = self.bind(settings, vetted, &plan, &worst, now).await?;
        check_meterable(settings, vetted, &bound)?;
        let terms =
            Terms { gateway: http.gateway, meter_required: settings.config.metering.required && bound.needs_meter() };
        let patience = Duration::from_millis(settings.config.quota.release_wait_ms);
        let mut throttled = false;
        let mut again = true;
        let admitted = loop {
            let hold = self.hold(vetted, &plan, &worst, bound, id, now);
            let refused = match self.quota.admit(hold, terms, patience).await {
                Ok(admitted) => break admitted,
                Err(refused) => refused,
            };
            let next = match &refused {
                Refused::WrongPeriod { now } if std::mem::take(&mut again) => {
                    Some(self.bind(settings, vetted, &plan, &worst, *now).await?)
                }
                Refused::Limit { hold, refusal } if !std::mem::replace(&mut throttled, true) => {
                    throttle(settings, vetted, hold, refusal.charge)
                }
                _ => None,
            };
            bound = next.ok_or_else(|| {
                let status = settings.config.litellm_settings.budget_exceeded_status_code;
                refusal::denial(&refused, &vetted.caller, status, now)
            })?;
        };
        Ok(self.allow(settings, http, vetted, id, Some(&admitted)))
    }

    /// The dearest case this request can reach.
    pub(super) fn worst<'v>(&self, settings: &Settings, vetted: &'v Vetted<'_>) -> Result<Worst<'v>, Denial> {
        let config = &*settings.config;
        let book = self.quota.prices().current();
        // The whole request has one price, known beforehand.
        let flat = |cost: Money, free: bool| Worst {
            model: vetted.models.first(),
            price: None,
            price_version: Arc::clone(book.version()),
            input_tokens: 0,
            output_tokens: 0,
            guessed: false,
            choices: 1,
            cost,
            bounded: true,
            free,
        };
        if let Some(cost) = per_request(settings, vetted) {
            return Ok(flat(cost, cost.is_zero()));
        }
        if vetted.view.route.api == Api::Unmeterable {
            return Ok(match config.metering.unmeterable {
                Unmeterable::Price { price } => {
                    let cost = dollars(price);
                    flat(cost, cost.is_zero())
                }
                Unmeterable::Allow => flat(Money::ZERO, true),
                // What it costs nobody knows: every budget binds, so that whoever has one is refused.
                Unmeterable::Deny => flat(Money::ZERO, false),
            });
        }
        let mut dearest: Option<Worst<'v>> = None;
        for model in &vetted.models {
            let worst = worst_of(settings, vetted, &book, model)?;
            // Of two that cost nothing at admission the one that is not free on purpose stands.
            if dearest.as_ref().is_none_or(|known| (known.cost, !known.free) < (worst.cost, !worst.free)) {
                dearest = Some(worst);
            }
        }
        dearest.ok_or_else(|| {
            Denial::new(
                ErrorType::BadRequest,
                "model.missing",
                "The request names no model, so its access and cost cannot be checked; set \"model\"",
            )
            .param("model")
        })
    }

    pub(super) async fn bind(
        &self,
        settings: &Settings,
        vetted: &Vetted<'_>,
        plan: &Plan,
        worst: &Worst<'_>,
        now: Timestamp,
    ) -> Result<Bound, Denial> {
        let registry = self.directory.registry().await.map_err(|error| super::unavailable(&error))?;
        let models: SmallVec<[AskModel<'_>; 1]> = vetted
            .models
            .iter()
            .map(|model| AskModel {
                names: [&model.name, &model.target],
                groups: &model.groups,
                default_limits: settings.default_key_limits.get(&model.name),
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
        let ask = Ask {
            models: &models,
            end_user: vetted.end_user.as_deref(),
            tags: &vetted.tags,
            registry: &registry,
            tokens: if reserve { tokens } else { TokenHold::default() },
            cost: (!worst.free).then_some(if reserve_money { worst.cost } else { Money::nanos(1) }),
        };
        Ok(plan.bind(&vetted.caller, &ask, &settings.periods, now))
    }

    fn hold(&self, vetted: &Vetted<'_>, plan: &Plan, worst: &Worst, bound: Bound, id: HoldId, now: Timestamp) -> Hold {
        let mut parties = plan.parties.clone();
        parties.end_user_id = vetted.end_user.as_ref().map(|end_user| Arc::clone(&end_user.user_id));
        parties.tags.clone_from(&vetted.tags);
        let model = worst.model;
        let body = vetted.view.body.as_ref().ok();
        Hold {
            id,
            admitted_at: now,
            charges: bound.charges,
            accounts: bound.accounts,
            parties,
            api: vetted.view.route.api,
            model: model.map_or_else(|| vetted.view.route.api.as_str().into(), |model| Arc::clone(&model.name)),
            priced_as: worst.price.as_ref().map_or_else(|| "".into(), |price| Arc::clone(price.name())),
            price_version: Arc::clone(&worst.price_version),
            input_tokens: worst.input_tokens,
            input_characters: body.map_or(0, |body| body.prompt.text_bytes),
            output_tokens: worst.output_tokens,
            estimate: worst.cost,
            bounded: worst.bounded,
        }
    }

    fn allow(
        &self,
        settings: &Settings,
        http: &HttpRequest<'_>,
        vetted: &Vetted<'_>,
        id: HoldId,
        admitted: Option<&Admitted>,
    ) -> Allow {
        let config = &settings.config.request;
        let caller = &vetted.caller;
        let model = vetted.models.first().map(|model| &*model.name);
        let end_user = vetted.end_user.as_ref().map(|end_user| &*end_user.user_id);
        let provider = model.and_then(|model| settings.provider_keys.header(model, http));
        let which = if provider.is_some() { UpstreamIdentity::None } else { config.upstream_identity };
        let request_id = id.to_string();
        let facts = Facts { request_id: request_id.clone(), caller, model, end_user, tags: &vetted.tags };
        let mut upstream_headers = upstream::identity_headers(&facts, which);
        let mut remove_headers = upstream::client_copies(http, &upstream_headers);
        let (header, query) = upstream::credential_place(&vetted.view.credential);
        match provider {
            Some(provider) => {
                remove_headers.extend(upstream::other_credentials(http, &provider.0));
                remove_headers.extend(header.filter(|name| *name != provider.0));
                upstream_headers.push(provider);
            }
            None => remove_headers.extend(header),
        }
        let mut metadata: Vec<(Cow<'static, str>, String)> =
            vec![(Cow::Borrowed("decision"), "allow".to_owned()), (Cow::Borrowed("request_id"), request_id.clone())];
        let mut note = |name: &'static str, value: Option<&str>| {
            if let Some(value) = value {
                metadata.push((Cow::Borrowed(name), value.to_owned()));
            }
        };
        note("user_id", caller.user_id().map(|id| &**id));
        note("team_id", caller.team_id().map(|id| &**id));
        note("key_alias", caller.identity.key.as_ref().and_then(|key| key.key_alias.as_deref()));
        note("model", model);
        let mut response_headers = vec![(Cow::Borrowed("x-tollward-request-id"), request_id)];
        if let Some(admitted) = admitted {
            metadata.push((Cow::Borrowed("tollward_hold"), self.quota.token(&admitted.hold)));
            response_headers.extend(headers::of_admission(&admitted.hold.charges, &admitted.remaining));
        }
        Allow {
            caller: caller.clone(),
            upstream_headers,
            remove_headers,
            remove_query: query.into_iter().collect(),
            response_headers,
            metadata,
            hold: admitted.map(|admitted| admitted.hold.id),
        }
    }
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
        let ours = allow.upstream_headers.into_iter().filter(|(name, _)| name.starts_with("x-tollward-"));
        ours.filter(|(name, _)| name != "x-tollward-request-id")
            .map(|(name, value)| (name.into_owned(), value))
            .collect()
    }
}

impl Worst<'_> {
    fn output(&self) -> u64 {
        self.output_tokens.saturating_mul(self.choices)
    }
}

/// The dearest case if this model answers.
fn worst_of<'v>(
    settings: &Settings,
    vetted: &Vetted<'_>,
    book: &PriceBook,
    model: &'v ModelUse,
) -> Result<Worst<'v>, Denial> {
    let api = vetted.view.route.api;
    let default_body = BodyView::default();
    let body = vetted.view.body.as_ref().unwrap_or(&default_body);
    let price = priced(book, model, body).ok_or_else(|| {
        Denial::new(
            ErrorType::ModelCostMapMissing,
            "model.unpriced",
            "This model has no price, so its use cannot be accounted; the operator must price it in model_list or \
             the price map, or set metering.unknown_model",
        )
        .param("model")
    })?;
    let quota = &settings.config.quota;
    let choices = body.choices.clamp(1, 1_024);
    let OutputBound { tokens: output_tokens, capped, guessed } = output_bound(settings, vetted, model, body, &price);
    let input_tokens = estimated_input(&body.prompt, quota.image_tokens);
    let bound_input = match quota.input_bound {
        InputBound::Bytes => bounded_input(&body.prompt, quota.image_tokens),
        InputBound::Estimate => input_tokens,
    };
    let cost = price.dearest(&Dearest {
        input_tokens: bound_input,
        output_tokens,
        choices,
        images_out: if api == Api::OpenAiImages { choices } else { 0 },
        image_size: body.image_size.as_deref(),
        image_quality: body.image_quality.as_deref(),
        input_characters: body.prompt.text_bytes,
        media_millis: body.prompt.audio_bytes.div_ceil(AUDIO_BYTES_A_MILLISECOND),
        pages: 0,
        service_tier: body.service_tier.as_deref(),
    });
    let free = price.is_free();
    let bounded = quota.input_bound == InputBound::Bytes && capped;
    let (model, price) = (Some(model), Some(price));
    let price_version = Arc::clone(book.version());
    Ok(Worst { model, price, price_version, input_tokens, output_tokens, guessed, choices, cost, bounded, free })
}

/// Output tokens of one choice at most.
struct OutputBound {
    tokens: u64,
    /// Something enforces it.
    capped: bool,
    /// Nobody said it: it is the configured default.
    guessed: bool,
}

fn output_bound(
    settings: &Settings,
    vetted: &Vetted<'_>,
    model: &ModelUse,
    body: &BodyView<'_>,
    price: &ModelPrice,
) -> OutputBound {
    if matches!(
        vetted.view.route.api,
        Api::OpenAiEmbeddings | Api::OpenAiModeration | Api::OpenAiRerank | Api::GeminiEmbed | Api::Ocr
    ) {
        return OutputBound { tokens: 0, capped: true, guessed: false };
    }
    let most = price.max_output_tokens().unwrap_or(u64::MAX);
    if let Some(asked) = body.max_tokens {
        return OutputBound { tokens: asked.min(most), capped: true, guessed: false };
    }
    let key = vetted.caller.identity.key.as_ref();
    let of_key = key.and_then(|key| {
        let per_model = key.default_estimated_output_tokens_per_model.get(&*model.name);
        per_model.copied().or(key.default_estimated_output_tokens)
    });
    let quota = &settings.config.quota;
    let known = of_key.or(price.default_output_tokens());
    let tokens = known.unwrap_or(quota.default_output_tokens).min(most);
    OutputBound { tokens, capped: quota.cap_output, guessed: known.is_none() && !quota.cap_output }
}

/// The price of the model: of its public name where `model_list` has one, else of what aliases made of it. Images may be
/// priced by size and quality.
fn priced(book: &PriceBook, model: &ModelUse, body: &BodyView<'_>) -> Option<Arc<ModelPrice>> {
    let find = |name: &str| {
        let by_size = body.image_size.is_some() || body.image_quality.is_some();
        let image = || book.find_image(name, body.image_size.as_deref(), body.image_quality.as_deref());
        by_size.then(image).flatten().or_else(|| book.find(name))
    };
    if model.name == model.target {
        return find(&model.name);
    }
    find(&model.target).filter(|price| !price.is_unknown()).or_else(|| find(&model.name))
}

/// Four bytes a token, images by table.
fn estimated_input(prompt: &PromptSize, image_tokens: u64) -> u64 {
    let text = prompt.text_bytes.div_ceil(4);
    let images = u64::from(prompt.images).saturating_mul(image_tokens);
    text.saturating_add(images).saturating_add(prompt.audio_bytes / 256).saturating_add(prompt.file_bytes / 16)
}

/// No tokeniser makes more tokens than there are bytes; inline media counts by table.
fn bounded_input(prompt: &PromptSize, image_tokens: u64) -> u64 {
    let text = prompt.body_bytes.saturating_sub(prompt.media_bytes);
    let images = u64::from(prompt.images).saturating_mul(image_tokens);
    text.saturating_add(images).saturating_add(prompt.audio_bytes / 64).saturating_add(prompt.file_bytes)
}

/// Whether a request is held and booked: one that asks a model, or whose endpoint has a price.
pub(super) fn is_charged(settings: &Settings, vetted: &Vetted<'_>) -> bool {
    vetted.view.route.api.is_billable() || per_request(settings, vetted).is_some()
}

/// What the pass-through endpoint of this path costs (`cost_per_request`), where its usage cannot be read.
fn per_request(settings: &Settings, vetted: &Vetted<'_>) -> Option<Money> {
    let route = &vetted.view.route;
    if !matches!(route.api, Api::NotModel | Api::Free | Api::Unmeterable) {
        return None;
    }
    settings.routes.pass_through(vetted.view.http.method, &route.path)?.cost_per_request.map(dollars)
}

fn dollars(amount: f64) -> Money {
    Money::from_femtos(Price::from_dollars(amount).unwrap_or(Price::ZERO).times(1))
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
    let of_key = |charge: &Charge| charge.counter.scope.kind() == ScopeKind::Key;
    let is_budget = |charge: &Charge| charge.counter.kind == Kind::Spend && of_key(charge);
    let is_rate = |charge: &Charge| matches!(charge.counter.kind, Kind::Requests | Kind::Tokens) && of_key(charge);
    if !throttles || !is_budget(&hold.charges[refuses]) || !hold.charges.iter().any(is_rate) {
        return None;
    }
    let mut charges: Vec<Charge> = hold.charges.iter().filter(|charge| !is_budget(charge)).cloned().collect();
    for charge in charges.iter_mut().filter(|charge| is_rate(charge) && charge.limit > 0) {
        charge.limit = ((charge.limit as f64 * share) as Amount).max(1);
    }
    Some(Bound { charges, accounts: hold.accounts.clone() })
}

fn random_id() -> Result<HoldId, Denial> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Denial::new(ErrorType::Internal, "internal.random", "no randomness is available"))?;
    Ok(HoldId::new(bytes))
}
