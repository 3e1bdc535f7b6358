//! Where each API says how much may be answered. The reader of bodies and the writer of caps ask here, so that they
//! agree on what bounds an answer.

use crate::domain::Api;

/// Objects in a body that hold sampling parameters.
pub const CONFIGS: &[&str] = &[
    "generationConfig",
    "generation_config",
    "inferenceConfig",
    "inference_config",
    "textGenerationConfig",
    "additionalModelRequestFields",
    "additional_model_request_fields",
    "parameters",
    "imageGenerationConfig",
];

/// Every name of an output cap.
pub const CAPS: &[&str] = &[
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
    "maxTokens",
    "max_tokens_to_sample",
    "max_new_tokens",
    "max_gen_len",
    "maxTokenCount",
];

/// Every name of a number of answers.
pub const CHOICES: &[&str] =
    &["n", "best_of", "candidateCount", "candidate_count", "sampleCount", "numberOfImages", "num_generations"];

pub fn is_cap(name: &str) -> bool {
    CAPS.contains(&name)
}

pub fn is_choices(name: &str) -> bool {
    CHOICES.contains(&name)
}

/// Whether this cap truly bounds an answer of this API; `config` is the object of sampling parameters around it. A cap
/// the provider ignores must not make a hold small.
pub fn binds(api: Api, config: Option<&str>, name: &str) -> bool {
    match api {
        Api::OpenAiChat => config.is_none() && matches!(name, "max_tokens" | "max_completion_tokens"),
        Api::OpenAiCompletions | Api::AnthropicMessages => config.is_none() && name == "max_tokens",
        Api::OpenAiResponses => config.is_none() && name == "max_output_tokens",
        Api::GeminiGenerate => {
            matches!(config, Some("generationConfig" | "generation_config"))
                && matches!(name, "maxOutputTokens" | "max_output_tokens")
        }
        Api::BedrockConverse => config == Some("inferenceConfig") && name == "maxTokens",
        _ => true,
    }
}

/// The largest of several caps; one that is no whole number of tokens (negative, text) bounds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputCap {
    largest: Option<u64>,
    binding: bool,
    unbounded: bool,
}

impl OutputCap {
    pub fn add(&mut self, value: Option<u64>, binds: bool) {
        match value {
            Some(tokens) => {
                self.largest = Some(self.largest.map_or(tokens, |largest| largest.max(tokens)));
                self.binding |= binds;
            }
            None => self.unbounded = true,
        }
    }

    /// Adds what another reading found.
    pub fn join(&mut self, other: OutputCap) {
        if let Some(largest) = other.largest {
            self.add(Some(largest), other.binding);
        }
        self.unbounded |= other.unbounded;
    }

    pub fn get(self) -> Option<u64> {
        self.largest.filter(|_| self.binding && !self.unbounded)
    }
}

/// A count as JSON or a form gives it. Fractions are rounded up, as `1e3` and `100.0` are numbers to some providers;
/// what is negative or no number is `None`.
pub fn count(text: &str) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().unwrap_or(u64::MAX));
    }
    let number: f64 = text.parse().ok()?;
    // A float turned into an integer saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (number.is_finite() && number >= 0.0).then(|| number.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_numbers_rounded_up() {
        let cases = [
            ("100", Some(100)),
            (" 7 ", Some(7)),
            ("1e3", Some(1000)),
            ("99.2", Some(100)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("1e300", Some(u64::MAX)),
            ("-1", None),
            ("many", None),
            ("", None),
            ("inf", None),
        ];
        for (text, expected) in cases {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    #[test]
    fn one_cap_that_bounds_nothing_takes_the_bound_from_all() {
        let mut cap = OutputCap::default();
        cap.add(Some(5), true);
        assert_eq!(cap.get(), Some(5));
        cap.add(Some(9), false);
        assert_eq!(cap.get(), Some(9), "the largest counts");
        cap.add(None, true);
        assert_eq!(cap.get(), None);
    }
}
