//! Anthropic's messages: usage in the JSON body; in a stream at `message_start` and again, grown, at `message_delta`.
//! On the wire `input_tokens` leaves cached tokens out; here the input includes them. What the model read and wrote to
//! compact the conversation stands in `iterations` alone, beside all else that was done for the request; so does what an
//! adviser used, which is another model.

use std::array;
use std::collections::BTreeMap;

use serde_json::Value;

use super::json::Interest::{self, Keep, Measure, Skip, Walk};
use super::tally::{Tally, count};
use crate::domain::{Helper, Usage};

/// Models that helped with one request, and bytes of the name of one.
const MAX_HELPERS: usize = 16;
const MAX_NAME: usize = 256;

/// See [`tokens`].
type Tokens = [u64; 5];

pub(super) fn interest(path: &str) -> Interest {
    match path {
        ".usage" | ".message.usage" | ".model" | ".message.model" | ".error" => Keep,
        "" | ".message" | ".delta" | ".content" | ".content[]" => Walk,
        ".content[].text" | ".content[].thinking" | ".content[].input" => Measure,
        ".delta.text" | ".delta.thinking" | ".delta.partial_json" => Measure,
        _ => Skip,
    }
}

pub(super) fn keep(tally: &mut Tally, path: &str, value: Value) {
    match path {
        ".usage" => {
            tally.is_final |= value.is_object();
            tally.report(value);
        }
        ".message.usage" => tally.report(value),
        ".model" | ".message.model" => tally.name_model(&value),
        ".error" => tally.has_error |= !value.is_null(),
        _ => {}
    }
}

pub(super) fn usage(told: &Value) -> Option<Usage> {
    let whole = tokens(told)?;
    let iterations = told.get("iterations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (mut sum, mut helped) = ([0_u64; 5], BTreeMap::<&str, Tokens>::new());
    for (model, tokens) in iterations.iter().filter_map(|told| Some((adviser(told), tokens(told)?))) {
        let has_place = |model: &&str| helped.contains_key(model) || helped.len() < MAX_HELPERS;
        let model = model.filter(has_place);
        let before = model.map_or(&mut sum, |model| helped.entry(model).or_default());
        *before = array::from_fn(|class| before[class].saturating_add(tokens[class]));
    }
    let own = of_tokens(array::from_fn(|class| whole[class].max(sum[class])));
    let tools = told.get("server_tool_use").unwrap_or(&Value::Null);
    let name = |member: &str| told.get(member).and_then(Value::as_str);
    let geo = name("inference_geo").filter(|geo| *geo == "us");
    let surcharges = |names: [Option<&str>; 2]| names.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    // Where it is done is asked for the whole request, how fast for the model that answers.
    let helper = |(model, tokens): (&str, Tokens)| Helper {
        model: model.to_owned(),
        usage: Usage { surcharges: surcharges([None, geo]), ..of_tokens(tokens) },
    };
    Some(Usage {
        searches: count(tools, "web_search_requests").unwrap_or(0),
        service_tier: name("service_tier").map(str::to_owned),
        surcharges: surcharges([name("speed").filter(|speed| *speed == "fast"), geo]),
        helpers: helped.into_iter().map(helper).collect(),
        ..own
    })
}

fn of_tokens(
    [input_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens]: Tokens,
) -> Usage {
    Usage {
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        cache_write_1h_tokens,
        output_tokens,
        ..Usage::default()
    }
}

/// The model of an iteration in which an adviser was asked.
fn adviser(iteration: &Value) -> Option<&str> {
    let is_advice = iteration.get("type").and_then(Value::as_str) == Some("advisor_message");
    iteration.get("model").and_then(Value::as_str).filter(|model| is_advice && (1..=MAX_NAME).contains(&model.len()))
}

/// Tokens of a usage or of one of its iterations: all input, of it read from a cache, written to one for minutes and for
/// an hour; output.
fn tokens(told: &Value) -> Option<Tokens> {
    let (input, output) = (count(told, "input_tokens"), count(told, "output_tokens"));
    input.or(output)?;
    let read = count(told, "cache_read_input_tokens").unwrap_or(0);
    let lives = told.get("cache_creation").unwrap_or(&Value::Null);
    let hour = count(lives, "ephemeral_1h_input_tokens").unwrap_or(0);
    let minutes = count(lives, "ephemeral_5m_input_tokens").unwrap_or(0);
    let written = count(told, "cache_creation_input_tokens").unwrap_or(0).max(hour.saturating_add(minutes));
    let input = input.unwrap_or(0).saturating_add(read).saturating_add(written);
    Some([input, read, written - hour, hour, output.unwrap_or(0)])
}
