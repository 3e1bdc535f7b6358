//! The tally of one response: what its pieces told so far, whatever format they came in.

use serde_json::{Map, Value};

use super::json::{Interest, Sink};
use super::{Dialect, anthropic, bedrock, gemini, openai};
use crate::domain::{Api, Usage};

/// Bytes of a name (model, service tier) that are kept.
const MAX_NAME: usize = 256;
/// Members of a reported object that are kept: a stream of ever new ones cannot grow it further.
const MAX_MEMBERS: usize = 128;
/// Counts above this are no counts.
const MAX_COUNT: u64 = 1 << 40;
/// Bytes of text a token is taken for where nothing was reported.
const BYTES_A_TOKEN: u64 = 4;

#[derive(Debug)]
pub(super) struct Tally {
    pub(super) api: Api,
    pub(super) dialect: Dialect,
    /// Whether the response comes as events, so that a usage may be one of several.
    pub(super) is_stream: bool,
    /// The usage object, each member as last told.
    reported: Option<Value>,
    /// The usage the provider's platform added, where the model's own is none.
    pub(super) platform: Option<Value>,
    /// The usage as its format means it.
    pub(super) usage: Option<Usage>,
    /// Whether no further usage is to come.
    pub(super) is_final: bool,
    /// Whether the model said that it ended.
    pub(super) has_finished: bool,
    pub(super) has_error: bool,
    /// Whether the answer is made whoever reads it.
    pub(super) in_background: bool,
    pub(super) text_bytes: u64,
    pub(super) images: u64,
    pub(super) model: Option<String>,
    pub(super) service_tier: Option<String>,
    /// What was used to draw images on the way, and the model that did.
    pub(super) drawn: Option<Usage>,
    pub(super) drawn_by: Option<String>,
    /// Searches told one by one, and as a list at the end.
    pub(super) searches: u64,
    pub(super) searches_listed: u64,
    /// What the event being read holds.
    pub(super) event: Event,
}

/// Of one event: what decides how its parts are meant.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) kind: Option<String>,
    pub(super) item_kind: Option<String>,
    pub(super) has_choices: bool,
    pub(super) has_usage: bool,
}

impl Tally {
    pub(super) fn new(api: Api) -> Tally {
        Tally {
            api,
            dialect: Dialect::of(api),
            is_stream: false,
            reported: None,
            platform: None,
            usage: None,
            is_final: false,
            has_finished: false,
            has_error: false,
            in_background: false,
            text_bytes: 0,
            images: 0,
            model: None,
            service_tier: None,
            drawn: None,
            drawn_by: None,
            searches: 0,
            searches_listed: 0,
            event: Event::default(),
        }
    }

    /// Takes a usage object. Usage that comes several times is cumulative: members are replaced, never added, and a 0
    /// does not undo what was told before.
    pub(super) fn report(&mut self, usage: Value) {
        if !usage.is_object() {
            return;
        }
        merge(&mut self.reported, usage);
        self.event.has_usage = true;
        self.is_final |= !self.is_stream;
        self.convert();
    }

    /// Takes members of a usage object of the platform.
    pub(super) fn report_platform(&mut self, usage: Value) {
        if usage.is_object() {
            merge(&mut self.platform, usage);
            self.convert();
        }
    }

    /// Takes what the provider's tools used.
    pub(super) fn draw(&mut self, tools: &Value) {
        let drawn = tools.get("image_gen").and_then(|told| openai::usage(Api::OpenAiImages, told));
        self.drawn = drawn.filter(|drawn| !drawn.is_empty()).or_else(|| self.drawn.take());
    }

    fn convert(&mut self) {
        let own = self.reported.as_ref().and_then(|reported| match self.dialect {
            Dialect::OpenAi => openai::usage(self.api, reported),
            Dialect::Anthropic => anthropic::usage(reported),
            Dialect::Gemini => gemini::usage(reported),
            Dialect::Converse => bedrock::usage(reported),
            Dialect::Invoke => bedrock::vendor_usage(reported),
        });
        let platform = self.platform.as_ref().and_then(bedrock::usage);
        // The platform's count is final where the model's own may be one of the first.
        self.usage = match (own, platform) {
            (Some(mut own), Some(platform)) => {
                own.input_tokens = own.input_tokens.max(platform.input_tokens);
                own.output_tokens = own.output_tokens.max(platform.output_tokens);
                Some(own)
            }
            (own, platform) => own.or(platform),
        };
    }

    pub(super) fn name_model(&mut self, value: &Value) {
        set_name(&mut self.model, value);
    }

    pub(super) fn name_tier(&mut self, value: &Value) {
        set_name(&mut self.service_tier, value);
    }

    /// A document (a body, or the data of an event) is complete.
    pub(super) fn end_event(&mut self) {
        if self.dialect == Dialect::OpenAi {
            openai::end_event(self);
        }
        self.event = Event::default();
    }

    /// Tokens these bytes of output are taken for.
    pub(super) fn estimated_tokens(&self, bytes: u64) -> u64 {
        if writes_text(self.api) { bytes.div_ceil(BYTES_A_TOKEN) } else { 0 }
    }
}

impl Sink for Tally {
    fn interest(&mut self, path: &str) -> Interest {
        match self.dialect {
            Dialect::OpenAi => openai::interest(self, path),
            Dialect::Anthropic => anthropic::interest(path),
            Dialect::Gemini => gemini::interest(path),
            Dialect::Converse => bedrock::interest(path),
            Dialect::Invoke => bedrock::vendor_interest(self, path),
        }
    }

    fn keep(&mut self, path: &str, value: Value) {
        match self.dialect {
            Dialect::OpenAi => openai::keep(self, path, value),
            Dialect::Anthropic => anthropic::keep(self, path, value),
            Dialect::Gemini => gemini::keep(self, path, value),
            Dialect::Converse => bedrock::keep(self, path, value),
            Dialect::Invoke => bedrock::vendor_keep(self, path, value),
        }
    }

    fn measure(&mut self, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
    }
}

/// Whether what the API puts out is text, so that its bytes tell tokens.
fn writes_text(api: Api) -> bool {
    matches!(
        api,
        Api::OpenAiChat
            | Api::OpenAiCompletions
            | Api::OpenAiResponses
            | Api::OpenAiTranscription
            | Api::AnthropicMessages
            | Api::GeminiGenerate
            | Api::BedrockConverse
            | Api::BedrockInvoke
            | Api::Unmeterable
    )
}

pub(super) fn set_name(name: &mut Option<String>, value: &Value) {
    if let Some(text) = value.as_str().filter(|text| !text.is_empty() && text.len() <= MAX_NAME) {
        *name = Some(text.to_owned());
    }
}

fn merge(known: &mut Option<Value>, told: Value) {
    match known {
        Some(known) => merge_into(known, told),
        None => *known = Some(told),
    }
}

fn merge_into(known: &mut Value, told: Value) {
    match (known, told) {
        (Value::Object(known), Value::Object(told)) => {
            for (member, value) in told {
                let has_room = known.len() < MAX_MEMBERS;
                match known.get_mut(&member) {
                    Some(known) => merge_into(known, value),
                    None if has_room => {
                        known.insert(member, value);
                    }
                    None => {}
                }
            }
        }
        (_, Value::Null) => {}
        (Value::Number(known), Value::Number(told)) if told.as_f64() == Some(0.0) && known.as_f64() != Some(0.0) => {}
        (known, told) => *known = told,
    }
}

/// A count of a usage object: whole and not negative, else it is none.
pub(super) fn count(usage: &Value, member: &str) -> Option<u64> {
    whole(usage.get(member)?)
}

pub(super) fn whole(value: &Value) -> Option<u64> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..=MAX_COUNT as f64).contains(&number)).then_some(number as u64)
    })?;
    (number <= MAX_COUNT).then_some(number)
}

/// The first of these members that is a count.
pub(super) fn first_count(usage: &Value, members: &[&str]) -> Option<u64> {
    members.iter().find_map(|member| count(usage, member))
}

/// Seconds as milliseconds, rounded up.
pub(super) fn millis(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_f64()?,
    };
    // Lists of decimal seconds are not exact as binary fractions: a thousandth of a millisecond is no reason to round.
    let millis = (seconds * 1_000.0 - 1e-3).ceil().max(0.0);
    (millis.is_finite() && millis <= MAX_COUNT as f64).then_some(millis as u64)
}

/// One member as an object of its own.
pub(super) fn member(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}
