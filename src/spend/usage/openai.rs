//! OpenAI's shapes, as everyone who is compatible writes them: chat and completions (a last chunk with usage and no
//! choices), the Responses API (usage in the response of its last event), embeddings, images, transcriptions, and what
//! rerank and OCR services tell in the same manner.

use serde_json::Value;

use super::json::Interest::{self, Keep, Measure, Skip, Walk};
use super::tally::{Tally, count, first_count, millis, set_name};
use crate::domain::{Api, Usage};

/// Mistral's name of the seconds it listened to.
const AUDIO: &str = "prompt_audio_seconds";

/// The model that draws where a request of the Responses API names none.
pub(super) const DRAWS: &str = "gpt-image-1";

pub(super) fn interest(tally: &mut Tally, path: &str) -> Interest {
    match path {
        ".usage" | ".response.usage" | ".x_groq.usage" | ".usage_info" | ".meta" => Keep,
        ".model" | ".response.model" | ".service_tier" | ".response.service_tier" => Keep,
        ".error" | ".response.error" | ".duration" | ".type" => Keep,
        ".background" | ".response.background" if tally.api == Api::OpenAiResponses => Keep,
        ".tool_usage" | ".response.tool_usage" | ".tools[].model" | ".response.tools[].model"
            if tally.api == Api::OpenAiResponses =>
        {
            Keep
        }
        ".tools" | ".tools[]" | ".response.tools" | ".response.tools[]" if tally.api == Api::OpenAiResponses => Walk,
        ".item.type" | ".output[].type" | ".response.output[].type" => Keep,
        ".choices[]" => {
            tally.event.has_choices = true;
            Walk
        }
        ".data[]" => {
            tally.images = tally.images.saturating_add(u64::from(tally.api == Api::OpenAiImages));
            Skip
        }
        ".delta" => Measure,
        ".text" if tally.api == Api::OpenAiTranscription && !tally.is_stream => Measure,
        "" | ".choices" | ".data" | ".response" | ".response.output" | ".response.output[]" | ".x_groq" => Walk,
        ".item" | ".output" | ".output[]" | ".output[].content" | ".output[].content[]" | ".output[].summary" => Walk,
        ".output[].summary[]" => Walk,
        ".output[].content[].text" | ".output[].content[].refusal" | ".output[].summary[].text" => Measure,
        ".output[].arguments" | ".output[].input" | ".output[].code" => Measure,
        _ => match path.strip_prefix(".choices[]") {
            Some(".text") => Measure,
            Some(path) => match path.strip_prefix(".delta").or_else(|| path.strip_prefix(".message")) {
                Some("") => Walk,
                Some(".content" | ".reasoning_content" | ".reasoning" | ".refusal") => Measure,
                Some(".tool_calls" | ".tool_calls[]" | ".tool_calls[].function" | ".function_call") => Walk,
                Some(".tool_calls[].function.name" | ".tool_calls[].function.arguments") => Measure,
                Some(".function_call.name" | ".function_call.arguments") => Measure,
                _ => Skip,
            },
            None => Skip,
        },
    }
}

pub(super) fn keep(tally: &mut Tally, path: &str, value: Value) {
    match path {
        ".usage" | ".x_groq.usage" | ".usage_info" | ".meta" => tally.report(value),
        ".response.usage" => {
            tally.is_final |= value.is_object();
            tally.report(value);
        }
        ".duration" if tally.api == Api::OpenAiTranscription => {
            tally.report(super::tally::member("duration", value));
        }
        ".model" | ".response.model" => tally.name_model(&value),
        ".service_tier" | ".response.service_tier" => tally.name_tier(&value),
        ".error" | ".response.error" => tally.has_error |= !value.is_null(),
        ".background" | ".response.background" => tally.in_background |= value == true,
        ".tool_usage" | ".response.tool_usage" => tally.draw(&value),
        // Of the tools that the provider runs only that which draws has a model.
        ".tools[].model" | ".response.tools[].model" => set_name(&mut tally.drawn_by, &value),
        ".type" => tally.event.kind = value.as_str().map(str::to_owned),
        ".item.type" => tally.event.item_kind = value.as_str().map(str::to_owned),
        ".output[].type" | ".response.output[].type" if value == "web_search_call" => {
            tally.searches_listed = tally.searches_listed.saturating_add(1);
        }
        _ => {}
    }
}

pub(super) fn end_event(tally: &mut Tally) {
    // Servers that tell usage in every chunk tell it beside choices; the last one has none.
    tally.is_final |= tally.event.has_usage && !tally.event.has_choices;
    match tally.event.kind.as_deref() {
        Some("response.output_item.done") if tally.event.item_kind.as_deref() == Some("web_search_call") => {
            tally.searches = tally.searches.saturating_add(1);
        }
        Some("image_generation.completed" | "image_edit.completed") => {
            tally.images = tally.images.saturating_add(1);
        }
        Some("error" | "response.failed") => tally.has_error = true,
        _ => {}
    }
}

/// `prompt_tokens` and `completion_tokens`, or `input_tokens` and `output_tokens`; details are parts of them.
pub(super) fn usage(api: Api, told: &Value) -> Option<Usage> {
    let billed = told.get("billed_units").or_else(|| told.get("tokens").filter(|tokens| tokens.is_object()));
    let told = billed.unwrap_or(told);
    let mut usage = Usage::default();
    let input = first_count(told, &["prompt_tokens", "input_tokens"]);
    let output = first_count(told, &["completion_tokens", "output_tokens"]);
    let total = count(told, "total_tokens");
    usage.searches = first_count(told, &["search_units", "num_search_queries"]).unwrap_or(0);
    usage.pages = count(told, "pages_processed").unwrap_or(0);
    let seconds = |name: &str| told.get(name).and_then(millis);
    usage.input_millis = seconds("seconds").or_else(|| seconds("duration")).or_else(|| seconds(AUDIO)).unwrap_or(0);
    if input.or(output).or(total).is_none() {
        return (!usage.is_empty()).then_some(usage);
    }
    // Tokens are dearer to tell than time: who tells them is paid by them. Mistral tells the audio beside the tokens of
    // the text, and is paid for both.
    usage.input_millis = seconds(AUDIO).unwrap_or(0);
    usage.output_tokens = output.unwrap_or(0);
    usage.input_tokens = input.or_else(|| total?.checked_sub(usage.output_tokens)).unwrap_or(0);

    let details = |names: [&str; 3]| names.into_iter().find_map(|name| told.get(name)).unwrap_or(&Value::Null);
    let inputs = details(["prompt_tokens_details", "input_tokens_details", "input_token_details"]);
    let outputs = details(["completion_tokens_details", "output_tokens_details", "output_token_details"]);
    let cached = count(inputs, "cached_tokens").or_else(|| count(told, "prompt_cache_hit_tokens"));
    usage.cache_read_tokens = cached.unwrap_or(0);
    usage.cache_write_tokens = first_count(inputs, &["cache_write_tokens", "cache_creation_tokens"]).unwrap_or(0);
    usage.input_audio_tokens = count(inputs, "audio_tokens").unwrap_or(0);
    usage.input_image_tokens = count(inputs, "image_tokens").unwrap_or(0);
    usage.reasoning_tokens = count(outputs, "reasoning_tokens").unwrap_or(0);
    usage.output_audio_tokens = count(outputs, "audio_tokens").unwrap_or(0);
    usage.output_image_tokens = count(outputs, "image_tokens").unwrap_or(0);
    if api == Api::OpenAiImages && count(outputs, "text_tokens").is_none() {
        usage.output_image_tokens = usage.output_tokens;
    }
    if api == Api::OpenAiSpeech {
        usage.output_audio_tokens = usage.output_tokens;
    }
    // Some count reasoning beside the completion instead of in it; their total tells.
    let beside = usage.total_tokens().saturating_add(usage.reasoning_tokens);
    if usage.reasoning_tokens > 0 && total == Some(beside) {
        usage.output_tokens = usage.output_tokens.saturating_add(usage.reasoning_tokens);
    }
    Some(usage)
}
