//! Small changes to a body on its way upstream: it is made to ask for usage, and given an output cap. Bytes are spliced;
//! everything else stays as the client wrote it.

use std::ops::Range;

use super::body::{CONFIGS, Token, Tokens, binds};
use crate::domain::Api;

/// What a body is to be given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteAsk {
    /// Sets `stream_options.include_usage` where an OpenAI request asks for a stream.
    pub include_usage: bool,
    /// Output tokens, for a body that has no cap its API obeys.
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
    /// A cap field of the API that is `null`, with its name.
    null_cap: Option<(String, Range<usize>)>,
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
    if let Some(cap) = ask.output_cap.filter(|_| !found.is_capped)
        && let Some((config, field)) = cap_field(api)
    {
        let member = format!("\"{field}\":{cap}");
        match (config, &found.config, &found.null_cap) {
            (_, _, Some((name, span))) if *name == field || config.is_some() => {
                edits.push((span.clone(), cap.to_string()))
            }
            (Some(_), Some(Ok(object)), _) => edits.push(object.insert(&member)),
            (Some(_), Some(Err(span)), _) => edits.push((span.clone(), format!("{{{member}}}"))),
            (Some(config), None, _) => members.push(format!("\"{config}\":{{{member}}}")),
            (None, ..) => members.push(member),
        }
    }
    if !members.is_empty() {
        edits.push(top.insert(&members.join(",")));
    }
    splice(body, edits)
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

fn survey(text: &str, api: Api) -> Option<Found> {
    // Depth is the scanner's to refuse; here it costs a byte a level.
    let mut tokens = Tokens::new(text, usize::MAX);
    let mut found = Found::default();
    // The name of the current member at the first and the second level.
    let mut outer = String::new();
    let mut inner = String::new();
    while let Some(token) = tokens.next().ok()? {
        let depth = tokens.depth();
        let here = tokens.start()..tokens.end();
        if let Token::Key(key) = token {
            match depth {
                1 => outer = key.decode().ok()?.into_owned(),
                2 => inner = key.decode().ok()?.into_owned(),
                _ => {}
            }
            let object = match depth {
                1 => found.body.as_mut(),
                2 if outer == "stream_options" => object_of(&mut found.options),
                2 if holds_cap(api, &outer) => object_of(&mut found.config),
                _ => None,
            };
            if let Some(object) = object {
                object.is_empty = false;
            }
            continue;
        }
        let opened = matches!(token, Token::Object).then(|| Object { inside: here.end, is_empty: true });
        let is_null = matches!(token, Token::Null);
        match (depth, &token) {
            (1, Token::Object) if found.body.is_none() => found.body = opened,
            (1, Token::Bool(true)) if outer == "stream" => found.streams = true,
            (1 | 2, _) if matches!(token, Token::Close) => {}
            (1 | 2, _) if is_member(depth, &token) && outer == "stream_options" => {
                found.options = opened.map(Ok).or(is_null.then_some(Err(here)));
            }
            (1 | 2, _) if is_member(depth, &token) && holds_cap(api, &outer) => {
                found.config = opened.map(Ok).or(is_null.then_some(Err(here)));
            }
            (2 | 3, _) if is_inner(depth, &token) && outer == "stream_options" && inner == "include_usage" => {
                found.usage_on = matches!(token, Token::Bool(true));
                found.usage_off = (!found.usage_on && depth == 2).then_some(here);
            }
            _ => {
                let in_config = CONFIGS.contains(&outer.as_str());
                let (is_value, name) = match () {
                    () if is_member(depth, &token) => (true, outer.as_str()),
                    () if in_config && is_inner(depth, &token) => (true, inner.as_str()),
                    () => (false, ""),
                };
                let at_config = in_config && is_inner(depth, &token) && !is_member(depth, &token);
                if is_value && is_cap_of(api, at_config, name) {
                    match is_null {
                        true => found.null_cap = Some((name.to_owned(), here)),
                        false => found.is_capped = true,
                    }
                }
            }
        }
    }
    Some(found)
}

fn is_cap_of(api: Api, in_config: bool, name: &str) -> bool {
    super::body::is_cap(name) && binds(api, in_config, name)
}

/// Whether this token begins the value of a member of the body.
fn is_member(depth: usize, token: &Token<'_>) -> bool {
    depth == if matches!(token, Token::Object | Token::Array) { 2 } else { 1 } && !matches!(token, Token::Close)
}

/// Whether this token begins the value of a member of an object in the body.
fn is_inner(depth: usize, token: &Token<'_>) -> bool {
    depth == if matches!(token, Token::Object | Token::Array) { 3 } else { 2 } && !matches!(token, Token::Close)
}

fn object_of(found: &mut Option<Result<Object, Range<usize>>>) -> Option<&mut Object> {
    found.as_mut().and_then(|found| found.as_mut().ok())
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
