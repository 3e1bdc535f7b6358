//! Sessions: one metered response each. A session starts its hold, follows the bytes, tells how far it is, and settles
//! exactly once.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

use super::admission::Quota;
use super::counters::{CountersError, Settled};
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
        let running: Vec<(HoldId, Progress)> = {
            let streams = self.running.0.lock();
            streams.iter().map(|(id, stream)| (*id, stream.progress())).collect()
        };
        if running.is_empty() {
            return Ok(());
        }
        self.books.progressed(&running);
        self.counters.renew(&running).await
    }
}

impl Stream {
    fn progress(&self) -> Progress {
        let output_tokens = self.output_tokens.load(Ordering::Relaxed);
        let usage = estimate(&self.hold, output_tokens);
        let cost = self.price.as_ref().map_or(Money::ZERO, |price| price.cost(&usage));
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
        self.quota.books.started(&self.hold, progress);
        if let Err(error) = self.quota.counters.start(&self.hold, self.gateway, progress).await {
            // The hold stays; the settlement finds it, or it ends with its time.
            tracing::warn!(%error, hold = %self.hold.id, "the start of a request could not be counted");
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
        let (usage, cost, estimated) = self.bill(&metered);
        let tokens = counted(&usage, self.settings.token_rate_limit_type);
        let record = Record {
            id: self.hold.id,
            sequence: 0,
            status: RecordStatus::Usage,
            admitted_at: self.hold.admitted_at,
            settled_at: Timestamp::now(),
            parties: self.hold.parties.clone(),
            model: Arc::clone(&self.hold.model),
            usage,
            cost,
            price_version: Arc::clone(&self.hold.price_version),
            estimated,
            accounts: self.hold.accounts.clone(),
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

    /// Usage, cost, and whether they are estimated.
    fn bill(&self, metered: &Metered) -> (Usage, Money, bool) {
        let price = self.stream.price.as_deref();
        if metered.failed {
            return (Usage::default(), Money::ZERO, false);
        }
        let flat = self.hold.priced_as.is_empty();
        match (&metered.usage, price) {
            (Some(usage), Some(price)) => {
                let mut usage = usage.clone();
                usage.input_characters = usage.input_characters.max(self.hold.input_characters);
                let cost = price.cost(&usage);
                (usage, cost, !metered.complete)
            }
            (None, Some(price)) => {
                let usage = unreported(&self.hold, &metered.seen);
                let cost = price.cost(&usage);
                (usage, cost, !is_told_by_request(self.hold.api))
            }
            // One price for the whole request; or the model's price is gone, and what was held is booked and marked.
            (usage, None) => {
                let usage = usage.clone().unwrap_or_else(|| estimate(&self.hold, metered.seen.output_tokens));
                (usage, self.hold.estimate, !flat)
            }
        }
    }
}

/// The usage of a response that does not tell, with the units that can be counted from outside.
fn unreported(hold: &Hold, seen: &Seen) -> Usage {
    Usage { output_images: seen.output_images, ..estimate(hold, seen.output_tokens) }
}

/// APIs whose units are known without the response saying so: characters spoken, images drawn.
const fn is_told_by_request(api: Api) -> bool {
    matches!(api, Api::OpenAiSpeech | Api::OpenAiImages)
}

fn counted(usage: &Usage, kind: TokenRateLimitType) -> Amount {
    let tokens = match kind {
        TokenRateLimitType::Total => usage.total_tokens(),
        TokenRateLimitType::Input => usage.input_tokens,
        TokenRateLimitType::Output => usage.output_tokens,
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
