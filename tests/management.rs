//! The management API: paths and JSON as clients of LiteLLM know them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::{MASTER, Stack, Value, json, shared, unique};

/// Names an answer must have.
#[track_caller]
fn has(answer: &Value, names: &[&str]) {
    for name in names {
        assert!(answer.get(name).is_some(), "{name} in {answer}");
    }
}

#[tokio::test]
async fn a_generated_key_tells_all_it_has() {
    let stack = shared();
    let key = stack
        .key(json!({"models": ["gpt-4o-mini"], "max_budget": 2.5, "duration": "30d", "rpm_limit": 7,
        "metadata": {"team": "engines"}, "budget_duration": "1mo"}))
        .await;
    has(
        &key.attributes,
        &[
            "key",
            "token",
            "token_id",
            "key_name",
            "key_alias",
            "expires",
            "user_id",
            "team_id",
            "models",
            "aliases",
            "config",
            "permissions",
            "metadata",
            "spend",
            "max_budget",
            "soft_budget",
            "budget_duration",
            "budget_limits",
            "model_max_budget",
            "tpm_limit",
            "rpm_limit",
            "max_parallel_requests",
            "allowed_routes",
            "blocked",
            "created_by",
            "created_at",
            "updated_at",
        ],
    );
    assert!(key.secret.starts_with("sk-") && key.secret.len() >= 20);
    let name = key.attributes["key_name"].as_str().unwrap();
    assert_eq!(name, format!("sk-...{}", &key.secret[key.secret.len() - 4..]));
    assert_eq!(key.attributes["max_budget"], 2.5);
    // The stored value is the one LiteLLM stores, so that imported keys keep working.
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.secret.as_bytes());
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(key.token, hash);
    let info = stack.manage("GET", &format!("/key/info?key={}", key.secret), Value::Null).await;
    has(&info, &["key", "info"]);
    has(&info["info"], &["key_alias", "models", "spend", "max_budget", "status", "metadata"]);
    assert_eq!(info["info"]["status"], "active");
    assert!(!info["info"].to_string().contains(&key.secret), "the secret is shown once");
    let by_hash = stack.manage("GET", &format!("/key/info?key={}", key.token), Value::Null).await;
    assert_eq!(by_hash["info"]["key_alias"], key.alias);
}

#[tokio::test]
async fn a_key_can_be_told_about_itself() {
    let stack = shared();
    let key = stack.plain_key().await;
    let (status, answer) = stack.manage_as(&key.secret, "GET", "/key/info", None).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["info"]["key_alias"], key.alias);
}

#[tokio::test]
async fn only_what_is_sent_is_updated() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"], "rpm_limit": 7, "max_budget": 2.0})).await;
    stack.manage("POST", "/key/update", json!({"key": key.secret, "rpm_limit": 9})).await;
    let info = stack.key_info(&key).await;
    assert_eq!(
        (&info["rpm_limit"], &info["max_budget"], &info["models"]),
        (&json!(9), &json!(2.0), &json!(["gpt-4o-mini"]))
    );
    stack.manage("POST", "/key/update", json!({"key": key.secret, "max_budget": null})).await;
    assert_eq!(stack.key_info(&key).await["max_budget"], Value::Null);
}

#[tokio::test]
async fn keys_are_listed_in_pages() {
    let stack = shared();
    let user = stack.user(json!({})).await;
    let mut tokens = Vec::new();
    for _ in 0..5 {
        tokens.push(stack.key(json!({"user_id": user})).await.token);
    }
    let mut listed = Vec::new();
    for page in 1..=3 {
        let answer = stack.manage("GET", &format!("/key/list?user_id={user}&size=2&page={page}"), Value::Null).await;
        has(&answer, &["keys", "total_count", "current_page", "total_pages"]);
        assert_eq!((&answer["total_count"], &answer["total_pages"]), (&json!(5), &json!(3)));
        listed.extend(answer["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()));
    }
    listed.sort();
    tokens.sort();
    assert_eq!(listed, tokens);
}

#[tokio::test]
async fn unusable_attributes_are_refused_and_leave_nothing() {
    let stack = shared();
    let taken = stack.plain_key().await;
    #[rustfmt::skip]
    let rows: Vec<(&str, Value)> = vec![
        ("a negative budget", json!({"max_budget": -1})),
        ("a negative limit", json!({"rpm_limit": -1})),
        ("a duration that is none", json!({"duration": "soon"})),
        ("a budget duration that is none", json!({"max_budget": 1, "budget_duration": "sometimes"})),
        ("an alias that is taken", json!({"key_alias": taken.alias})),
        ("an alias with control characters", json!({"key_alias": "a\u{0}b"})),
        ("a key without its prefix", json!({"key": "0123456789abcdefghij"})),
        ("a short key", json!({"key": "sk-short"})),
        ("models that are no list", json!({"models": "gpt-4o"})),
        ("a reserved name in metadata", json!({"metadata": {"service_account_id": "x"}})),
        ("an unknown team", json!({"team_id": "no-such-team"})),
    ];
    for (name, body) in rows {
        let (status, answer) = stack.manage_as(MASTER, "POST", "/key/generate", Some(&body)).await;
        assert!(matches!(status, 400 | 404 | 409 | 422), "{name}: {status} {answer}");
        assert!(answer.get("key").is_none(), "{name}");
        assert!(answer["error"]["message"].is_string() || answer.get("detail").is_some(), "{name}: {answer}");
    }
    let (status, answer) = stack.manage_as(MASTER, "POST", "/key/generate", Some(&json!({"key": taken.secret}))).await;
    assert!(matches!(status, 400 | 409), "a key that exists: {status}");
    assert!(!answer.to_string().contains(&taken.secret));
}

#[tokio::test]
async fn an_attribute_nobody_knows_is_told_of() {
    let stack = shared();
    // Row 93, as far as it can be: whoever asks for a limit that is not there learns that it does not bind.
    let hours = json!({"timezone": "Europe/Berlin", "days": ["mon"], "start": "09:00", "end": "17:00"});
    let key = stack.key(json!({"access_schedule": hours})).await;
    assert!(key.attributes["warnings"].to_string().contains("access_schedule"), "{}", key.attributes);
    assert!(stack.key_info(&key).await.get("access_schedule").is_none());
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let stack = shared();
    for (method, path, body) in [
        ("GET", "/key/info?key=sk-no-such-key-anywhere", Value::Null),
        ("GET", "/team/info?team_id=no-such-team", Value::Null),
        ("GET", "/user/info?user_id=no-such-user", Value::Null),
        ("POST", "/key/update", json!({"key": "sk-no-such-key-anywhere", "rpm_limit": 1})),
        ("POST", "/key/block", json!({"key": "sk-no-such-key-anywhere"})),
    ] {
        let (status, answer) = stack.manage_as(MASTER, method, path, (!body.is_null()).then_some(&body)).await;
        assert_eq!(status, 404, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn the_api_is_closed_to_strangers() {
    let stack = shared();
    for (method, path) in
        [("POST", "/key/generate"), ("GET", "/key/list"), ("POST", "/team/new"), ("GET", "/user/info")]
    {
        let body = (method == "POST").then(|| json!({}));
        let (status, _) = stack.manage_as("sk-unknown-to-everyone", method, path, body.as_ref()).await;
        assert_eq!(status, 401, "{method} {path}");
        let url = format!("http://127.0.0.1:{}{path}", stack.ports.http);
        let response = support::call::client().request(method.parse().unwrap(), url).send().await.unwrap();
        assert_eq!(response.status(), 401, "{method} {path} without a credential");
    }
}

#[tokio::test]
async fn malformed_requests_are_answered() {
    let stack = shared();
    let url = format!("http://127.0.0.1:{}/key/generate", stack.ports.http);
    for body in ["", "{", "[]", "null", "7", "{\"models\": {}}"] {
        let request = support::call::client().post(&url).bearer_auth(MASTER).header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let status = response.status().as_u16();
        // An empty body is a key with every default.
        assert!(matches!(status, 400 | 415 | 422) || (body.is_empty() && status == 200), "{body:?}: {status}");
    }
    let request = support::call::client().post(&url).bearer_auth(MASTER).header("content-type", "application/json");
    let response =
        request.body(format!("{{\"metadata\": {{\"a\": \"{}\"}}}}", "a".repeat(32 * 1024 * 1024))).send().await;
    if let Ok(response) = response {
        assert!(response.status().is_client_error(), "32 MiB: {}", response.status());
    }
    let (status, _) = stack.manage_as(MASTER, "GET", "/key/generate", None).await;
    assert!(matches!(status, 404 | 405), "{status}");
}

#[tokio::test]
async fn teams_and_users_have_their_keys() {
    let stack = shared();
    let user = stack.user(json!({"user_email": format!("{}@example.com", unique("u")), "max_budget": 3.0})).await;
    let team = stack.team(json!({"members_with_roles": [{"user_id": user, "role": "user"}], "rpm_limit": 5})).await;
    let key = stack.key(json!({"user_id": user, "team_id": team})).await;
    let info = stack.manage("GET", &format!("/team/info?team_id={team}"), Value::Null).await;
    has(&info, &["team_id", "team_info", "keys", "team_memberships"]);
    assert_eq!(info["team_info"]["rpm_limit"], 5);
    assert!(info["keys"].to_string().contains(&key.alias), "{info}");
    let info = stack.manage("GET", &format!("/user/info?user_id={user}"), Value::Null).await;
    has(&info, &["user_id", "user_info", "keys", "teams"]);
    assert_eq!(info["user_info"]["max_budget"], 3.0);
    assert!(info["keys"].to_string().contains(&key.alias), "{info}");
    let created = stack.manage("POST", "/user/new", json!({"user_id": unique("with-key")})).await;
    has(&created, &["user_id", "key"]);
}

#[tokio::test]
async fn ceilings_and_defaults_hold_for_new_keys() {
    let config = json!({"litellm_settings": {
        "upperbound_key_generate_params": {"max_budget": 10.0, "rpm_limit": 100},
        "default_key_generate_params": {"tpm_limit": 5000},
        "key_alias_pattern": "ok-*",
    }});
    let stack = Stack::start(support::Options::config(config));
    let key = stack.key(json!({"key_alias": "ok-1"})).await;
    assert_eq!(key.attributes["max_budget"], 10.0, "an absent value is the ceiling");
    assert_eq!(key.attributes["tpm_limit"], 5000);
    for body in [
        json!({"key_alias": "ok-2", "max_budget": 11.0}),
        json!({"key_alias": "ok-3", "rpm_limit": 101}),
        json!({"key_alias": "no"}),
    ] {
        let (status, answer) = stack.manage_as(MASTER, "POST", "/key/generate", Some(&body)).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
}
