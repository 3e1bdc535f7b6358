//! Path templates: `{x}` stands for one segment, `{x:path}` for one or more, a trailing `*` for anything. A matcher
//! looks exact paths up by hash and walks templates only where that fails.

use std::collections::HashSet;

/// One template, taken apart once.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    /// One segment; ends before `:` where the template goes on with one.
    Segment {
        colon: bool,
    },
    /// One or more segments; ends before `:` where the template goes on with one.
    Path {
        colon: bool,
    },
    /// Anything, also nothing.
    Rest,
}

impl Template {
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else { break };
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let colon = tail.starts_with(':');
            parts.push(if name.ends_with(":path") { Part::Path { colon } } else { Part::Segment { colon } });
            rest = tail;
        }
        let (literal, star) = match rest.strip_suffix('*') {
            Some(head) => (head, true),
            None => (rest, false),
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        if star {
            parts.push(Part::Rest);
        }
        Template { parts }
    }

    /// Whether the template matches the whole path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        walk(&self.parts, path)
    }
}

fn walk(parts: &[Part], path: &str) -> bool {
    let Some((part, rest)) = parts.split_first() else { return path.is_empty() };
    match part {
        Part::Literal(literal) => path.strip_prefix(literal.as_str()).is_some_and(|path| walk(rest, path)),
        Part::Rest => true,
        Part::Segment { colon } => {
            let end = path.find(|c| c == '/' || (*colon && c == ':')).unwrap_or(path.len());
            end > 0 && walk(rest, &path[end..])
        }
        Part::Path { colon: true } => {
            let end = path.find(':').unwrap_or(path.len());
            end > 0 && walk(rest, &path[end..])
        }
        Part::Path { colon: false } => match rest {
            [] => !path.is_empty(),
            // The last occurrence decides where the template ends with a literal: no search is repeated.
            [Part::Literal(literal)] => path.strip_suffix(literal.as_str()).is_some_and(|head| !head.is_empty()),
            [Part::Literal(literal), ..] => {
                path.match_indices(literal.as_str()).any(|(at, _)| at > 0 && walk(rest, &path[at..]))
            }
            _ => false,
        },
    }
}

/// A set of exact paths and templates.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    exact: HashSet<String, ahash::RandomState>,
    templates: Vec<Template>,
}

impl Matcher {
    pub fn add(&mut self, pattern: &str) {
        if pattern.contains('{') || pattern.ends_with('*') {
            self.templates.push(Template::new(pattern));
        } else {
            self.exact.insert(pattern.to_owned());
        }
    }

    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.exact.contains(path) || self.templates.iter().any(|template| template.matches(path))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Template;

    #[test]
    fn a_template_matches_the_paths_it_describes_and_no_others() {
        for (template, path, expected) in [
            ("/v1/files/{id}", "/v1/files/f-1", true),
            ("/v1/files/{id}", "/v1/files/", false),
            ("/v1/files/{id}", "/v1/files/f-1/content", false),
            ("/v1/files/{id}/content", "/v1/files/f-1/content", true),
            ("/v1/files/{id}/content", "/v1/files/a/b/content", false),
            ("/models/{m:path}:generateContent", "/models/bedrock/claude-x:generateContent", true),
            ("/models/{m:path}:generateContent", "/models/a:b:generateContent", false),
            ("/models/{m:path}:generateContent", "/models/:generateContent", false),
            ("/models/{m}:countTokens", "/models/gemini:countTokens", true),
            ("/models/{m}:countTokens", "/models/a/b:countTokens", false),
            ("/openai/deployments/{m:path}/chat/completions", "/openai/deployments/a/b/chat/completions", true),
            ("/openai/deployments/{m:path}/chat/completions", "/openai/deployments//chat/completions", false),
            ("/openai/deployments/{m:path}/chat/completions", "/openai/deployments/a/chat/completions/x", false),
            ("/gemini/*", "/gemini/anything/at/all", true),
            ("/gemini/*", "/gemini/", true),
            ("/gemini/*", "/gemini", false),
            ("/mcp*", "/mcp", true),
            ("/{s}/x/{p:path}/y/*", "/a/x/b/c/y/d", true),
        ] {
            assert_eq!(Template::new(template).matches(path), expected, "{template} on {path}");
        }
    }

    proptest! {
        #[test]
        fn a_template_filled_in_matches_and_nothing_panics(id in "[a-z0-9._-]{1,12}", tail in "[a-z/:.]{0,24}", any in ".*") {
            let segment = Template::new("/v1/threads/{id}/runs");
            let filled = format!("/v1/threads/{id}/runs");
            prop_assert!(segment.matches(&filled));
            let filled = format!("/x/{id}/{tail}");
            let path = Template::new("/x/{p:path}");
            prop_assert!(path.matches(&filled));
            let _ = Template::new(&any).matches(&tail);
        }
    }
}
