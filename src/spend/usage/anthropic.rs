//! Anthropic's messages: usage in the JSON body; in a stream at `message_start` and again, grown, at `message_delta`.
//! On the wire `input_tokens` leaves cached tokens out; here the input includes them.

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
    let (input, output) = (count(told, "input_tokens"), count(told, "output_tokens"));
    input.or(output)?;
    let read = count(told, "cache_read_input_tokens").unwrap_or(0);
    let lives = told.get("cache_creation").unwrap_or(&Value::Null);
    let hour = count(lives, "ephemeral_1h_input_tokens").unwrap_or(0);
    let minutes = count(lives, "ephemeral_5m_input_tokens").unwrap_or(0);
    let written = count(told, "cache_creation_input_tokens").unwrap_or(0).max(hour.saturating_add(minutes));
    let tools = told.get("server_tool_use").unwrap_or(&Value::Null);
    Some(Usage {
        input_tokens: input.unwrap_or(0).saturating_add(read).saturating_add(written),
        cache_read_tokens: read,
        cache_write_tokens: written - hour,
        cache_write_1h_tokens: hour,
        output_tokens: output.unwrap_or(0),
        searches: count(tools, "web_search_requests").unwrap_or(0),
        service_tier: told.get("service_tier").and_then(Value::as_str).map(str::to_owned),
        ..Usage::default()
    })
}
