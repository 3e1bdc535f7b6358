//! Anthropic's messages: usage in the JSON body; in a stream at `message_start` and again, grown, at `message_delta`.
//! On the wire `input_tokens` leaves cached tokens out; here the input includes them. What the model read and wrote to
//! compact the conversation stands in `iterations` alone, beside all else that was done for the request.

use std::array;

use serde_json::Value;

use super::json::Interest::{self, Keep, Measure, Skip, Walk};
use super::tally::{Tally, count};
use crate::domain::Usage;

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
    let sum = iterations
        .iter()
        .filter_map(tokens)
        .fold([0_u64; 5], |sum, one| array::from_fn(|class| sum[class].saturating_add(one[class])));
    let [input_tokens, cache_read_tokens, cache_write_tokens, cache_write_1h_tokens, output_tokens] =
        array::from_fn(|class| whole[class].max(sum[class]));
    let tools = told.get("server_tool_use").unwrap_or(&Value::Null);
    let name = |member: &str| told.get(member).and_then(Value::as_str);
    let surcharges = [name("speed").filter(|speed| *speed == "fast"), name("inference_geo").filter(|geo| *geo == "us")];
    Some(Usage {
        input_tokens,
        cache_read_tokens,
        cache_write_tokens,
        cache_write_1h_tokens,
        output_tokens,
        searches: count(tools, "web_search_requests").unwrap_or(0),
        service_tier: name("service_tier").map(str::to_owned),
        surcharges: surcharges.into_iter().flatten().map(str::to_owned).collect(),
        ..Usage::default()
    })
}

/// Tokens of a usage or of one of its iterations: all input, of it read from a cache, written to one for minutes and for
/// an hour; output.
fn tokens(told: &Value) -> Option<[u64; 5]> {
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
