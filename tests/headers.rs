//! What the upstream is told of the caller, what it is not told, and what clients cannot forge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Options, Stack, Value, cost, json, shared};

const IDENTITY: [&str; 13] = [
    "x-tollward-request-id",
    "x-tollward-key-id",
    "x-tollward-key-alias",
    "x-tollward-user-id",
    "x-tollward-user-email",
    "x-tollward-role",
    "x-tollward-team-id",
    "x-tollward-team-alias",
    "x-tollward-org-id",
    "x-tollward-end-user-id",
    "x-tollward-model",
    "x-tollward-auth-method",
    "x-tollward-tags",
];

#[tokio::test]
async fn the_upstream_learns_who_calls() {
    let stack = shared();
    let user = stack.user(json!({"user_email": "ada@example.com"})).await;
    let team = stack.team(json!({"team_alias": "engines"})).await;
    let key = stack.key(json!({"user_id": user, "team_id": team, "key_alias": "engine-key"})).await;
    let mut body = chat_body("gpt-4o-mini");
    body["user"] = json!("customer-7");
    body["metadata"] = json!({"tags": ["blue", "green"]});
    let received = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await.allowed();
    for (name, value) in [
        ("x-tollward-key-alias", "engine-key"),
        ("x-tollward-user-id", user.as_str()),
        ("x-tollward-user-email", "ada@example.com"),
        ("x-tollward-team-id", team.as_str()),
        ("x-tollward-team-alias", "engines"),
        ("x-tollward-end-user-id", "customer-7"),
        ("x-tollward-model", "gpt-4o-mini"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name} in {:?}", received.headers);
    }
    assert!(received.header("x-tollward-request-id").is_some());
    assert!(received.header("x-tollward-auth-method").is_some());
    let tags = received.header("x-tollward-tags").unwrap_or_default();
    assert!(tags.contains("blue") && tags.contains("green"), "{tags}");
    assert!(!format!("{:?}", received.headers).contains(&key.secret));
}

#[tokio::test]
async fn requests_of_one_key_share_nothing_but_the_key() {
    let stack = shared();
    // Row 80: the key is kept in memory; what a request asks and holds is its own.
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let mut calls = tokio::task::JoinSet::new();
    for turn in 0..20_u64 {
        let model = if turn % 2 == 0 { "gpt-4o-mini" } else { "claude-3-5-sonnet" };
        let (customer, tag) = (format!("customer-{turn}"), format!("tag-{turn}"));
        let mut body = chat_body(model);
        (body["user"], body["metadata"]) = (json!(customer), json!({"tags": [tag]}));
        let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).usage(100 + turn, 10);
        calls.spawn(async move { (model, customer, tag, call.send().await) });
    }
    let mut request_ids = std::collections::HashSet::new();
    for (model, customer, tag, answer) in calls.join_all().await {
        let received = answer.allowed();
        for (name, value) in [
            ("x-tollward-model", model),
            ("x-tollward-end-user-id", customer.as_str()),
            ("x-tollward-tags", tag.as_str()),
            ("x-tollward-key-alias", key.alias.as_str()),
        ] {
            assert_eq!(received.header(name), Some(value), "{name} of {customer}");
        }
        let request_id = received.header("x-tollward-request-id").map(str::to_owned);
        assert_eq!(answer.header("x-tollward-request-id"), request_id, "{customer}");
        request_ids.insert(request_id);
    }
    assert_eq!(request_ids.len(), 20, "each has an id and a hold of its own");
    // Each was settled at what it used, at the price of its own model.
    let mini: f64 = (0..20).step_by(2).map(|turn| cost(100 + turn, 10)).sum();
    let sonnet: f64 = (1..20).step_by(2).map(|turn| (100 + turn) as f64 * 3e-6 + 10.0 * 1.5e-5).sum();
    stack.wait_spend(&key, mini + sonnet).await;
}

#[tokio::test]
async fn a_client_cannot_write_our_headers() {
    let stack = shared();
    let key = stack.plain_key().await;
    let mut call = stack.chat(&key);
    for name in IDENTITY {
        call = call.header(name, "forged").header(name, "forged again");
    }
    let received = call.send().await.allowed();
    for name in IDENTITY {
        assert!(received.count(name) <= 1, "{name} once: {:?}", received.headers);
        assert!(!received.header(name).is_some_and(|value| value.contains("forged")), "{name}");
    }
}

#[tokio::test]
async fn only_the_credential_that_authenticated_is_taken_away() {
    let stack = shared();
    let key = stack.plain_key().await;
    let call = stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
    let received = call.header("x-litellm-api-key", &key.secret).header("x-other", "stays").send().await.allowed();
    assert!(received.header("x-litellm-api-key").is_none());
    assert_eq!(received.header("x-other"), Some("stays"));
    let received = stack.chat(&key).send().await.allowed();
    assert!(received.header("authorization").is_none());
}

#[tokio::test]
async fn identities_can_be_kept_from_the_upstream() {
    for (setting, ids, names) in [("all", true, true), ("ids", true, false), ("none", false, false)] {
        let stack = Stack::start(Options::config(json!({"request": {"upstream_identity": setting}})));
        let key = stack.plain_key().await;
        let received = stack.chat(&key).send().await.allowed();
        assert_eq!(received.header("x-tollward-key-id").is_some(), ids, "{setting}: {:?}", received.headers);
        assert_eq!(received.header("x-tollward-key-alias").is_some(), names, "{setting}: {:?}", received.headers);
    }
}

#[tokio::test]
async fn the_providers_key_is_injected_only_on_the_way_to_the_provider() {
    let entry = |name: &str, model: &str, key: &str| {
        json!({"model_name": name, "litellm_params": {"model": model, "api_key": key,
            "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}})
    };
    let models = json!([
        entry("gpt-4o-mini", "openai/gpt-4o-mini", "sk-provider-openai"),
        entry("claude-3-5-sonnet", "anthropic/claude-3-5-sonnet-20241022", "sk-provider-anthropic"),
        entry("gemini-2.0-flash", "gemini/gemini-2.0-flash", "provider-gemini"),
    ]);
    let messages =
        json!({"model": "claude-3-5-sonnet", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]});
    let contents = json!({"contents": [{"parts": [{"text": "Hi"}]}]});
    #[rustfmt::skip]
    let rows: [(&'static str, &str, Value, &str, &str); 3] = [
        ("openai", "/v1/chat/completions", chat_body("gpt-4o-mini"), "authorization", "Bearer sk-provider-openai"),
        ("anthropic", "/v1/messages", messages, "x-api-key", "sk-provider-anthropic"),
        ("gemini", "/v1beta/models/gemini-2.0-flash:generateContent", contents, "x-goog-api-key", "provider-gemini"),
    ];
    for (provider, path, body, header, value) in &rows {
        let stack = Stack::start(Options { provider, config: json!({"model_list": models}), ..Options::default() });
        let key = stack.plain_key().await;
        let received = stack.call("POST", path).key(&key).json(body).send().await.allowed();
        assert_eq!(received.header(header), Some(*value), "{provider}: {:?}", received.headers);
        // Identities are not for third parties; the id of the request says nothing of the caller.
        let told = IDENTITY[1..].iter().find(|name| received.header(name).is_some());
        assert_eq!(told, None, "{provider}: {:?}", received.headers);
        // A model of another provider on this route gets no key.
        for (other, path, body, _, secret) in &rows {
            if other != provider {
                let answer = stack.call("POST", path).key(&key).json(body).send().await;
                if let Some(received) = answer.received() {
                    let sent = format!("{:?}", received.headers);
                    assert!(!sent.contains(secret.trim_start_matches("Bearer ")), "{other} on {provider}: {sent}");
                }
            }
        }
    }
}

#[tokio::test]
async fn headers_of_any_shape_neither_crash_nor_slip_through() {
    let stack = shared();
    let key = stack.plain_key().await;
    let body = chat_body("gpt-4o-mini").to_string();
    // Bytes that are no UTF-8, in a header nobody reads: it passes.
    let mut request = support::raw::chat(&key.secret, "x-odd: ~~~~\r\n", &body);
    let at = request.windows(4).position(|bytes| bytes == b"~~~~").unwrap();
    request[at..at + 4].copy_from_slice(&[0xff, 0xfe, 0xc3, 0x28]);
    let answer = support::raw::exchange(stack.ports.gate, &request).unwrap();
    assert!(matches!(support::raw::status(&answer), 200 | 400), "{answer}");
    // The same bytes in the credential: refused, as a credential.
    let request = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sk-\xff\xfe\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let answer = support::raw::exchange(stack.ports.gate, request).unwrap();
    assert!(matches!(support::raw::status(&answer), 400 | 401), "{answer}");
    // A header of 64 KiB.
    let answer = stack.chat(&key).header("x-large", vec![b'a'; 64 * 1024]).send().await;
    assert!(matches!(answer.status, 200 | 400 | 413 | 431), "{}", answer.status);
    let answer = stack
        .call("POST", "/v1/chat/completions")
        .header("authorization", format!("Bearer sk-{}", "a".repeat(60 * 1024)));
    let answer = answer.json(&chat_body("gpt-4o-mini")).send().await;
    assert!(matches!(answer.status, 401 | 413 | 431), "{}", answer.status);
    // Two credentials in one header name.
    let call = stack.call("POST", "/v1/chat/completions").bearer("sk-unknown-to-everyone").bearer(&key.secret);
    let answer = call.json(&chat_body("gpt-4o-mini")).send().await;
    assert!(matches!(answer.status, 400 | 401), "{}", answer.status);
    assert!(answer.received().is_none());
}
