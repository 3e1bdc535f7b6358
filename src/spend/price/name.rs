//! Names of models: which of them mean the same model.

/// Whether a prefix of a name and the provider of a list entry are one: lists split some providers into several.
pub(super) fn is_same_provider(prefix: &str, provider: &str) -> bool {
    const FAMILIES: [&[&str]; 4] = [
        &["openai", "text-completion-openai", "azure", "azure_text"],
        &["vertex_ai", "vertex_ai_beta", "gemini", "google", "palm"],
        &["bedrock", "bedrock_converse", "bedrock_invoke", "amazon", "aws"],
        &["cohere", "cohere_chat"],
    ];
    let family = |name: &str| FAMILIES.iter().position(|family| family.contains(&name));
    prefix == provider
        || provider.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'))
        || family(prefix)
            .is_some_and(|own| family(provider) == Some(own) || (own == 1 && provider.starts_with("vertex_ai-")))
}

/// The name without a date at its end (`-2024-08-06`, `-20241022`, `@20241022`) or `-latest`; `None` where it has none.
pub(super) fn undated(name: &str) -> Option<&str> {
    if let Some(undated) = name.strip_suffix("-latest") {
        return Some(undated);
    }
    let date = |shape: &[u8]| {
        let (head, tail) = name.split_at_checked(name.len().checked_sub(shape.len())?)?;
        let fits = tail.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'-' => byte == b'-',
            b'2' => byte == b'2',
            b'0' => byte == b'0',
            _ => byte == b'-' || byte == b'@',
        });
        (fits && !head.is_empty()).then_some(head)
    };
    date(b"s20dd-dd-dd").or_else(|| date(b"s20dddddd"))
}

/// `target` with what the star of `pattern` stands for in `name` put in place of its own star.
pub(super) fn substituted(pattern: &str, target: &str, name: &str) -> Option<String> {
    let (head, tail) = pattern.split_once('*')?;
    let captured = name.strip_prefix(head)?.strip_suffix(tail)?;
    Some(target.replacen('*', captured, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_at_the_end_of_a_name_is_no_part_of_it() {
        for (name, expected) in [
            ("gpt-4o-2024-08-06", Some("gpt-4o")),
            ("claude-3-5-sonnet-20241022", Some("claude-3-5-sonnet")),
            ("claude-3-5-sonnet@20241022", Some("claude-3-5-sonnet")),
            ("claude-3-5-sonnet-latest", Some("claude-3-5-sonnet")),
            ("gpt-4o", None),
            ("-2024-08-06", None),
            ("gpt-4-0613", None),
            ("модель", None),
            ("", None),
        ] {
            assert_eq!(undated(name), expected, "{name}");
        }
    }

    #[test]
    fn what_a_star_stood_for_takes_the_place_of_the_targets_star() {
        assert_eq!(substituted("my-*", "openai/*", "my-gpt-4o").as_deref(), Some("openai/gpt-4o"));
        assert_eq!(substituted("fast-*", "openai/gpt-4o-mini", "fast-x").as_deref(), Some("openai/gpt-4o-mini"));
        assert_eq!(substituted("openai/*", "openai/*", "azure/x"), None);
    }
}
