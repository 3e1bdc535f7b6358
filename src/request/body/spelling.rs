//! Names that are read, spelled in another case. Readers of some languages (Go, Java, C#) take `Model` for `model`, and
//! of both the last: to them a body would say something else than to the gate.

use std::borrow::Cow;
use std::sync::LazyLock;

use ahash::AHashMap;

use super::caps::{CAPS, CHOICES, CONFIGS};

/// Every name that is read of a body, but for caps, numbers of answers and their objects.
const NAMES: &[&str] = &[
    "model",
    "models",
    "target_model_names",
    "fallbacks",
    "context_window_fallbacks",
    "content_policy_fallbacks",
    "default_fallbacks",
    "router_settings_override",
    "session",
    "completion",
    "requests",
    "params",
    "tools",
    "plugins",
    "parameters",
    "analysis_models",
    "extra_body",
    "metadata",
    "litellm_metadata",
    "litellm_params",
    "litellm_embedding_config",
    "tags",
    "user",
    "safety_identifier",
    "service_tier",
    "serviceTier",
    "size",
    "quality",
    "stream",
    "stream_options",
    "include_usage",
];

/// Every name that is read, by its letters in lower case. No two of them differ in case alone.
static FOLDED: LazyLock<AHashMap<String, &str>> = LazyLock::new(|| {
    let known = [NAMES, CAPS, CHOICES, CONFIGS].into_iter().flatten().copied();
    known.map(|known| (known.to_ascii_lowercase(), known)).collect()
});

/// The name that is read and differs from this one in case alone.
pub fn meant(name: &str) -> Option<&'static str> {
    FOLDED.get(&*folded(name)).copied().filter(|known| *known != name)
}

/// The name in lower case, with the letters that fold to one of ASCII.
pub fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        _ => letter.to_ascii_lowercase(),
    };
    Cow::Owned(name.chars().map(fold).collect())
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
    use super::*;

    #[test]
    fn a_name_in_another_case_is_told_from_the_name_itself_and_from_others() {
        for (name, expected) in [
            ("model", None),
            ("Model", Some("model")),
            ("MODEL", Some("model")),
            ("MAX_TOKENS", Some("max_tokens")),
            ("max_to\u{212a}ens", Some("max_tokens")),
            ("u\u{17f}er", Some("user")),
            ("S\u{130}ze", Some("size")),
            ("qual\u{131}ty", Some("quality")),
            ("maxtokens", Some("maxTokens")),
            ("maxTokens", None),
            ("max_tokens", None),
            ("generationconfig", Some("generationConfig")),
            ("servicetier", Some("serviceTier")),
            ("messages", None),
            ("Messages", None),
            ("mödel", None),
            ("", None),
        ] {
            assert_eq!(meant(name), expected, "{name}");
        }
    }

    #[test]
    fn every_name_is_read_somewhere_and_none_is_another_in_another_case() {
        let places = [Place::Body, Place::Options, Place::Request, Place::Tool];
        for name in [NAMES, CAPS, CHOICES, CONFIGS].into_iter().flatten() {
            assert!(places.iter().any(|place| place.knows(name)), "{name}");
            assert_eq!(meant(name), None, "{name}");
        }
    }
}
