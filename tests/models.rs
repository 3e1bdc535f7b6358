//! Which models a caller may use (rows 25 to 38 of the conformance list).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Key, Options, Stack, Value, json, shared};

/// A row: the key's attributes, the model asked for, the denial or none.
type Row = (&'static str, Value, &'static str, Option<&'static str>);

#[tokio::test]
async fn the_allowlist_of_a_key_decides() {
    let stack = shared();
    let key_denied = Some("key_model_access_denied");
    #[rustfmt::skip]
    let rows: Vec<Row> = vec![
        ("25: an empty list is every model", json!({"models": []}), "gpt-4o", None),
        ("26: another model", json!({"models": ["gpt-4o-mini"]}), "gpt-4o", key_denied),
        ("26: the model itself", json!({"models": ["gpt-4o-mini"]}), "gpt-4o-mini", None),
        ("27: a wildcard, the provider inferred", json!({"models": ["openai/*"]}), "gpt-4o", None),
        ("27: a wildcard, the provider named", json!({"models": ["openai/*"]}), "openai/gpt-5-nano", None),
        ("27: another provider", json!({"models": ["openai/*"]}), "claude-3-5-sonnet", key_denied),
        // Ours: a wildcard is a glob, every other character stands for itself.
        ("wildcards are globs", json!({"models": ["gpt.4o*"]}), "gpt-4o", key_denied),
        ("a glob at the end", json!({"models": ["gpt-4o*"]}), "gpt-4o-mini", None),
        ("case matters", json!({"models": ["GPT-4o"]}), "gpt-4o", key_denied),
        ("*", json!({"models": ["*"]}), "gpt-4o", None),
        ("all-proxy-models", json!({"models": ["all-proxy-models"]}), "gpt-4o", None),
        ("an access group", json!({"models": ["cheap-models"]}), "gpt-4o-mini", None),
        ("another access group", json!({"models": ["cheap-models"]}), "gpt-4o", key_denied),
        ("30: every model of a comma list", json!({"models": ["gpt-4o-mini"]}), "gpt-4o-mini,gpt-4o", key_denied),
        ("a key's alias to an allowed target", json!({"models": ["gpt-4o-mini"], "aliases": {"small": "gpt-4o-mini"}}), "small", None),
        ("a key's alias to another target", json!({"models": ["gpt-4o-mini"], "aliases": {"big": "gpt-4o"}}), "big", key_denied),
    ];
    for (name, attributes, model, denial) in rows {
        let key = stack.key(attributes).await;
        let answer = stack.chat_with(&key, model).send().await;
        match denial {
            None => assert_eq!(answer.status, 200, "{name}: {}", answer.text()),
            Some(kind) => {
                assert_eq!((answer.status, answer.kind().as_str()), (403, kind), "{name}: {}", answer.text());
                assert_eq!(answer.json()["error"]["param"], "model", "{name}");
                assert!(answer.received().is_none(), "{name}");
                assert!(!answer.text().contains("cheap-models"), "{name}: allowlists are not told");
            }
        }
    }
}

#[tokio::test]
async fn an_alias_of_the_whole_gate_may_be_allowed_by_either_name() {
    let config = json!({"litellm_settings": {"model_alias_map": {"fast": "gpt-4o-mini"}}});
    let stack = Stack::start(Options::config(config));
    // Rows 28 and 29.
    for allowed in ["fast", "gpt-4o-mini"] {
        let key = stack.key(json!({"models": [allowed]})).await;
        let answer = stack.chat_with(&key, "fast").send().await;
        assert_eq!(answer.status, 200, "{allowed}: {}", answer.text());
    }
    let key = stack.key(json!({"models": ["gpt-4o"]})).await;
    stack.chat_with(&key, "fast").send().await.denied(403, "key_model_access_denied");
}

#[tokio::test]
async fn a_fallback_the_client_names_must_be_allowed_too() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"]})).await;
    // Row 31.
    let mut body = chat_body("gpt-4o-mini");
    body["fallbacks"] = json!(["gpt-4o"]);
    stack
        .call("POST", "/v1/chat/completions")
        .key(&key)
        .json(&body)
        .send()
        .await
        .denied(403, "key_model_access_denied");
    body["fallbacks"] = json!(["gpt-4o-mini"]);
    stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await.allowed();
    // Nor does one stand in for the model that is not named.
    body.as_object_mut().unwrap().remove("model");
    let free = stack.plain_key().await;
    let answer = stack.call("POST", "/v1/chat/completions").key(&free).json(&body).send().await;
    assert!(answer.status == 400 && answer.received().is_none(), "{}: {}", answer.status, answer.text());
}

#[tokio::test]
async fn a_model_that_does_a_part_of_the_work_must_be_allowed_too() {
    let stack = shared();
    let (confined, free) = (stack.key(json!({"models": ["claude-haiku-4-5"]})).await, stack.plain_key().await);
    let advised = json!({
        "model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-4-7"}],
    });
    let alone = json!({"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    let batch = |model: &str| json!({"requests": [{"custom_id": "1", "params": {"model": model, "max_tokens": 10}}]});
    // The upstream has no batches.
    for (path, body, passed, is_allowed) in [
        ("/v1/messages", advised, 200, false),
        ("/v1/messages", alone, 200, true),
        ("/anthropic/v1/messages/batches", batch("claude-opus-4-7"), 404, false),
        ("/anthropic/v1/messages/batches", batch("claude-haiku-4-5"), 404, true),
    ] {
        let answer = stack.call("POST", path).key(&free).json(&body).send().await;
        assert_eq!(answer.status, passed, "{path} {body}: {}", answer.text());
        let answer = stack.call("POST", path).key(&confined).json(&body).send().await;
        if is_allowed {
            assert_eq!(answer.status, passed, "{path} {body}: {}", answer.text());
        } else {
            answer.denied(403, "key_model_access_denied");
        }
    }
}

#[tokio::test]
async fn a_team_binds_its_keys() {
    let stack = shared();
    let team = stack.team(json!({"models": ["gpt-4o-mini"]})).await;
    // Row 32.
    for models in [json!(["all-team-models"]), json!([])] {
        let key = stack.key(json!({"team_id": team, "models": models})).await;
        stack.chat_with(&key, "gpt-4o-mini").send().await.allowed();
        stack.chat_with(&key, "gpt-4o").send().await.denied(403, "team_model_access_denied");
    }
    // A key that would have more than its team is not created.
    let body = json!({"team_id": team, "models": ["gpt-4o", "gpt-4o-mini"]});
    let (status, answer) = stack.manage_as(support::MASTER, "POST", "/key/generate", Some(&body)).await;
    assert_eq!(status, 400, "{answer}");
}

#[tokio::test]
async fn a_user_binds_personal_keys_and_not_those_of_a_team() {
    let stack = shared();
    let team = stack.team(json!({})).await;
    // Row 33.
    let user = stack.user(json!({"models": ["no-default-models"], "teams": [team]})).await;
    let personal = stack.key(json!({"user_id": user})).await;
    stack.chat(&personal).send().await.denied(403, "user_model_access_denied");
    let shared_key = stack.key(json!({"user_id": user, "team_id": team})).await;
    stack.chat(&shared_key).send().await.allowed();
    let narrow = stack.user(json!({"models": ["gpt-4o-mini"]})).await;
    let key = stack.key(json!({"user_id": narrow})).await;
    stack.chat(&key).send().await.allowed();
    stack.chat_with(&key, "gpt-4o").send().await.denied(403, "user_model_access_denied");
}

#[tokio::test]
async fn the_model_is_found_wherever_the_api_names_it() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini", "gemini-2.0-flash"]})).await;
    let multipart = |model: &str| {
        format!(
            "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n\
             --b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--b--\r\n"
        )
    };
    let gemini = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
    let no_model = json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5});
    // Row 35 and its relatives.
    let denied = [
        ("/openai/deployments/gpt-4o/chat/completions", no_model.clone()),
        ("/engines/gpt-4o/chat/completions", no_model.clone()),
        ("/v1beta/models/gpt-4o:generateContent", gemini.clone()),
        ("/model/gpt-4o/converse", json!({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]})),
    ];
    for (path, body) in denied {
        let answer = stack.call("POST", path).key(&key).json(&body).send().await;
        assert_eq!(
            (answer.status, answer.kind().as_str()),
            (403, "key_model_access_denied"),
            "{path}: {}",
            answer.text()
        );
    }
    let allowed = [
        ("/openai/deployments/gpt-4o-mini/chat/completions", no_model),
        ("/v1beta/models/gemini-2.0-flash:generateContent", gemini),
    ];
    for (path, body) in allowed {
        let answer = stack.call("POST", path).key(&key).json(&body).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for (model, status) in [("gpt-4o", 403), ("gpt-4o-mini", 200)] {
        let call = stack.call("POST", "/v1/audio/transcriptions").key(&key);
        let call = call.header("content-type", "multipart/form-data; boundary=b").body(multipart(model));
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{model}: {}", answer.text());
    }
    // Row 34.
    let files = |model: &str| stack.call("GET", "/v1/files").key(&key).header("x-litellm-model", model);
    files("gpt-4o").send().await.denied(403, "key_model_access_denied");
}

#[tokio::test]
async fn sources_that_name_different_models_are_refused() {
    let stack = shared();
    let key = stack.plain_key().await;
    // Row 36: ours. Nobody can be authorised for one model and served another.
    let rows = [
        ("/openai/deployments/gpt-4o-mini/chat/completions", "gpt-4o"),
        ("/v1/chat/completions?model=gpt-4o", "gpt-4o-mini"),
    ];
    for (path, body_model) in rows {
        let answer = stack.call("POST", path).key(&key).json(&chat_body(body_model)).send().await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        answer.denied(400, "bad_request_error");
    }
    let twice = r#"{"model": "gpt-4o-mini", "model": "gpt-4o", "messages": []}"#;
    let call = stack.call("POST", "/v1/chat/completions").key(&key).header("content-type", "application/json");
    call.body(twice).send().await.denied(400, "bad_request_error");
    let escaped = r#"{"model": "gpt-4o-mini", "\u006dodel": "gpt-4o", "messages": []}"#;
    let call = stack.call("POST", "/v1/chat/completions").key(&key).header("content-type", "application/json");
    call.body(escaped).send().await.denied(400, "bad_request_error");
}

#[tokio::test]
async fn a_model_without_a_price_is_refused_unless_configured_otherwise() {
    let unpriced = "nobody/knows-this-model";
    let stack = shared();
    let key = stack.plain_key().await;
    let answer = stack.chat_with(&key, unpriced).send().await;
    answer.denied(403, "model_cost_map_missing");
    for (setting, spends) in
        [(json!("zero"), false), (json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6}), true)]
    {
        let stack = Stack::start(Options::config(json!({"metering": {"unknown_model": setting}})));
        let key: Key = stack.plain_key().await;
        stack.chat_with(&key, unpriced).usage(100, 50).send().await.allowed();
        if spends {
            stack.wait_spend(&key, 100.0 * 1e-6 + 50.0 * 2e-6).await;
        }
    }
}
