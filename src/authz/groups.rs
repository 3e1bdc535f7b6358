//! Named groups of routes, as allowlists of keys and settings name them. The table is data; a group holds its own
//! patterns and all groups it includes, expanded and compiled once.

mod management;
mod models;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::pattern::Matcher;

/// Whether this is the name of a group.
#[must_use]
pub fn is_group(name: &str) -> bool {
    COMPILED.contains_key(name)
}

/// Whether the group of this name holds the path; `false` for a name that is no group's.
#[must_use]
pub fn contains(name: &str, path: &str) -> bool {
    COMPILED.get(name).is_some_and(|group| group.contains(path))
}

/// Names of all groups.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|group| group.name)
}

struct Group {
    name: &'static str,
    includes: &'static [&'static str],
    /// Paths that exist with and without `/v1`.
    versioned: &'static [&'static str],
    patterns: &'static [&'static str],
    /// Path prefixes: the path itself and all below it.
    trees: &'static [&'static str],
}

const NO: &[&str] = &[];

fn all() -> impl Iterator<Item = &'static Group> {
    models::GROUPS.iter().chain(management::GROUPS)
}

static COMPILED: LazyLock<HashMap<&'static str, Matcher, ahash::RandomState>> = LazyLock::new(|| {
    all()
        .map(|group| {
            let mut matcher = Matcher::default();
            collect(group, &mut matcher, MAX_DEPTH);
            (group.name, matcher)
        })
        .collect()
});

/// Groups include groups no deeper than this.
const MAX_DEPTH: usize = 4;

/// Adds the group and what it includes. `depth` bounds the walk, whatever the table says.
fn collect(group: &Group, matcher: &mut Matcher, depth: usize) {
    for pattern in group.versioned {
        matcher.add(pattern);
        matcher.add(&format!("/v1{pattern}"));
    }
    for pattern in group.patterns {
        matcher.add(pattern);
    }
    for tree in group.trees {
        matcher.add(tree);
        matcher.add(&format!("{tree}/*"));
    }
    if depth == 0 {
        return;
    }
    for name in group.includes {
        if let Some(included) = all().find(|group| group.name == *name) {
            collect(included, matcher, depth - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_a_group_includes_exists() {
        for group in all() {
            for included in group.includes {
                assert!(is_group(included), "{} includes {included}", group.name);
            }
        }
    }

    #[test]
    fn paths_belong_to_the_groups_that_name_them() {
        for (group, path, expected) in [
            ("openai_routes", "/chat/completions", true),
            ("openai_routes", "/v1/chat/completions", true),
            ("openai_routes", "/openai/deployments/gpt-4o/chat/completions", true),
            ("openai_routes", "/v1/messages", false),
            ("openai_routes", "/v1/chat/completions/x", false),
            ("llm_api_routes", "/v1/messages", true),
            ("llm_api_routes", "/anthropic/v1/messages", true),
            ("llm_api_routes", "/gemini/countTokens", true),
            ("llm_api_routes", "/v1beta/models/bedrock/claude-x:generateContent", true),
            ("llm_api_routes", "/model/anthropic.claude-v2:1/converse", true),
            ("llm_api_routes", "/mcp/tools", true),
            ("llm_api_routes_without_mcp", "/mcp/tools", false),
            ("llm_api_routes", "/v1/mcp/server/abc/approve", false),
            ("llm_api_routes", "/key/generate", false),
            ("llm_api_routes", "/geminix", false),
            ("mcp_routes", "/v1/mcp/server/abc/approve", true),
            ("management_routes", "/v1/mcp/server/abc/approve", true),
            ("management_routes", "/key/generate", true),
            ("management_routes", "/chat/completions", false),
            ("info_routes", "/user/info", true),
            ("info_routes", "/chat/completions", false),
            ("public_routes", "/public/model_hub", true),
            ("public_routes", "/key/info", false),
            ("no_such_group", "/", false),
        ] {
            assert_eq!(contains(group, path), expected, "{path} in {group}");
        }
    }
}
