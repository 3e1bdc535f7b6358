//! Which paths a caller may use, and what roles may do (rows 39 to 49 of the conformance list).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Key, MASTER, Options, Stack, Value, cost, json, shared};

/// A call to a path of a model, allowed or not.
async fn status_of(stack: &Stack, key: &Key, path: &str) -> (u16, String) {
    let body = if path.contains("generateContent") {
        json!({"contents": [{"parts": [{"text": "Hello"}]}]})
    } else if path.contains("messages") {
        json!({"model": "claude-3-5-sonnet", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]})
    } else if path.contains("embeddings") {
        json!({"model": "text-embedding-3-small", "input": "Hello"})
    } else {
        chat_body("gpt-4o-mini")
    };
    let answer = stack.call("POST", path).key(key).json(&body).send().await;
    (answer.status, answer.kind())
}

#[tokio::test]
async fn the_route_allowlist_of_a_key_decides() {
    let stack = shared();
    #[rustfmt::skip]
    let rows: Vec<(&str, Value, &str, bool)> = vec![
        ("41: a group", json!({"allowed_routes": ["openai_routes"]}), "/chat/completions", true),
        ("41: another group", json!({"allowed_routes": ["info_routes"]}), "/chat/completions", false),
        ("a group without the path", json!({"allowed_routes": ["anthropic_routes"]}), "/v1/chat/completions", false),
        ("an exact path", json!({"allowed_routes": ["/v1/embeddings"]}), "/v1/embeddings", true),
        ("what lies below a path", json!({"allowed_routes": ["/v1/chat"]}), "/v1/chat/completions", true),
        ("what only begins like it", json!({"allowed_routes": ["/v1/chat/comp"]}), "/v1/chat/completions", false),
        ("a wildcard", json!({"allowed_routes": ["/v1/ch*"]}), "/v1/chat/completions", true),
        ("43: a group of all model paths", json!({"allowed_routes": ["llm_api_routes"]}), "/v1/messages", true),
        ("43: a pass-through", json!({"allowed_routes": ["llm_api_routes"]}), "/anthropic/v1/messages", true),
        ("43: Gemini", json!({"allowed_routes": ["llm_api_routes"]}), "/v1beta/models/gemini-2.0-flash:generateContent", true),
        ("a kind of key: models", json!({"key_type": "llm_api"}), "/v1/chat/completions", true),
        ("a kind of key: management", json!({"key_type": "management"}), "/v1/chat/completions", false),
        ("a kind of key: reading", json!({"key_type": "read_only"}), "/v1/chat/completions", false),
        ("a kind of key: any", json!({"key_type": "default"}), "/v1/chat/completions", true),
    ];
    for (name, attributes, path, allowed) in rows {
        let key = stack.key(attributes).await;
        let (status, kind) = status_of(stack, &key, path).await;
        if allowed {
            assert_eq!(status, 200, "{name}: {kind}");
        } else {
            // 403 in our one error shape, where the original has another.
            assert_eq!((status, kind.as_str()), (403, "route_access_denied"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_path_cannot_be_written_so_that_it_slips_through() {
    let stack = shared();
    let key = stack.key(json!({"allowed_routes": ["/v1/embeddings"]})).await;
    let body = chat_body("gpt-4o-mini").to_string();
    for path in [
        "/v1/embeddings/../chat/completions",
        "/v1/embeddings/%2e%2e/chat/completions",
        "//v1//chat/completions",
        "/v1/embeddings%2f..%2fchat/completions",
        "/v1/embeddings\\..\\chat/completions",
        "/v1/chat/completions?x=/v1/embeddings",
        "/v1/chat/completions;/v1/embeddings",
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\nx-case: {}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            key.secret,
            key.alias,
            body.len()
        );
        let answer = support::raw::exchange(stack.ports.gate, request.as_bytes()).unwrap();
        let status = support::raw::status(&answer);
        assert!(matches!(status, 400 | 403 | 404), "{path}: {answer}");
        assert!(stack.upstream.with_header("x-case", &key.alias).is_empty(), "{path}");
    }
}

#[tokio::test]
async fn the_gate_may_have_fewer_routes_than_the_world() {
    let config = json!({"general_settings": {
        "allowed_routes": ["/embeddings", "/v1/chat/completions", "/open", "/pages/a", "/key/generate"],
        "admin_only_routes": ["/v1/chat/completions"],
        "public_routes": ["/open", "/pages/*"],
    }});
    let stack = Stack::start(Options::config(config));
    let key = stack.plain_key().await;
    // Row 46: exact, so that `/v1/embeddings` is another path.
    let (status, _) = status_of(&stack, &key, "/v1/embeddings").await;
    assert_eq!(status, 403);
    let (status, kind) = status_of(&stack, &key, "/v1/chat/completions").await;
    assert_eq!((status, kind.as_str()), (403, "route_access_denied"));
    stack.call("POST", "/v1/chat/completions").bearer(MASTER).json(&chat_body("gpt-4o-mini")).send().await.allowed();
    for (path, passes) in [("/open", true), ("/pages/a", true), ("/closed", false)] {
        let answer = stack.call("GET", path).send().await;
        assert_eq!(answer.received().is_some(), passes, "{path}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test]
async fn a_path_nobody_opened_is_closed() {
    let stack = shared();
    let key = stack.plain_key().await;
    for path in ["/", "/unknown", "/v1/unknown", "/health", "/favicon.ico"] {
        let answer = stack.call("GET", path).send().await;
        assert!(matches!(answer.status, 401 | 403 | 404), "{path} without a credential: {}", answer.status);
        assert!(answer.received().is_none(), "{path}");
    }
    // Row 39: 403 by role, not 401: who calls is known.
    let answer = stack.call("POST", "/config/update").key(&key).json(&json!({})).send().await;
    assert_eq!(answer.status, 403, "{}", answer.text());
}

/// A key of a user with that role.
async fn key_of(stack: &Stack, role: &str) -> (String, Key) {
    let user = stack.user(json!({"user_role": role})).await;
    let key = stack.key(json!({"user_id": user})).await;
    (user, key)
}

#[tokio::test]
async fn roles_decide_what_the_management_api_answers() {
    let stack = shared();
    // Rows 39, 40 and 45. Refusals by role are 403.
    #[rustfmt::skip]
    let rows = [
        ("internal_user", "GET", "/key/info", true),
        ("internal_user", "POST", "/key/generate", true),
        ("internal_user", "POST", "/user/new", false),
        ("internal_user", "POST", "/team/new", false),
        ("proxy_admin_viewer", "GET", "/user/info", true),
        ("proxy_admin_viewer", "GET", "/key/list", true),
        ("proxy_admin_viewer", "POST", "/key/generate", false),
        ("proxy_admin_viewer", "POST", "/user/new", false),
        ("internal_user_viewer", "GET", "/key/info", true),
        ("internal_user_viewer", "POST", "/key/generate", false),
        ("internal_user_viewer", "POST", "/user/new", false),
        ("proxy_admin", "POST", "/user/new", true),
        ("proxy_admin", "POST", "/team/new", true),
    ];
    for (role, method, path, allowed) in rows {
        let (_, key) = key_of(stack, role).await;
        let body = (method == "POST").then(|| json!({}));
        let (status, answer) = stack.manage_as(&key.secret, method, path, body.as_ref()).await;
        if allowed {
            assert_eq!(status, 200, "{role} {method} {path}: {answer}");
        } else {
            assert_eq!(status, 403, "{role} {method} {path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_user_sees_himself_and_no_other() {
    let stack = shared();
    let (own, key) = key_of(stack, "internal_user").await;
    let (other, other_key) = key_of(stack, "internal_user").await;
    let ask = async |path: String| stack.manage_as(&key.secret, "GET", &path, None).await.0;
    assert_eq!(ask(format!("/user/info?user_id={own}")).await, 200);
    // Row 48.
    assert_eq!(ask(format!("/user/info?user_id={other}")).await, 403);
    assert_eq!(ask(format!("/key/info?key={}", key.token)).await, 200);
    let status = ask(format!("/key/info?key={}", other_key.token)).await;
    assert!(matches!(status, 403 | 404), "the key of another: {status}");
    for path in ["/key/delete", "/key/block", "/key/update"] {
        let body = json!({"key": other_key.secret, "keys": [other_key.secret]});
        let (status, answer) = stack.manage_as(&key.secret, "POST", path, Some(&body)).await;
        assert!(matches!(status, 401 | 403 | 404), "{path}: {status} {answer}");
    }
    stack.chat(&other_key).send().await.allowed();
}

#[tokio::test]
async fn a_child_never_gets_more_than_its_parent() {
    let stack = shared();
    let user = stack.user(json!({"user_role": "internal_user", "max_budget": 1.0})).await;
    let key = stack.key(json!({"user_id": user})).await;
    let (other, _) = key_of(stack, "internal_user").await;
    let rows = [
        ("more money than the owner has", json!({"max_budget": 100.0})),
        ("a key for another user", json!({"user_id": other})),
        ("an administrator's route", json!({"allowed_routes": ["/user/new"]})),
        ("a negative budget", json!({"max_budget": -1.0})),
    ];
    for (name, body) in rows {
        let (status, answer) = stack.manage_as(&key.secret, "POST", "/key/generate", Some(&body)).await;
        assert!(matches!(status, 400 | 401 | 403), "{name}: {status} {answer}");
    }
    let (status, answer) =
        stack.manage_as(&key.secret, "POST", "/key/generate", Some(&json!({"max_budget": 0.5}))).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["user_id"], json!(user), "the caller owns it");
}

#[tokio::test]
async fn a_plain_member_creates_no_keys_for_the_team() {
    let stack = shared();
    let (user, key) = key_of(stack, "internal_user").await;
    let team = stack.team(json!({"members_with_roles": [{"user_id": user, "role": "user"}]})).await;
    // Row 49: 403 here, for the caller is known; the type is the original's.
    let (status, answer) = stack.manage_as(&key.secret, "POST", "/key/generate", Some(&json!({"team_id": team}))).await;
    assert!(matches!(status, 401 | 403), "{status} {answer}");
    let (admin, admin_key) = key_of(stack, "internal_user").await;
    let team = stack.team(json!({"members_with_roles": [{"user_id": admin, "role": "admin"}]})).await;
    let (status, answer) =
        stack.manage_as(&admin_key.secret, "POST", "/key/generate", Some(&json!({"team_id": team}))).await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn a_route_given_to_a_key_opens_it() {
    let stack = shared();
    let user = stack.user(json!({"user_role": "internal_user"})).await;
    // Row 47: only an administrator can create such a key.
    let key = stack.key(json!({"user_id": user, "allowed_routes": ["/user/new"]})).await;
    let (status, answer) = stack.manage_as(&key.secret, "POST", "/user/new", Some(&json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    let (status, _) = stack.manage_as(&key.secret, "POST", "/team/new", Some(&json!({}))).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn groups_name_paths_beyond_the_models() {
    let stack = shared();
    // Rows 42 and 44.
    let info = stack.key(json!({"allowed_routes": ["info_routes", "/custom/route"]})).await;
    assert_eq!(stack.manage_as(&info.secret, "GET", "/key/info", None).await.0, 200);
    assert_eq!(stack.manage_as(&info.secret, "POST", "/key/generate", Some(&json!({}))).await.0, 403);
    let answer = stack.call("POST", "/custom/route").key(&info).json(&json!({})).send().await;
    assert!(answer.received().is_some(), "{} {}", answer.status, answer.text());
    let tools = stack.key(json!({"allowed_routes": ["mcp_routes"]})).await;
    let answer = stack.call("POST", "/v1/mcp/server/abc/approve").key(&tools).json(&json!({})).send().await;
    assert!(answer.received().is_some(), "{} {}", answer.status, answer.text());
    let answer = stack.chat(&tools).send().await;
    assert_eq!((answer.status, answer.kind().as_str()), (403, "route_access_denied"));
}

#[tokio::test]
async fn below_a_root_path_a_route_is_what_stands_behind_it() {
    let stack = Stack::start(Options::config(json!({"request": {"root_path": "/genai"}})));
    // Row 19. Envoy rewrites the path behind its filters, so the gate sees the prefix and the upstream does not.
    let key = stack.key(json!({"allowed_routes": ["/v1/chat/completions"], "models": ["gpt-4o-mini"]})).await;
    let call = |path: &str, model: &str| stack.call("POST", path).key(&key).json(&chat_body(model));
    let answer = call("/genai/v1/chat/completions", "gpt-4o-mini").usage(100, 50).send().await;
    assert_eq!(answer.allowed().path, "/v1/chat/completions");
    stack.wait_spend(&key, cost(100, 50)).await;
    call("/genai/v1/chat/completions", "gpt-4o").send().await.denied(403, "key_model_access_denied");
    // An allowlist names the route, wherever the gateway serves it; what only looks like the prefix is another route.
    for path in ["/genai/v1/embeddings", "/genai/genai/v1/chat/completions", "/genaix/v1/chat/completions"] {
        call(path, "gpt-4o-mini").send().await.denied(403, "route_access_denied");
    }
    stack
        .call("POST", "/genai/v1/chat/completions")
        .json(&chat_body("gpt-4o-mini"))
        .send()
        .await
        .denied(401, "auth_error");
}

#[tokio::test]
async fn a_prefix_nobody_told_the_gate_of_opens_nothing() {
    let stack = shared();
    let key = stack.plain_key().await;
    let call = stack.call("POST", "/genai/v1/chat/completions").key(&key).json(&chat_body("gpt-4o-mini"));
    call.send().await.denied(403, "route_access_denied");
}

#[tokio::test]
async fn a_vector_store_is_open_to_the_keys_that_name_it() {
    let stack = shared();
    // Row 37, by routes: a store is named by its path.
    let any = stack.plain_key().await;
    let one = stack.key(json!({"allowed_routes": ["/v1/vector_stores/vs_mine"]})).await;
    for (name, key, path, passes) in [
        ("no list", &any, "/v1/vector_stores/vs_mine", true),
        ("the store itself", &one, "/v1/vector_stores/vs_mine", true),
        ("what lies in it", &one, "/v1/vector_stores/vs_mine/files", true),
        ("another store", &one, "/v1/vector_stores/vs_other", false),
        ("a name that begins like it", &one, "/v1/vector_stores/vs_mine_too", false),
        ("all stores", &one, "/v1/vector_stores", false),
    ] {
        let answer = stack.call("GET", path).key(key).send().await;
        assert_eq!(answer.received().is_some(), passes, "{name}: {} {}", answer.status, answer.text());
        if !passes {
            answer.denied(403, "route_access_denied");
        }
    }
}
