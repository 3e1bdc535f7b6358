//! Names with `*`: everything but the star is literal, so `gpt-4.1*` does not match `gpt-4x1-mini`.

/// Whether `pattern` matches all of `text`; each `*` stands for any run of characters, also none.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Like [`matches()`], with `?` for any one character.
#[must_use]
pub fn matches_wild(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how far it reaches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, reach)) = star else { return false };
                star = Some((at, reach + 1));
                p = at + 1;
                t = reach + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains('*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_run_and_all_else_is_literal() {
        for (pattern, text, expected) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("openai/*", "openai/gpt-4o", true),
            ("openai/*", "openai", false),
            ("gpt-4.1*", "gpt-4x1-mini", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("*-mini", "gpt-4o-mini", true),
            ("bedrock/[x]*", "bedrock/[x]1", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_question_mark_is_any_one_character() {
        for (pattern, text, expected) in [
            ("adm?n", "admin", true),
            ("adm?n", "admn", false),
            ("*-admin?", "team-admins", true),
            ("a*b?d*", "axxbcdyy", true),
            ("a*b?d*", "axxbd", false),
            ("*", "", true),
            ("?", "", false),
            ("ü?", "üx", true),
        ] {
            assert_eq!(super::matches_wild(pattern, text), expected, "{pattern} {text}");
        }
    }
}
