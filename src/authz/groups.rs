//! Named groups of routes, as allowlists of keys and settings name them. The table is data; a group holds its own
//! patterns and all groups it includes, expanded and compiled once.

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
    GROUPS.iter().map(|group| group.name)
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

static COMPILED: LazyLock<HashMap<&'static str, Matcher, ahash::RandomState>> = LazyLock::new(|| {
    GROUPS
        .iter()
        .map(|group| {
            let mut matcher = Matcher::default();
            collect(group, &mut matcher, GROUPS.len());
            (group.name, matcher)
        })
        .collect()
});

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
        if let Some(included) = GROUPS.iter().find(|group| group.name == *name) {
            collect(included, matcher, depth - 1);
        }
    }
}

const GROUPS: &[Group] = &[
    Group {
        name: "openai_routes",
        includes: NO,
        versioned: &[
            "/chat/completions",
            "/completions",
            "/embeddings",
            "/images/generations",
            "/images/edits",
            "/images/variations",
            "/videos",
            "/videos/{id}",
            "/videos/{id}/content",
            "/videos/{id}/remix",
            "/audio/transcriptions",
            "/audio/translations",
            "/audio/speech",
            "/moderations",
            "/batches",
            "/batches/{id}",
            "/batches/{id}/cancel",
            "/files",
            "/files/{id}",
            "/files/{id}/content",
            "/fine_tuning/jobs",
            "/fine_tuning/jobs/{id}",
            "/fine_tuning/jobs/{id}/cancel",
            "/fine_tuning/jobs/{id}/events",
            "/assistants",
            "/assistants/{id}",
            "/threads",
            "/threads/{id}",
            "/threads/{id}/messages",
            "/threads/{id}/runs",
            "/threads/{id}/runs/{run}",
            "/models",
            "/models/{id}",
            "/rerank",
            "/realtime",
            "/realtime/client_secrets",
            "/realtime/calls",
            "/realtime/transcription_sessions",
            "/live/sessions",
            "/responses",
            "/responses/{id}",
            "/responses/{id}/input_items",
            "/responses/{id}/cancel",
            "/responses/input_tokens",
            "/responses/compact",
            "/vector_stores",
            "/vector_stores/{id}",
            "/vector_stores/{id}/search",
            "/vector_stores/{id}/files",
            "/vector_stores/{id}/files/{file}",
            "/vector_stores/{id}/files/{file}/content",
            "/search",
            "/search/{tool}",
            "/search_tools",
            "/ocr",
            "/containers",
            "/containers/*",
            "/decisions",
            "/extraction",
            "/systemone",
        ],
        patterns: &[
            "/engines/{model:path}/chat/completions",
            "/engines/{model:path}/completions",
            "/engines/{model:path}/embeddings",
            "/openai/deployments/{model:path}/chat/completions",
            "/openai/deployments/{model:path}/completions",
            "/openai/deployments/{model:path}/embeddings",
            "/openai/deployments/{model:path}/images/generations",
            "/openai/deployments/{model:path}/images/edits",
            "/openai/deployments/{model:path}/audio/transcriptions",
            "/openai/deployments/{model:path}/audio/speech",
            "/openai/v1/responses",
            "/openai/v1/responses/*",
            "/openai/v1/realtime",
            "/openai/v1/realtime/*",
            "/v2/rerank",
            "/cursor/chat/completions",
            "/cursor/models",
            "/utils/token_counter",
            "/utils/model_info",
            "/utils/transform_request",
        ],
        trees: NO,
    },
    Group {
        name: "anthropic_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/claude_code_gateway/v1/messages",
            "/claude_code_gateway/v1/messages/count_tokens",
        ],
        trees: &["/v1/skills", "/claude-code"],
    },
    Group {
        name: "google_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/v1beta/models/{model:path}:countTokens",
            "/v1beta/models/{model:path}:generateContent",
            "/v1beta/models/{model:path}:streamGenerateContent",
            "/v1beta/models/{model:path}:embedContent",
            "/v1beta/models/{model:path}:batchEmbedContents",
            "/models/{model:path}:countTokens",
            "/models/{model:path}:generateContent",
            "/models/{model:path}:streamGenerateContent",
            "/models/{model:path}:embedContent",
            "/models/{model:path}:batchEmbedContents",
        ],
        trees: &["/interactions", "/v1beta/interactions", "/v1beta/agents"],
    },
    // Amazon's own paths: a gateway leads to the provider itself, without a prefix.
    Group {
        name: "bedrock_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/model/{id:path}/converse",
            "/model/{id:path}/converse-stream",
            "/model/{id:path}/invoke",
            "/model/{id:path}/invoke-with-response-stream",
            "/model/{id:path}/count-tokens",
        ],
        trees: NO,
    },
    Group { name: "mapped_pass_through_routes", includes: NO, versioned: NO, patterns: PASS_THROUGH, trees: NO },
    Group { name: "passthrough_routes_wildcard", includes: NO, versioned: NO, patterns: NO, trees: PASS_THROUGH },
    Group {
        name: "mcp_inference_routes",
        includes: NO,
        versioned: NO,
        patterns: &["/mcp-rest/tools/list", "/mcp-rest/tools/call", "/v1/mcp/tools", "/introspect", "/token"],
        trees: &["/mcp"],
    },
    Group {
        name: "mcp_management_routes",
        includes: NO,
        versioned: NO,
        patterns: NO,
        trees: &["/v1/mcp/server", "/v1/mcp/sessions"],
    },
    Group {
        name: "mcp_routes",
        includes: &["mcp_inference_routes", "mcp_management_routes"],
        versioned: NO,
        patterns: NO,
        trees: NO,
    },
    Group { name: "agent_inference_routes", includes: NO, versioned: NO, patterns: &["/agents"], trees: &["/a2a"] },
    Group { name: "agent_management_routes", includes: NO, versioned: NO, patterns: NO, trees: &["/v1/agents"] },
    Group {
        name: "litellm_native_routes",
        includes: NO,
        versioned: &["/rag/ingest", "/rag/query"],
        patterns: &["/v1/logs"],
        trees: &["/v1/traces"],
    },
    Group {
        name: "apply_guardrail_routes",
        includes: NO,
        versioned: NO,
        patterns: &["/guardrails/apply_guardrail"],
        trees: NO,
    },
    Group {
        name: "model_info_routes",
        includes: NO,
        versioned: &["/model/info"],
        patterns: &["/v2/model/info", "/model_group/info"],
        trees: NO,
    },
    Group {
        name: "llm_api_routes",
        includes: &["llm_api_routes_without_mcp", "mcp_inference_routes"],
        versioned: NO,
        patterns: NO,
        trees: NO,
    },
    Group {
        name: "llm_api_routes_without_mcp",
        includes: &[
            "openai_routes",
            "anthropic_routes",
            "google_routes",
            "bedrock_routes",
            "mapped_pass_through_routes",
            "passthrough_routes_wildcard",
            "apply_guardrail_routes",
            "litellm_native_routes",
            "agent_inference_routes",
            "model_info_routes",
        ],
        versioned: NO,
        patterns: NO,
        trees: NO,
    },
    Group {
        name: "info_routes",
        includes: &["model_info_routes"],
        versioned: &["/models", "/models/{id}"],
        patterns: &[
            "/key/info",
            "/key/health",
            "/key/list",
            "/v2/key/info",
            "/team/info",
            "/team/list",
            "/v2/team/list",
            "/team/available",
            "/team/metadata_schema",
            "/organization/list",
            "/user/info",
            "/v2/user/info",
            "/management/v1/users/me",
            "/user/filter/ui",
            "/health",
            "/health/services",
            "/sso/get/ui_settings",
        ],
        trees: NO,
    },
    Group {
        name: "key_management_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/key/generate",
            "/key/update",
            "/key/delete",
            "/key/info",
            "/key/regenerate",
            "/key/{key}/regenerate",
            "/key/service-account/generate",
            "/key/list",
            "/key/block",
            "/key/unblock",
            "/key/bulk_update",
            "/key/aliases",
            "/key/{key}/reset_spend",
            "/team/key/bulk_update",
            "/team/daily/activity",
            "/spend/logs",
            "/spend/logs/v2",
        ],
        trees: NO,
    },
    Group {
        name: "management_routes",
        includes: &["key_management_routes", "mcp_management_routes", "agent_management_routes"],
        versioned: NO,
        patterns: &[
            "/user/new",
            "/user/update",
            "/user/bulk_update",
            "/user/delete",
            "/user/info",
            "/user/list",
            "/user/daily/activity",
            "/team/new",
            "/team/update",
            "/team/delete",
            "/team/list",
            "/v2/team/list",
            "/team/info",
            "/team/block",
            "/team/unblock",
            "/team/permissions_list",
            "/team/permissions_update",
            "/team/{team_id}",
            "/team/{team_id}/members/me",
            "/model/new",
            "/model/update",
            "/model/delete",
            "/model/info",
        ],
        trees: &["/jwt/key/mapping"],
    },
    Group {
        name: "spend_tracking_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/spend/keys",
            "/spend/users",
            "/spend/tags",
            "/spend/calculate",
            "/spend/logs",
            "/spend/logs/v2",
            "/spend/logs/ui",
            "/spend/logs/ui/{id}",
            "/key/spend/report",
            "/user/spend/report",
            "/team/spend/report",
            "/organization/spend/report",
            "/cost/estimate",
        ],
        trees: NO,
    },
    Group {
        name: "global_spend_tracking_routes",
        includes: NO,
        versioned: NO,
        patterns: &["/global/predict/spend/logs", "/spend/capture_rate"],
        trees: &["/global/spend"],
    },
    Group {
        name: "public_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/routes",
            "/",
            "/health/liveliness",
            "/health/liveness",
            "/test",
            "/.well-known/litellm-ui-config",
            "/litellm/.well-known/litellm-ui-config",
            "/public/*",
        ],
        trees: NO,
    },
    Group {
        name: "master_key_only_routes",
        includes: NO,
        versioned: NO,
        patterns: &["/global/spend/reset"],
        trees: &["/memory-usage"],
    },
    Group {
        name: "internal_user_routes",
        includes: &["key_management_routes", "spend_tracking_routes"],
        versioned: NO,
        patterns: &["/user/daily/activity", "/user/available_roles", "/user/available_users"],
        trees: NO,
    },
    Group {
        name: "internal_user_view_only_routes",
        includes: &["spend_tracking_routes"],
        versioned: NO,
        patterns: &["/user/daily/activity"],
        trees: NO,
    },
    // The endpoint itself looks at who asks for what.
    Group {
        name: "self_managed_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/team/member_add",
            "/team/member_update",
            "/team/member_delete",
            "/team/update",
            "/team/permissions_list",
            "/team/permissions_update",
            "/team/daily/activity",
            "/model/new",
            "/model/update",
            "/model/delete",
            "/project/new",
            "/project/update",
            "/project/delete",
            "/project/info",
            "/project/list",
            "/user/list",
            "/user/daily/activity",
            "/user/password",
            "/invitation/new",
            "/invitation/info",
            "/invitation/delete",
            "/guardrails/register",
        ],
        trees: NO,
    },
    Group {
        name: "org_admin_only_routes",
        includes: NO,
        versioned: NO,
        patterns: &[
            "/organization/info",
            "/organization/update",
            "/organization/member_add",
            "/organization/member_update",
            "/organization/member_delete",
        ],
        trees: NO,
    },
    Group {
        name: "org_admin_allowed_routes",
        includes: &["org_admin_only_routes", "management_routes"],
        versioned: NO,
        patterns: NO,
        trees: NO,
    },
    // What a viewer of everything may still change: itself.
    Group {
        name: "admin_viewer_own_routes",
        includes: NO,
        versioned: NO,
        patterns: &["/user/password", "/logout", "/v2/logout"],
        trees: NO,
    },
];

const PASS_THROUGH: &[&str] = &[
    "/backend-api/codex",
    "/bedrock",
    "/comprehendmedical",
    "/azure_speech",
    "/transcribe",
    "/vertex-ai",
    "/vertex_ai",
    "/cohere",
    "/cursor",
    "/gemini",
    "/anthropic",
    "/langfuse",
    "/azure",
    "/azure_ai",
    "/openai",
    "/openai_passthrough",
    "/assemblyai",
    "/eu.assemblyai",
    "/tinyfish",
    "/vllm",
    "/mistral",
    "/typesafe",
    "/laya",
    "/bespoke",
    "/openrouter",
    "/milvus",
    "/gigachat",
    "/watsonx",
    "/nvidia_nim",
    "/deepgram",
    "/fal_ai",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_a_group_includes_exists() {
        for group in GROUPS {
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
