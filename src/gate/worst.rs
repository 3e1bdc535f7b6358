//! The dearest case a request can reach: over every model it may use, what it may cost and how many tokens it may take.

use std::sync::Arc;

use super::{Gate, ModelUse, Settings, Vetted};
use crate::config::{InputBound, Quota, Unmeterable};
use crate::domain::{Api, Denial, ErrorType, Key, Money, Price, PromptSize};
use crate::request::rewrite::takes_cap;
use crate::request::{BodyView, RequestView};
use crate::spend::PriceBook;
use crate::spend::price::{Dearest, ModelPrice};

/// Choices (`n`, `best_of`, `candidateCount`) of one request; no provider gives more.
const MAX_CHOICES: u64 = 1_024;

/// Recordings are taken for 32 kbit/s, as speech is often compressed: what is denser is shorter.
const AUDIO_BYTES_A_MILLISECOND: u64 = 4;

/// Bytes a page of a document is taken for where nobody says how many it has, and the most pages one is taken for.
const BYTES_A_PAGE: u64 = 64 * 1024;
const MAX_PAGES: u64 = 1_000;

/// Members of a body that stand for input which is not in it (earlier turns, caches), or that make the provider read it
/// more than once.
const ELSEWHERE: &[&str] =
    &["previous_response_id", "conversation", "cachedContent", "cached_content", "context_management"];

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
    /// The dearest case this request can reach.
    pub(super) fn worst<'v>(&self, settings: &Settings, vetted: &'v Vetted<'_>) -> Result<Worst<'v>, Denial> {
        let config = &*settings.config;
        let book = self.quota.prices().current();
        // The whole request has one price, known beforehand.
        let flat = |cost: Money, free: bool| Worst {
            model: vetted.model(),
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
        let asked = Asked { view: &vetted.view, key: vetted.caller.identity.key.as_ref(), quota: &config.quota };
        let dearest = dearest(&asked, &book, &vetted.models)?;
        dearest.ok_or_else(|| {
            Denial::new(
                ErrorType::BadRequest,
                "model.missing",
                "The request names no model, so its access and cost cannot be checked; set \"model\"",
            )
            .param("model")
        })
    }
}

impl Worst<'_> {
    pub fn output(&self) -> u64 {
        self.output_tokens.saturating_mul(self.choices)
    }
}

/// What the dearest case is worked out of, whichever model answers.
struct Asked<'a> {
    view: &'a RequestView<'a>,
    key: Option<&'a Key>,
    quota: &'a Quota,
}

/// The dearest case of all models that may answer, and of each that helps.
fn dearest<'v>(asked: &Asked<'_>, book: &PriceBook, models: &'v [ModelUse]) -> Result<Option<Worst<'v>>, Denial> {
    let mut dearest: Option<Worst<'v>> = None;
    for model in models.iter().filter(|model| !model.helps) {
        let worst = worst_of(asked, book, model)?;
        // Of two that cost nothing at admission the one that is not free on purpose stands.
        if dearest.as_ref().is_none_or(|known| (known.cost, !known.free) < (worst.cost, !worst.free)) {
            dearest = Some(worst);
        }
    }
    let Some(mut dearest) = dearest else { return Ok(None) };
    for model in models.iter().filter(|model| model.helps) {
        // Nobody says how often it is asked: once is held, and what it comes to is booked.
        let helper = worst_of(asked, book, model)?;
        dearest.cost += helper.cost;
        dearest.free &= helper.free;
        dearest.bounded = false;
    }
    Ok(Some(dearest))
}

/// The dearest case if this model answers.
fn worst_of<'v>(asked: &Asked<'_>, book: &PriceBook, model: &'v ModelUse) -> Result<Worst<'v>, Denial> {
    let api = asked.view.route.api;
    let default_body = BodyView::default();
    let body = asked.view.body.as_ref().unwrap_or(&default_body);
    let price = priced(book, api, model, body).ok_or_else(|| {
        Denial::new(
            ErrorType::ModelCostMapMissing,
            "model.unpriced",
            "This model has no price, so its use cannot be accounted; the operator must price it in model_list or \
             the price map, or set metering.unknown_model",
        )
        .param("model")
    })?;
    let quota = asked.quota;
    if body.choices > MAX_CHOICES {
        let message = format!("The request asks for {} choices; ask for {MAX_CHOICES} at most", body.choices);
        return Err(Denial::new(ErrorType::BadRequest, "request.choices", message).param("n"));
    }
    let choices = body.choices.max(1).saturating_mul(body.prompts.max(1));
    let OutputBound { tokens: output_tokens, capped, guessed } = output_bound(asked, model, body, &price);
    let input_tokens = estimated_input(&body.prompt, quota.image_tokens);
    let bound_input = match quota.input_bound {
        InputBound::Bytes => bounded_input(&body.prompt, quota.image_tokens),
        InputBound::Estimate => input_tokens,
    };
    let dearest = Dearest {
        input_tokens: bound_input,
        output_tokens,
        choices,
        images_out: if api == Api::OpenAiImages || price.makes_images() { choices } else { 0 },
        input_characters: body.prompt.text_bytes,
        media_millis: body.prompt.audio_bytes.div_ceil(AUDIO_BYTES_A_MILLISECOND),
        pages: if api == Api::Ocr { pages(&body.prompt) } else { 0 },
        service_tier: body.service_tier.as_deref(),
        is_fast: body.is_fast,
        // A workspace may ask for it without the request saying so.
        is_regional: api == Api::AnthropicMessages,
    };
    // An image paid by its tokens has as many as its size and quality make of it, which lists tell by a price.
    let drawn = sized(book, api, &price, body).map_or(Money::ZERO, |sized| sized.dearest(&dearest));
    let cost = price.dearest(&dearest).max(drawn);
    let free = price.is_free();
    let bounded = quota.input_bound == InputBound::Bytes && capped && !has_input_elsewhere(api, body);
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

fn output_bound(asked: &Asked<'_>, model: &ModelUse, body: &BodyView<'_>, price: &ModelPrice) -> OutputBound {
    match asked.view.route.api {
        Api::OpenAiEmbeddings | Api::OpenAiModeration | Api::OpenAiRerank | Api::GeminiEmbed => {
            return OutputBound { tokens: 0, capped: true, guessed: false };
        }
        // Nobody says how many pages a document has.
        Api::Ocr => return OutputBound { tokens: 0, capped: false, guessed: false },
        _ => {}
    }
    let most = price.max_output_tokens().unwrap_or(u64::MAX);
    if let Some(cap) = body.max_tokens {
        return OutputBound { tokens: cap.min(most), capped: true, guessed: false };
    }
    let of_key = asked.key.and_then(|key| {
        let per_model = key.default_estimated_output_tokens_per_model.get(&*model.name);
        per_model.copied().or(key.default_estimated_output_tokens)
    });
    let known = of_key.or(price.default_output_tokens());
    let tokens = known.unwrap_or(asked.quota.default_output_tokens).min(most);
    let capped = asked.quota.cap_output && can_be_capped(asked.view);
    OutputBound { tokens, capped, guessed: known.is_none() && !capped }
}

/// Whether a cap can be written into the body: bytes are spliced, so it must be JSON as it is sent.
fn can_be_capped(view: &RequestView<'_>) -> bool {
    let is_plain = |coding: &[u8]| matches!(coding.trim_ascii(), b"" | b"identity");
    let is_object = view.http.body.is_some_and(|body| body.trim_ascii_start().starts_with(b"{"));
    takes_cap(view.route.api) && is_object && view.http.headers.all("content-encoding").all(is_plain)
}

fn has_input_elsewhere(api: Api, body: &BodyView<'_>) -> bool {
    // The `prompt` of a response is the name of a stored one.
    let is_stored = |key: &str| api == Api::OpenAiResponses && key == "prompt";
    body.prompt.refers || body.keys.iter().any(|key| ELSEWHERE.contains(&&**key) || is_stored(key))
}

/// The price of the model: of its public name where `model_list` has one, else of what aliases made of it. Images may be
/// priced by size and quality.
fn priced(book: &PriceBook, api: Api, model: &ModelUse, body: &BodyView<'_>) -> Option<Arc<ModelPrice>> {
    let find = |name: &str| {
        let own = book.find(name);
        let by_token = |own: &Arc<ModelPrice>| own.is_paid_by_image_token() && !own.is_unknown();
        if api != Api::OpenAiImages || own.as_ref().is_some_and(by_token) {
            return own;
        }
        book.find_image(name, body.image_size.as_deref(), body.image_quality.as_deref()).or(own)
    };
    if model.name == model.target {
        return find(&model.name);
    }
    find(&model.target).filter(|price| !price.is_unknown()).or_else(|| find(&model.name))
}

/// What an image of this size and quality costs, of a model that is paid by its tokens.
fn sized(book: &PriceBook, api: Api, price: &ModelPrice, body: &BodyView<'_>) -> Option<Arc<ModelPrice>> {
    let is_drawn = api == Api::OpenAiImages && price.is_paid_by_image_token();
    let find = || book.find_image(price.name(), body.image_size.as_deref(), body.image_quality.as_deref());
    is_drawn.then(find).flatten()
}

/// Pages of a document, by its size; one that is elsewhere has one at least.
fn pages(prompt: &PromptSize) -> u64 {
    prompt.body_bytes.div_ceil(BYTES_A_PAGE).clamp(1, MAX_PAGES)
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
pub(super) fn per_request(settings: &Settings, vetted: &Vetted<'_>) -> Option<Money> {
    let route = &vetted.view.route;
    if !matches!(route.api, Api::NotModel | Api::Free | Api::Unmeterable) {
        return None;
    }
    settings.routes.pass_through(vetted.view.http.method, &route.path)?.cost_per_request.map(dollars)
}

fn dollars(amount: f64) -> Money {
    Money::from_femtos(Price::from_dollars(amount).unwrap_or(Price::ZERO).times(1))
}

#[cfg(test)]
mod tests;
