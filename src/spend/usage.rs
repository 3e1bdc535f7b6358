//! Usage, read from a response as its bytes pass. A meter never fails and never holds a body: it skims, keeps what the
//! provider tells of usage, and measures the text besides, so that a response that tells nothing can be estimated. Only
//! usage in its own place counts; what a model writes cannot change its bill.

mod anthropic;
mod bedrock;
mod eventstream;
mod gemini;
mod json;
mod openai;
mod sse;
mod tally;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use self::eventstream::{Frames, Message};
use self::json::Skimmer;
use self::sse::{Events, Piece};
use self::tally::Tally;
use super::decode::Decoder;
use crate::domain::{Api, Helper, Usage};

/// Bounds of one meter.
#[derive(Clone, Copy, Debug)]
pub struct MeterLimits {
    /// Bytes a compressed body is decoded to at most; beyond them it is estimated.
    pub max_decoded_bytes: u64,
}

impl Default for MeterLimits {
    fn default() -> Self {
        MeterLimits { max_decoded_bytes: 256 * 1024 * 1024 }
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Complete,
    /// The client hung up, or the upstream broke off.
    Aborted,
}

/// What was seen of a response so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// As reported; 0 where nothing was.
    pub input_tokens: u64,
    /// As reported, else a quarter of the bytes of text seen, rounded up.
    pub output_tokens: u64,
    pub output_images: u64,
    /// Bytes of text put out; of the whole body where it is not of a format that is read (audio, broken data).
    pub output_bytes: u64,
}

/// What a response used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// As the provider reported it. Where `complete` is not set its output is at least what was seen.
    pub usage: Option<Usage>,
    pub seen: Seen,
    /// 0 where the response never came.
    pub status: u16,
    /// The model as the response names it.
    pub model: Option<String>,
    /// The upstream answered with an error and told no usage.
    pub failed: bool,
    /// The response was read to its end, or its last usage was.
    pub complete: bool,
    /// The upstream said that it goes on with the answer whoever reads it.
    pub in_background: bool,
}

/// The meter of one response.
pub struct Meter {
    limits: MeterLimits,
    status: u16,
    decoder: Decoder,
    /// Bytes as they came, and whether they could all be decoded.
    raw_bytes: u64,
    is_damaged: bool,
    media: Media,
    framing: Framing,
    tally: Tally,
}

/// What the content type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// JSON, nothing, or something that may be either: the first byte tells.
    Text,
    Events,
    Frames,
    Opaque,
}

/// How the body is cut.
enum Framing {
    Undecided,
    Json(Skimmer),
    Events(Events, Skimmer),
    Frames(Frames, Skimmer),
    Opaque,
}

/// Whose shapes a response has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Converse,
    Invoke,
}

impl Dialect {
    fn of(api: Api) -> Dialect {
        match api {
            Api::AnthropicMessages => Dialect::Anthropic,
            Api::GeminiGenerate | Api::GeminiEmbed => Dialect::Gemini,
            Api::BedrockConverse => Dialect::Converse,
            Api::BedrockInvoke => Dialect::Invoke,
            _ => Dialect::OpenAi,
        }
    }
}

impl Meter {
    #[must_use]
    pub fn new(api: Api, limits: MeterLimits) -> Meter {
        Meter {
            limits,
            status: 0,
            decoder: Decoder::new(None, limits.max_decoded_bytes),
            raw_bytes: 0,
            is_damaged: false,
            media: Media::Text,
            framing: Framing::Undecided,
            tally: Tally::new(api),
        }
    }

    /// The response's headers; to be told before its body.
    pub fn headers(&mut self, status: u16, content_type: Option<&str>, content_encoding: Option<&str>) {
        self.status = status;
        self.decoder = Decoder::new(content_encoding, self.limits.max_decoded_bytes);
        self.media = Media::of(self.tally.api, content_type);
        self.framing = match self.media {
            Media::Opaque => Framing::Opaque,
            Media::Frames => Framing::Frames(Frames::default(), Skimmer::default()),
            Media::Text | Media::Events => Framing::Undecided,
        };
        self.tally.is_stream = self.media == Media::Frames;
    }

    /// More of the body, cut anywhere.
    pub fn body(&mut self, chunk: &[u8]) {
        self.raw_bytes = self.raw_bytes.saturating_add(chunk.len() as u64);
        if self.is_damaged {
            return;
        }
        let Meter { decoder, framing, tally, media, .. } = self;
        let decoded = decoder.push(chunk, |bytes| framing.push(bytes, *media, tally));
        self.is_damaged = decoded.is_err();
    }

    /// What was seen so far; cheap enough to ask after every chunk.
    #[must_use]
    pub fn progress(&self) -> Seen {
        let is_error = self.status >= 400;
        let mut seen = Seen { output_images: self.tally.images, ..Seen::default() };
        if !is_error {
            let unread = if self.is_damaged { self.raw_bytes } else { 0 };
            seen.output_bytes = self.tally.text_bytes.max(unread);
            seen.output_tokens = self.tally.estimated_tokens(seen.output_bytes);
        }
        if let Some(usage) = &self.tally.usage {
            seen.input_tokens = usage.input_tokens;
            let estimated = if self.tally.is_final { 0 } else { seen.output_tokens };
            seen.output_tokens = usage.output_tokens.max(estimated);
        }
        seen
    }

    /// The response ended.
    pub fn finish(&mut self, end: End) -> Metered {
        self.framing.finish(&mut self.tally);
        let complete = self.tally.is_final || (end == End::Complete && !self.is_damaged);
        self.tally.is_final |= complete;
        let seen = self.progress();
        let usage = self.usage(seen);
        let is_error = self.status >= 400 || (self.tally.has_error && seen.output_bytes == 0);
        Metered {
            failed: usage.is_none() && is_error,
            usage,
            seen,
            status: self.status,
            model: self.tally.model.take(),
            complete,
            in_background: self.tally.in_background,
        }
    }

    fn usage(&mut self, seen: Seen) -> Option<Usage> {
        let tally = &mut self.tally;
        let counts_images = matches!(tally.api, Api::OpenAiImages | Api::BedrockInvoke) && tally.images > 0;
        let mut usage = tally.usage.take().or_else(|| counts_images.then(Usage::default))?;
        usage.output_tokens = usage.output_tokens.max(seen.output_tokens);
        usage.output_images = usage.output_images.max(tally.images);
        let listed = if tally.dialect == Dialect::Gemini { gemini::searches(tally) } else { tally.searches_listed };
        usage.searches = usage.searches.max(tally.searches).max(listed);
        usage.service_tier = usage.service_tier.or_else(|| tally.service_tier.take());
        if let Some(drawn) = tally.drawn.take() {
            let model = tally.drawn_by.take().unwrap_or_else(|| openai::DRAWS.to_owned());
            usage.helpers.push(Helper { model, usage: drawn });
        }
        Some(usage)
    }
}

impl Media {
    fn of(api: Api, content_type: Option<&str>) -> Media {
        let Some(content_type) = content_type else { return Media::Text };
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "text/event-stream" => Media::Events,
            "application/vnd.amazon.eventstream" => Media::Frames,
            "" | "application/json" => Media::Text,
            kind if kind.ends_with("+json") => Media::Text,
            // What is spoken in a recording must not pass for a usage.
            _ if matches!(api, Api::OpenAiTranscription | Api::OpenAiSpeech) => Media::Opaque,
            kind if kind.starts_with("text/") || kind.starts_with("application/") => Media::Text,
            _ => Media::Opaque,
        }
    }
}

impl Framing {
    fn push(&mut self, mut bytes: &[u8], media: Media, tally: &mut Tally) {
        if let Framing::Undecided = self {
            // White space and a byte order mark say nothing.
            let says = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf);
            let Some(first) = bytes.iter().position(says) else { return };
            bytes = &bytes[first..];
            *self = match (media, bytes[0]) {
                (_, b'{' | b'[') => Framing::Json(Skimmer::default()),
                // `data:`, `event:`, `id:`, `retry:`, or a comment.
                (Media::Events, _) | (_, b'd' | b'e' | b'i' | b'r' | b':') => {
                    tally.is_stream = true;
                    Framing::Events(Events::default(), Skimmer::default())
                }
                _ => Framing::Opaque,
            };
        }
        match self {
            Framing::Undecided => {}
            Framing::Json(skimmer) => skimmer.push(bytes, tally),
            Framing::Events(events, skimmer) => events.push(bytes, |piece| read_event(piece, skimmer, tally)),
            Framing::Frames(frames, skimmer) => frames.push(bytes, |message| read_message(message, skimmer, tally)),
            Framing::Opaque => tally.text_bytes = tally.text_bytes.saturating_add(bytes.len() as u64),
        }
    }

    fn finish(&mut self, tally: &mut Tally) {
        match self {
            Framing::Json(_) => tally.end_event(),
            Framing::Events(events, skimmer) => events.finish(|piece| read_event(piece, skimmer, tally)),
            Framing::Undecided | Framing::Frames(..) | Framing::Opaque => {}
        }
    }
}

fn read_event(piece: Piece<'_>, skimmer: &mut Skimmer, tally: &mut Tally) {
    match piece {
        Piece::Data(bytes) => skimmer.push(bytes, tally),
        Piece::End => {
            skimmer.reset();
            tally.end_event();
        }
    }
}

/// A chunk of an invoked model: the vendor's event, in base64.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: std::borrow::Cow<'a, str>,
}

fn read_message(message: Message<'_>, skimmer: &mut Skimmer, tally: &mut Tally) {
    tally.has_error |= message.is_exception;
    if tally.dialect != Dialect::Invoke {
        skimmer.push(message.payload, tally);
    } else if message.name == "chunk"
        && let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(message.payload)
        && let Ok(event) = STANDARD.decode(chunk.bytes.as_bytes())
    {
        skimmer.push(&event, tally);
    }
    skimmer.reset();
    tally.end_event();
}

#[cfg(test)]
mod tests;
