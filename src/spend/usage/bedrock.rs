//! Amazon Bedrock. Converse has a usage of its own, in the body or the stream's `metadata` event. Invoke passes on what
//! the model's vendor writes (Anthropic, Amazon Nova and Titan, Meta, Mistral, gpt-oss) and adds its own metrics to the
//! last chunk of a stream.

use serde_json::Value;

use super::json::Interest::{self, Keep, Measure, Skip, Walk};
use super::tally::{Tally, count, first_count, member};
use super::{anthropic, openai};
use crate::domain::{Api, Usage};

const METRICS: &str = ".amazon-bedrock-invocationMetrics";

pub(super) fn interest(path: &str) -> Interest {
    match path {
        ".usage" | ".serviceTier" => Keep,
        "" | ".output" | ".output.message" | ".output.message.content" | ".output.message.content[]" => Walk,
        ".output.message.content[].toolUse" | ".output.message.content[].reasoningContent" => Walk,
        ".output.message.content[].reasoningContent.reasoningText" => Walk,
        ".output.message.content[].text" | ".output.message.content[].toolUse.input" => Measure,
        ".output.message.content[].reasoningContent.reasoningText.text" => Measure,
        ".delta" | ".delta.toolUse" | ".delta.reasoningContent" => Walk,
        ".delta.text" | ".delta.toolUse.input" | ".delta.reasoningContent.text" => Measure,
        _ => Skip,
    }
}

pub(super) fn keep(tally: &mut Tally, path: &str, value: Value) {
    match path {
        ".usage" => {
            tally.is_final |= value.is_object();
            tally.report(value);
        }
        ".serviceTier" => tally.name_tier(value.get("type").unwrap_or(&Value::Null)),
        _ => {}
    }
}

/// Converse's usage and the metrics of invoke; cached tokens stand beside the input.
pub(super) fn usage(told: &Value) -> Option<Usage> {
    let input = first_count(told, &["inputTokens", "inputTokenCount"]);
    let output = first_count(told, &["outputTokens", "outputTokenCount"]);
    input.or(output)?;
    let read = first_count(told, &["cacheReadInputTokens", "cacheReadInputTokenCount"]).unwrap_or(0);
    let written = first_count(told, &["cacheWriteInputTokens", "cacheWriteInputTokenCount"]).unwrap_or(0);
    let lives = told.get("cacheDetails").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let hour = lives.iter().filter(|detail| detail.get("ttl").is_some_and(|ttl| ttl == "1h"));
    let hour = hour.filter_map(|detail| count(detail, "inputTokens")).fold(0, u64::saturating_add).min(written);
    Some(Usage {
        input_tokens: input.unwrap_or(0).saturating_add(read).saturating_add(written),
        cache_read_tokens: read,
        cache_write_tokens: written - hour,
        cache_write_1h_tokens: hour,
        output_tokens: output.unwrap_or(0),
        ..Usage::default()
    })
}

pub(super) fn vendor_interest(tally: &mut Tally, path: &str) -> Interest {
    match path {
        // Pictures: Amazon's and Stability AI's, and those of its older models.
        ".images[]" | ".artifacts[]" => {
            tally.images = tally.images.saturating_add(1);
            Skip
        }
        ".images" | ".artifacts" => Walk,
        METRICS | ".metadata.usage" => Keep,
        ".inputTextTokenCount" | ".totalOutputTextTokenCount" | ".results[].tokenCount" => Keep,
        ".prompt_token_count" | ".generation_token_count" => Keep,
        ".metadata" | ".results" | ".results[]" | ".outputs" | ".outputs[]" => Walk,
        ".contentBlockDelta" | ".contentBlockDelta.delta" | ".choices" | ".choices[]" => Walk,
        ".choices[].message" | ".choices[].delta" => Walk,
        ".generation" | ".outputText" | ".results[].outputText" | ".outputs[].text" => Measure,
        ".contentBlockDelta.delta.text" | ".choices[].message.content" | ".choices[].delta.content" => Measure,
        path => match anthropic::interest(path) {
            Skip => interest(path),
            interest => interest,
        },
    }
}

pub(super) fn vendor_keep(tally: &mut Tally, path: &str, value: Value) {
    match path {
        METRICS => {
            tally.is_final |= value.is_object();
            tally.report_platform(value);
        }
        ".metadata.usage" => {
            tally.is_final |= value.is_object();
            tally.report(value);
        }
        ".inputTextTokenCount" | ".prompt_token_count" => tally.report_platform(member("inputTokens", value)),
        ".totalOutputTextTokenCount" | ".results[].tokenCount" | ".generation_token_count" => {
            tally.is_final |= !tally.is_stream;
            tally.report_platform(member("outputTokens", value));
        }
        path => anthropic::keep(tally, path, value),
    }
}

/// A usage of whichever vendor: the names of its members tell.
pub(super) fn vendor_usage(told: &Value) -> Option<Usage> {
    if told.get("inputTokens").is_some() {
        usage(told)
    } else if told.get("prompt_tokens").is_some() {
        openai::usage(Api::OpenAiChat, told)
    } else {
        anthropic::usage(told)
    }
}
