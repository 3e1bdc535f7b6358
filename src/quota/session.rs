//! Sessions: one metered response each. A session starts its hold, follows the bytes, tells how far it is, and settles
//! exactly once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::admission::Quota;
use super::counters::{CountersError, HoldState, Settled};
use crate::config::TokenRateLimitType;
use crate::domain::{Amount, Api, Hold, HoldId, Money, Progress, Record, RecordStatus, Timestamp, Usage};
use crate::request::rewrite::{RewriteAsk, rewrite};
use crate::spend::usage::{End, Meter, MeterLimits, Metered, Seen};
use crate::spend::{ModelPrice, PriceBook};

/// Streams that run now, for renewal.
#[derive(Default)]
pub(super) struct Running(Mutex<AHashMap<HoldId, Arc<Stream>>>);

/// How far one stream is, written by its session and read by the renewal task.
struct Stream {
    hold: Arc<Hold>,
    output_tokens: AtomicU64,
    price: Option<Arc<ModelPrice>>,
}

/// What sessions need to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct SessionSettings {
    pub ask_for_usage: bool,
    pub cap_output: bool,
    pub max_decoded_bytes: u64,
    pub token_rate_limit_type: TokenRateLimitType,
}

/// How a session ended, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub settled: Settled,
    pub cost: Money,
    pub estimated: bool,
    pub held: Money,
}

/// One response on its way.
pub struct Session {
    quota: Arc<Quota>,
    hold: Arc<Hold>,
    gateway: IpAddr,
    meter: Meter,
    stream: Arc<Stream>,
    settings: SessionSettings,
    started: bool,
    settled: bool,
}

impl Quota {
    /// Opens the session of a signed hold token; `None` where the token is not ours or was changed.
    #[must_use]
    pub fn open(self: &Arc<Self>, token: &str, gateway: IpAddr, settings: SessionSettings) -> Option<Session> {
        let hold = Arc::new(self.signer.verify(token).ok()?);
        let price = self.price_of(&hold);
        let meter = Meter::new(hold.api, MeterLimits { max_decoded_bytes: settings.max_decoded_bytes });
        let stream = Arc::new(Stream { hold: Arc::clone(&hold), output_tokens: AtomicU64::new(0), price });
        let quota = Arc::clone(self);
        Some(Session { quota, hold, gateway, meter, stream, settings, started: false, settled: false })
    }

    fn price_of(&self, hold: &Hold) -> Option<Arc<ModelPrice>> {
        if hold.priced_as.is_empty() {
            return None;
        }
        let book: Arc<PriceBook> = self.prices.version(&hold.price_version);
        book.find(&hold.priced_as)
    }

    /// Tells the counters how far every running stream is. Called every 15 s.
    pub async fn renew(&self) -> Result<(), CountersError> {
        let running: Vec<(Arc<Hold>, Progress)> = {
            let streams = self.running.0.lock();
            streams.values().map(|stream| (Arc::clone(&stream.hold), stream.progress())).collect()
        };
        if running.is_empty() {
            return Ok(());
        }
        let named: Vec<_> = running.iter().map(|(hold, progress)| (hold.id, *progress)).collect();
        self.books.progressed(&named);
        self.counters.renew(&running).await
    }
}

impl Stream {
    fn progress(&self) -> Progress {
        let output_tokens = self.output_tokens.load(Ordering::Relaxed);
        let usage = estimate(&self.hold, output_tokens);
        // Without a price of units the whole request has one, however far it is.
        let cost = self.price.as_ref().map_or(self.hold.estimate, |price| price.cost(&usage));
        Progress { input_tokens: usage.input_tokens, output_tokens, cost }
    }
}

/// The usage of a response that does not tell: the input as estimated from the request, and the output seen.
fn estimate(hold: &Hold, output_tokens: u64) -> Usage {
    Usage {
        input_tokens: hold.input_tokens,
        input_characters: hold.input_characters,
        output_tokens,
        ..Usage::default()
    }
}

impl Session {
    #[must_use]
    pub fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    /// The request body with `stream_options.include_usage` and the output cap, where the configuration asks for them
    /// and the body has none.
    #[must_use]
    pub fn rewrite_request(&self, body: &[u8]) -> Option<Vec<u8>> {
        let ask = RewriteAsk {
            include_usage: self.settings.ask_for_usage,
            output_cap: (self.settings.cap_output && self.hold.output_tokens > 0).then_some(self.hold.output_tokens),
        };
        rewrite(body, self.hold.api, ask)
    }

    /// The request reached the upstream.
    pub async fn started(&mut self) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let progress = self.stream.progress();
        self.quota.running.0.lock().insert(self.hold.id, Arc::clone(&self.stream));
        // Counters that hold the request have noted its start. One that they forgot or gave back runs all the same.
        match self.quota.counters.start(&self.hold, self.gateway, progress).await {
            Ok(HoldState::Held | HoldState::Started | HoldState::Settled) => {}
            Ok(HoldState::Absent | HoldState::Expired | HoldState::Released) => {
                self.quota.books.started(&self.hold, progress);
            }
            Err(error) => {
                self.quota.books.started(&self.hold, progress);
                // The hold stays; the settlement finds it, or it ends with its time.
                tracing::warn!(%error, hold = %self.hold.id, "the start of a request could not be counted");
            }
        }
    }

    pub fn response_headers(&mut self, status: u16, content_type: Option<&str>, content_encoding: Option<&str>) {
        self.meter.headers(status, content_type, content_encoding);
    }

    pub fn response_body(&mut self, chunk: &[u8]) {
        self.meter.body(chunk);
        self.stream.output_tokens.store(self.meter.progress().output_tokens, Ordering::Relaxed);
    }

    /// Settles: what was held is replaced by what was used. Only the first call does anything.
    pub async fn finished(&mut self, complete: bool) -> Option<Ended> {
        if std::mem::replace(&mut self.settled, true) {
            return None;
        }
        let metered = self.meter.finish(if complete { End::Complete } else { End::Aborted });
        let (usage, own, is_estimate) = bill(&self.hold, self.stream.price.as_deref(), &metered);
        let (helped, is_guess) = match &self.stream.price {
            Some(price) if !usage.helpers.is_empty() => {
                bill_helpers(&self.quota.prices.version(&self.hold.price_version), price, &usage)
            }
            _ => (Money::ZERO, false),
        };
        let (cost, estimated) = (own + helped, is_estimate || is_guess);
        let tokens = counted(&usage, self.settings.token_rate_limit_type);
        let record = Record {
            id: self.hold.id,
            sequence: 0,
            status: RecordStatus::Usage,
            admitted_at: self.hold.admitted_at,
            settled_at: Timestamp::now(),
            parties: self.hold.binding.parties.clone(),
            model: Arc::clone(&self.hold.binding.model),
            usage,
            cost,
            price_version: Arc::clone(&self.hold.price_version),
            estimated,
            accounts: self.hold.binding.accounts.clone(),
        };
        let settled = self.settle(tokens, record).await;
        self.quota.running.0.lock().remove(&self.hold.id);
        match settled {
            Ok(settled) => Some(Ended { settled, cost, estimated, held: self.hold.estimate }),
            Err(error) => {
                tracing::error!(%error, hold = %self.hold.id, "a settlement could not be counted; the hold's estimate stays");
                None
            }
        }
    }

    async fn settle(&self, tokens: Amount, record: Record) -> Result<Settled, CountersError> {
        let counters = &self.quota.counters;
        match counters.settle(&self.hold, tokens, record.clone(), false).await? {
            Settled::Forgotten if self.quota.books.knows(self.hold.id).await? => Ok(Settled::Duplicate),
            Settled::Forgotten => counters.settle(&self.hold, tokens, record, true).await,
            settled => Ok(settled),
        }
    }
}

/// Usage, cost, and whether they are estimated. `price` is `None` where the whole request has one price.
fn bill(hold: &Hold, price: Option<&ModelPrice>, metered: &Metered) -> (Usage, Money, bool) {
    if metered.failed {
        return (Usage::default(), Money::ZERO, false);
    }
    let flat = hold.priced_as.is_empty();
    match (&metered.usage, price) {
        (Some(told), Some(price)) => {
            let mut usage = told.clone();
            usage.input_characters = usage.input_characters.max(hold.input_characters);
            let cost = price.cost(&usage);
            // What is told has no price, and the model has one: it is paid by what was not told. Errors may cost nothing.
            if cost.is_zero() && !price.is_free() && !hold.estimate.is_zero() && metered.status < 400 {
                let guess = unreported(hold, &metered.seen);
                let cost = Some(price.cost(&guess)).filter(|cost| !cost.is_zero()).unwrap_or(hold.estimate);
                return (if told.is_empty() { guess } else { usage }, cost, true);
            }
            (usage, cost, !metered.complete)
        }
        (None, Some(price)) => {
            let usage = unreported(hold, &metered.seen);
            let cost = price.cost(&usage);
            let in_background = hold.api == Api::OpenAiResponses
                && (metered.in_background || (metered.complete && metered.seen.output_bytes == 0));
            let speaks_by_token = hold.api == Api::OpenAiSpeech && !is_paid_by_character(price);
            // Gemini tells usage in every answer, unless the client asks for other fields or another format only; it
            // thinks as well, which cannot be seen.
            let is_withheld = hold.api == Api::GeminiGenerate && metered.complete;
            // What the model is paid by was not to be seen (seconds, pages, images nobody waited for), or the answer is
            // made in the background, for whoever fetches it later: what was held stands.
            if in_background || speaks_by_token || is_withheld || (cost.is_zero() && !price.is_free()) {
                return (usage, cost.max(hold.estimate), true);
            }
            (usage, cost, !is_told_by_request(hold.api))
        }
        // One price for the whole request; or the model's price is gone, and what was held is booked and marked.
        (usage, None) => {
            let usage = usage.clone().unwrap_or_else(|| estimate(hold, metered.seen.output_tokens));
            (usage, hold.estimate, !flat)
        }
    }
}

/// What helpers cost, each by its own price, and whether one of them has none: it is paid like the model that it helped, at
/// least.
fn bill_helpers(book: &PriceBook, price: &ModelPrice, usage: &Usage) -> (Money, bool) {
    let bills = usage.helpers.iter().map(|helper| match book.find(&helper.model) {
        Some(own) if !own.is_unknown() => (own.cost(&helper.usage), false),
        unknown => {
            let cost = unknown.map_or(Money::ZERO, |unknown| unknown.cost(&helper.usage));
            (cost.max(price.cost(&helper.usage)), true)
        }
    });
    bills.fold((Money::ZERO, false), |(sum, guess), (cost, is_guess)| (sum + cost, guess || is_guess))
}

/// The usage of a response that does not tell, with the units that can be counted from outside.
fn unreported(hold: &Hold, seen: &Seen) -> Usage {
    Usage { output_images: seen.output_images, ..estimate(hold, seen.output_tokens) }
}

/// Where speech is paid by the token, how long it became is not told.
fn is_paid_by_character(price: &ModelPrice) -> bool {
    price.is_free() || !price.cost(&Usage { input_characters: 1_000, ..Usage::default() }).is_zero()
}

/// APIs whose units are known without the response saying so: characters spoken, images drawn.
const fn is_told_by_request(api: Api) -> bool {
    matches!(api, Api::OpenAiSpeech | Api::OpenAiImages)
}

fn counted(usage: &Usage, kind: TokenRateLimitType) -> Amount {
    let tokens = match kind {
        TokenRateLimitType::Total => usage.total_tokens(),
        TokenRateLimitType::Input => usage.all_input_tokens(),
        TokenRateLimitType::Output => usage.all_output_tokens(),
    };
    Amount::try_from(tokens).unwrap_or(Amount::MAX)
}

impl Drop for Session {
    /// A session that is dropped unsettled leaves its hold to expire, which books what it last reported.
    fn drop(&mut self) {
        if self.started && !self.settled {
            self.quota.running.0.lock().remove(&self.hold.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Amounts, Binding, Helper, Parties};

    fn hold(api: Api, model: &str) -> Hold {
        Hold {
            id: HoldId::new([1; 16]),
            admitted_at: Timestamp::millis(0),
            binding: Arc::new(Binding::new(Vec::new(), Vec::new(), Parties::default(), model.into())),
            amounts: Amounts::new(),
            api,
            priced_as: model.into(),
            price_version: "".into(),
            input_tokens: 100,
            input_characters: 0,
            output_tokens: 1_000,
            estimate: Money::nanos(7_000_000),
            bounded: true,
        }
    }

    fn billed(api: Api, model: &str, status: u16, media: &str, body: &str) -> (Money, bool) {
        let end = if status > 0 { End::Complete } else { End::Aborted };
        let price = PriceBook::builtin().find(model).unwrap();
        ended(api, &price, status, media, body, end)
    }

    fn ended(api: Api, price: &ModelPrice, status: u16, media: &str, body: &str, end: End) -> (Money, bool) {
        let mut meter = Meter::new(api, MeterLimits::default());
        if status > 0 {
            meter.headers(status, Some(media), None);
            meter.body(body.as_bytes());
        }
        let (_, cost, estimated) = bill(&hold(api, price.name()), Some(price), &meter.finish(end));
        (cost, estimated)
    }

    #[test]
    fn a_response_that_hides_what_it_is_paid_by_is_booked_as_it_was_held() {
        let held = (Money::nanos(7_000_000), true);
        let json = "application/json";
        let queued =
            r#"{"id":"resp_1","object":"response","status":"queued","background":true,"output":[],"usage":null}"#;
        for (api, model, status, media, body) in [
            (Api::OpenAiTranscription, "whisper-1", 200, "text/plain", "hello, this was a long recording"),
            (Api::OpenAiTranscription, "whisper-1", 200, json, r#"{"text":"hello"}"#),
            (Api::OpenAiTranscription, "whisper-1", 0, json, ""),
            (Api::OpenAiResponses, "gpt-4o", 200, json, queued),
            // With `fields=candidates`, and with `alt=proto`.
            (Api::GeminiGenerate, "gemini-2.5-flash", 200, json, r#"{"candidates":[{"finishReason":"STOP"}]}"#),
            (Api::GeminiGenerate, "gemini-2.5-flash", 200, "application/x-protobuf", "\u{a}\u{12}\u{a}\u{10}hello"),
            (Api::OpenAiTranscription, "whisper-1", 200, json, r#"{"text":"hello","usage":{"total_tokens":9}}"#),
            (Api::OpenAiTranscription, "whisper-1", 200, json, r#"{"text":"hello","usage":{"total_tokens":0}}"#),
        ] {
            assert_eq!(billed(api, model, status, media, body), held, "{model} {status} {body}");
        }
    }

    #[test]
    fn an_answer_that_is_made_in_the_background_is_booked_as_it_was_held_whenever_the_client_hangs_up() {
        let events = "text/event-stream";
        let price = PriceBook::builtin().find("gpt-4o").unwrap();
        let created = |background: bool| {
            let response = format!(r#"{{"id":"resp_1","status":"queued","background":{background},"usage":null}}"#);
            format!("data: {{\"type\":\"response.created\",\"response\":{response}}}\n\n")
        };
        let written = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\"}\n\n";
        let hung_up = |body: &str| ended(Api::OpenAiResponses, &price, 200, events, body, End::Aborted);
        let held = (Money::nanos(7_000_000), true);
        assert_eq!(hung_up(&created(true)), held);
        assert_eq!(hung_up(&(created(true) + written)), held);
        let (cost, estimated) = hung_up(&created(false));
        assert!(cost > Money::ZERO && cost < held.0 && estimated, "the upstream stops with the client: {cost}");
        let used = "data: {\"type\":\"response.completed\",\"response\":{\"background\":true,\"usage\":{\"input_tokens\":1000,\"output_tokens\":0}}}\n\n";
        assert_eq!(hung_up(&(created(true) + used)), (Money::nanos(2_500_000), false));
    }

    #[test]
    fn usage_that_has_no_price_is_booked_by_what_has_one() {
        let json = "application/json";
        let map = r#"{"sized": {"mode": "image_generation", "input_cost_per_image": 0.25},
            "seconds": {"mode": "audio_transcription", "input_cost_per_second": 5e-5}, "free": {"input_cost_per_token": 0}}"#;
        let book = PriceBook::build(Some(map.as_bytes()), &[], crate::config::UnknownModel::Zero).unwrap();
        let drawn =
            r#"{"data":[{"b64_json":"aGk="}],"usage":{"input_tokens":9,"output_tokens":6000,"total_tokens":6009}}"#;
        let heard = r#"{"text":"hi","usage":{"prompt_audio_seconds":100,"prompt_tokens":4,"completion_tokens":9}}"#;
        let (image, seconds) = (Money::nanos(250_000_000), Money::nanos(5_000_000));
        for (api, model, status, body, expected) in [
            (Api::OpenAiImages, "sized", 200, drawn, (image, false)),
            (Api::OpenAiTranscription, "seconds", 200, heard, (seconds, false)),
            (Api::OpenAiTranscription, "seconds", 500, r#"{"usage":{"total_tokens":0}}"#, (Money::ZERO, false)),
            (Api::OpenAiChat, "free", 200, r#"{"usage":{"prompt_tokens":4}}"#, (Money::ZERO, false)),
        ] {
            let price = book.find(model).unwrap();
            assert_eq!(ended(api, &price, status, json, body, End::Complete), expected, "{model} {status}");
        }
    }

    #[test]
    fn an_upstream_that_failed_costs_nothing_and_one_that_tells_costs_what_it_tells() {
        let json = "application/json";
        let failed = billed(Api::OpenAiTranscription, "whisper-1", 503, json, r#"{"error":{"message":"busy"}}"#);
        assert_eq!(failed, (Money::ZERO, false));
        let told = r#"{"text":"hello","usage":{"type":"duration","seconds":60}}"#;
        let told = billed(Api::OpenAiTranscription, "whisper-1", 200, json, told);
        assert_eq!(told, (Money::nanos(6_000_000), false));
    }

    #[test]
    fn helpers_are_paid_by_their_own_prices() {
        let map = r#"{"cheap": {"input_cost_per_token": 1e-6, "output_cost_per_token": 0},
            "dear": {"input_cost_per_token": 1e-5, "output_cost_per_token": 0}}"#;
        let book = PriceBook::build(Some(map.as_bytes()), &[], crate::config::UnknownModel::Deny).unwrap();
        let price = book.find("cheap").unwrap();
        let helped = |helpers: &[(&str, u64)]| {
            let helper = |(model, input_tokens): &(&str, u64)| Helper {
                model: (*model).to_owned(),
                usage: Usage { input_tokens: *input_tokens, ..Usage::default() },
            };
            let usage = Usage { input_tokens: 5, helpers: helpers.iter().map(helper).collect(), ..Usage::default() };
            let (cost, is_guess) = bill_helpers(&book, &price, &usage);
            (cost.as_nanos(), is_guess, usage.total_tokens())
        };
        assert_eq!(helped(&[]), (0, false, 5));
        assert_eq!(helped(&[("dear", 100), ("cheap", 100)]), (1_100_000, false, 205));
        assert_eq!(helped(&[("dear", 100), ("nobody knows", 100)]), (1_100_000, true, 205));
    }

    #[test]
    fn a_request_of_one_price_has_that_price_from_its_start() {
        let hold = Arc::new(hold(Api::Unmeterable, ""));
        let stream = Stream { hold, output_tokens: AtomicU64::new(0), price: None };
        assert_eq!(stream.progress().cost, Money::nanos(7_000_000));
    }

    #[test]
    fn a_client_that_hangs_up_early_pays_for_its_input() {
        let (cost, estimated) = billed(Api::OpenAiChat, "gpt-4o", 0, "", "");
        assert!(cost > Money::ZERO && cost < Money::nanos(7_000_000) && estimated, "{cost}");
    }
}
