//! Small changes to a body on its way upstream: it is made to ask for usage, and given an output cap. Bytes are spliced;
//! everything else stays as the client wrote it.

use std::ops::Range;

use super::body::{CONFIGS, Token, Tokens, binds, count, is_cap};
use crate::domain::Api;

/// What a body is to be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteAsk {
    /// Sets `stream_options.include_usage` where an OpenAI request asks for a stream.
    pub include_usage: bool,
    /// Output tokens, for a body that has no cap its API obeys, and in place of every cap that is no number of tokens.
    pub output_cap: Option<u64>,
}

/// An object of the body, as far as members are added to it.
#[derive(Clone, Debug)]
struct Object {
    /// Behind its opening brace.
    inside: usize,
    is_empty: bool,
}

/// What the body says of the things that may be changed.
#[derive(Debug, Default)]
struct Found {
    body: Option<Object>,
    streams: bool,
    /// `stream_options`: as an object, or its span where it is `null`.
    options: Option<Result<Object, Range<usize>>>,
    /// Where `stream_options.include_usage` stands, if it is not `true`.
    usage_off: Option<Range<usize>>,
    usage_on: bool,
    /// The first object of sampling parameters that the API reads, like `stream_options`.
    config: Option<Result<Object, Range<usize>>>,
    is_capped: bool,
    /// Cap fields of the API that are `null`, with their names.
    null_caps: Vec<(String, Range<usize>)>,
    /// Cap fields of the API that are neither that nor a number of tokens: what the provider makes of them nobody knows.
    void_caps: Vec<Range<usize>>,
}

/// The body with what is asked; `None` where nothing changes or the body is no JSON object.
#[must_use]
pub fn rewrite(body: &[u8], api: Api, ask: RewriteAsk) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let found = survey(text, api)?;
    let top = found.body.clone()?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut members: Vec<String> = Vec::new();
    if ask.include_usage && found.streams && matches!(api, Api::OpenAiChat | Api::OpenAiCompletions) && !found.usage_on
    {
        match (&found.options, found.usage_off.clone()) {
            (_, Some(span)) => edits.push((span, "true".to_owned())),
            (Some(Ok(options)), None) => edits.push(options.insert("\"include_usage\":true")),
            (Some(Err(span)), None) => edits.push((span.clone(), "{\"include_usage\":true}".to_owned())),
            (None, None) => members.push("\"stream_options\":{\"include_usage\":true}".to_owned()),
        }
    }
    if let Some(cap) = ask.output_cap {
        edits.extend(found.void_caps.iter().map(|span| (span.clone(), cap.to_string())));
    }
    if let Some(cap) = ask.output_cap.filter(|_| !found.is_capped && found.void_caps.is_empty())
        && let Some((config, field)) = cap_field(api)
    {
        let member = format!("\"{field}\":{cap}");
        // An empty field of that name is filled: a second one would leave it to each reader which of the two is meant.
        let is_own = |(name, _): &&(String, Range<usize>)| name == field || config.is_some();
        let empty: Vec<_> = found.null_caps.iter().filter(is_own).collect();
        edits.extend(empty.iter().map(|(_, span)| (span.clone(), cap.to_string())));
        match (config, &found.config) {
            _ if !empty.is_empty() => {}
            (Some(_), Some(Ok(object))) => edits.push(object.insert(&member)),
            (Some(_), Some(Err(span))) => edits.push((span.clone(), format!("{{{member}}}"))),
            (Some(config), None) => members.push(format!("\"{config}\":{{{member}}}")),
            (None, ..) => members.push(member),
        }
    }
    if !members.is_empty() {
        edits.push(top.insert(&members.join(",")));
    }
    splice(body, edits)
}

/// Whether a cap can be written into bodies of this API.
#[must_use]
pub fn takes_cap(api: Api) -> bool {
    cap_field(api).is_some()
}

/// Where an API's own cap goes: the object around it, if any, and its name.
fn cap_field(api: Api) -> Option<(Option<&'static str>, &'static str)> {
    match api {
        Api::OpenAiChat => Some((None, "max_completion_tokens")),
        Api::OpenAiCompletions | Api::AnthropicMessages => Some((None, "max_tokens")),
        Api::OpenAiResponses => Some((None, "max_output_tokens")),
        Api::GeminiGenerate => Some((Some("generationConfig"), "maxOutputTokens")),
        Api::BedrockConverse => Some((Some("inferenceConfig"), "maxTokens")),
        _ => None,
    }
}

/// Whether this object of the body is where the API reads its cap.
fn holds_cap(api: Api, name: &str) -> bool {
    match api {
        Api::GeminiGenerate => matches!(name, "generationConfig" | "generation_config"),
        Api::BedrockConverse => name == "inferenceConfig",
        _ => false,
    }
}

/// A value of the body that is not looked into.
struct Value {
    span: Range<usize>,
    is_null: bool,
    is_true: bool,
    is_count: bool,
}

fn survey(text: &str, api: Api) -> Option<Found> {
    // Depth is the scanner's to refuse; here it costs a byte a level.
    let mut tokens = Tokens::new(text, usize::MAX);
    let mut found = Found::default();
    let Token::Object = tokens.next().ok()?? else { return None };
    let mut body = Object { inside: tokens.end(), is_empty: true };
    while let Token::Key(key) = tokens.next().ok()?? {
        body.is_empty = false;
        let name = key.decode().ok()?;
        let first = tokens.next().ok()??;
        let is_options = name == "stream_options";
        if matches!(first, Token::Object) && (is_options || CONFIGS.contains(&&*name)) {
            let mut object = Object { inside: tokens.end(), is_empty: true };
            while let Token::Key(key) = tokens.next().ok()?? {
                object.is_empty = false;
                let inner = key.decode().ok()?;
                let first = tokens.next().ok()??;
                let value = Value::read(&mut tokens, &first)?;
                match is_options {
                    true if inner == "include_usage" => found.usage(value),
                    true => {}
                    false => found.cap(api, Some(&name), &inner, value),
                }
            }
            if is_options {
                found.options = Some(Ok(object));
            } else if holds_cap(api, &name) {
                found.config = Some(Ok(object));
            }
            continue;
        }
        let value = Value::read(&mut tokens, &first)?;
        if name == "stream" {
            found.streams = value.is_true;
        } else if is_options {
            // What is neither object nor null the provider refuses; it is not mended.
            found.usage_on = !value.is_null;
            found.options = Some(Err(value.span));
        } else if holds_cap(api, &name) {
            found.is_capped |= !value.is_null;
            found.config = Some(Err(value.span));
        } else {
            found.cap(api, None, &name, value);
        }
    }
    found.body = Some(body);
    tokens.next().ok()?.is_none().then_some(found)
}

impl Value {
    /// The value that begins with this token, which was just read.
    fn read(tokens: &mut Tokens<'_>, first: &Token<'_>) -> Option<Value> {
        let start = tokens.start();
        if matches!(first, Token::Object | Token::Array) {
            let around = tokens.depth() - 1;
            while tokens.depth() > around {
                tokens.next().ok()??;
            }
        }
        Some(Value {
            span: start..tokens.end(),
            is_null: matches!(first, Token::Null),
            is_true: matches!(first, Token::Bool(true)),
            is_count: match first {
                Token::Number(digits) => count(digits).is_some(),
                Token::Text(text) => text.decode().is_ok_and(|text| count(&text).is_some()),
                _ => false,
            },
        })
    }
}

impl Found {
    fn usage(&mut self, value: Value) {
        self.usage_on = value.is_true;
        self.usage_off = (!value.is_true).then_some(value.span);
    }

    fn cap(&mut self, api: Api, config: Option<&str>, name: &str, value: Value) {
        if !is_cap(name) || !binds(api, config, name) {
            return;
        }
        if value.is_null {
            self.null_caps.push((name.to_owned(), value.span));
        } else if value.is_count {
            self.is_capped = true;
        } else {
            self.void_caps.push(value.span);
        }
    }
}

impl Object {
    fn insert(&self, members: &str) -> (Range<usize>, String) {
        let comma = if self.is_empty { "" } else { "," };
        (self.inside..self.inside, format!("{members}{comma}"))
    }
}

fn splice(body: &[u8], mut edits: Vec<(Range<usize>, String)>) -> Option<Vec<u8>> {
    if edits.is_empty() {
        return None;
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut out = Vec::with_capacity(body.len() + edits.iter().map(|(_, text)| text.len()).sum::<usize>());
    let mut at = 0;
    for (span, text) in edits {
        out.extend_from_slice(body.get(at..span.start)?);
        out.extend_from_slice(text.as_bytes());
        at = span.end;
    }
    out.extend_from_slice(body.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests;
