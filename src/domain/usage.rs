//! What a request used, by class: the numbers prices are multiplied with.

use serde::{Deserialize, Serialize};

/// Units a request used. Token classes are disjoint where named so; totals include their parts as providers report
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// All prompt tokens, cached and written ones included.
    pub input_tokens: u64,
    /// Part of `input_tokens` read from a cache.
    pub cache_read_tokens: u64,
    /// Part of `input_tokens` written to a cache that lives minutes.
    pub cache_write_tokens: u64,
    /// Part of `input_tokens` written to a cache that lives an hour or longer.
    pub cache_write_1h_tokens: u64,
    /// Parts of `input_tokens` that are audio and image.
    pub input_audio_tokens: u64,
    pub input_image_tokens: u64,
    /// All completion tokens, reasoning and audio included.
    pub output_tokens: u64,
    /// Parts of `output_tokens`.
    pub reasoning_tokens: u64,
    pub output_audio_tokens: u64,
    pub output_image_tokens: u64,
    /// Media by unit: milliseconds of audio or video, characters, images, pages, searches.
    pub input_millis: u64,
    pub output_millis: u64,
    pub input_characters: u64,
    pub output_characters: u64,
    pub input_images: u64,
    pub output_images: u64,
    pub pages: u64,
    pub searches: u64,
    /// `flex`, `priority`, `batch` … as the provider reported it; picks the suffixed prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    /// Names of what raises the price of all tokens, as the provider reported it: `fast`, `us`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub surcharges: Vec<String>,
    /// What other models used to help with it, as an adviser does. Nothing above includes it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub helpers: Vec<Helper>,
}

/// What a model used that did a part of the work, all its parts together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// As the provider names it.
    pub model: String,
    pub usage: Usage,
}

impl Usage {
    /// Tokens that count against a limit of tokens per minute: all of them.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.all_input_tokens().saturating_add(self.all_output_tokens())
    }

    /// Input, that of helpers included.
    #[must_use]
    pub fn all_input_tokens(&self) -> u64 {
        self.helpers.iter().fold(self.input_tokens, |sum, helper| sum.saturating_add(helper.usage.input_tokens))
    }

    /// Output, that of helpers included.
    #[must_use]
    pub fn all_output_tokens(&self) -> u64 {
        self.helpers.iter().fold(self.output_tokens, |sum, helper| sum.saturating_add(helper.usage.output_tokens))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        let (service_tier, surcharges) = (self.service_tier.clone(), self.surcharges.clone());
        *self == Usage { service_tier, surcharges, ..Usage::default() }
    }
}
