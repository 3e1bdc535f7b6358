//! Gemini's `usageMetadata`: in a JSON object, in each element of a streamed JSON array, or in each event. Every one
//! tells the whole so far. Thoughts are counted beside candidates; here both are output.

use serde_json::Value;

use super::json::Interest::{self, Keep, Measure, Skip, Walk};
use super::tally::{Tally, count};
use crate::domain::Usage;

pub(super) fn interest(path: &str) -> Interest {
    match path.strip_prefix("[]").unwrap_or(path) {
        ".usageMetadata" | ".modelVersion" | ".error" => Keep,
        "" | ".candidates" | ".candidates[]" | ".candidates[].content" | ".candidates[].content.parts" => Walk,
        ".candidates[].content.parts[]" | ".candidates[].content.parts[].inlineData" => Walk,
        ".candidates[].content.parts[].functionCall" | ".candidates[].groundingMetadata" => Walk,
        ".candidates[].finishReason" | ".candidates[].groundingMetadata.webSearchQueries" => Keep,
        ".candidates[].content.parts[].inlineData.mimeType" => Keep,
        ".candidates[].content.parts[].text" | ".candidates[].content.parts[].functionCall.args" => Measure,
        _ => Skip,
    }
}

pub(super) fn keep(tally: &mut Tally, path: &str, value: Value) {
    match path.strip_prefix("[]").unwrap_or(path) {
        ".usageMetadata" => {
            tally.report(value);
            tally.is_final = tally.has_finished;
        }
        ".modelVersion" => tally.name_model(&value),
        ".error" => tally.has_error |= !value.is_null(),
        ".candidates[].finishReason" => tally.has_finished |= value.is_string(),
        ".candidates[].groundingMetadata.webSearchQueries" => {
            // Later events repeat them.
            let queries = value.as_array().map_or(0, Vec::len) as u64;
            tally.searches_listed = tally.searches_listed.max(queries);
        }
        ".candidates[].content.parts[].inlineData.mimeType" => {
            let is_image = value.as_str().is_some_and(|kind| kind.starts_with("image/"));
            tally.images = tally.images.saturating_add(u64::from(is_image));
        }
        _ => {}
    }
}

/// Searches that are paid: since Gemini 3 every query, before a grounded answer once, however many queries it took.
pub(super) fn searches(tally: &Tally) -> u64 {
    let generation = tally.model.as_deref().and_then(|model| {
        let version = model.rsplit('/').next()?.strip_prefix("gemini-")?;
        version.split(|character: char| !character.is_ascii_digit()).next()?.parse::<u64>().ok()
    });
    if generation.is_some_and(|generation| generation >= 3) {
        tally.searches_listed
    } else {
        tally.searches_listed.min(1)
    }
}

pub(super) fn usage(told: &Value) -> Option<Usage> {
    let prompt = count(told, "promptTokenCount");
    let candidates = count(told, "candidatesTokenCount");
    let thoughts = count(told, "thoughtsTokenCount");
    let total = count(told, "totalTokenCount");
    prompt.or(candidates).or(thoughts).or(total)?;
    let tools = count(told, "toolUsePromptTokenCount").unwrap_or(0);
    let reasoning = thoughts.unwrap_or(0);
    let cached_audio = modality(told, "cacheTokensDetails", "AUDIO");
    let cached_image = modality(told, "cacheTokensDetails", "IMAGE");
    Some(Usage {
        input_tokens: prompt.unwrap_or(0).saturating_add(tools),
        cache_read_tokens: count(told, "cachedContentTokenCount").unwrap_or(0),
        // Prompt details include what was read from the cache.
        input_audio_tokens: modality(told, "promptTokensDetails", "AUDIO").saturating_sub(cached_audio),
        input_image_tokens: modality(told, "promptTokensDetails", "IMAGE").saturating_sub(cached_image),
        output_tokens: candidates.unwrap_or(0).saturating_add(reasoning),
        reasoning_tokens: reasoning,
        output_audio_tokens: modality(told, "candidatesTokensDetails", "AUDIO"),
        output_image_tokens: modality(told, "candidatesTokensDetails", "IMAGE"),
        service_tier: tier(told),
        ..Usage::default()
    })
}

/// Tokens of one modality in a list of `{modality, tokenCount}`.
fn modality(told: &Value, details: &str, modality: &str) -> u64 {
    let details = told.get(details).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    details
        .iter()
        .filter(|detail| detail.get("modality").is_some_and(|name| name == modality))
        .filter_map(|detail| count(detail, "tokenCount"))
        .fold(0, u64::saturating_add)
}

/// `trafficType` names the tier on Vertex AI: `ON_DEMAND`, `ON_DEMAND_PRIORITY`, `ON_DEMAND_FLEX`.
fn tier(told: &Value) -> Option<String> {
    let traffic = told.get("trafficType")?.as_str()?;
    traffic.strip_prefix("ON_DEMAND_").map(str::to_ascii_lowercase)
}
