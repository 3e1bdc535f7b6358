//! Shadow mode, through Envoy: what would have been refused passes, gains nothing by it, and is told and booked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::cli::text;
use support::postgres::Postgres;
use support::upstream::Received;
use support::{Call, Filters, Key, Options, Stack, Value, cost, eventually, json};

#[allow(dead_code, reason = "a part of it is used here")]
#[path = "support/wire.rs"]
mod wire;

/// The key of the provider, which a refused request must never reach the upstream with.
const PROVIDER_KEY: &str = "sk-of-the-provider";
/// Our headers, as a client may write them.
const FORGED: [&str; 4] = ["x-tollward-user-id", "x-tollward-role", "x-tollward-request-id", "x-tollward-anything"];

/// `gpt-4o-mini` is called with the provider's key, and callers of `gpt-4o` are told to the upstream.
fn options(shadow: &Value) -> Options {
    let entry = |name: &str, input: f64, output: f64| {
        json!({"model_name": name, "litellm_params": {"model": format!("openai/{name}"),
            "input_cost_per_token": input, "output_cost_per_token": output}})
    };
    let mut models = [entry("gpt-4o-mini", 1.5e-7, 6e-7), entry("gpt-4o", 2.5e-6, 1e-5)];
    models[0]["litellm_params"]["api_key"] = json!(PROVIDER_KEY);
    let config = json!({"shadow": shadow, "model_list": models});
    Options { config, provider: "openai", ..Options::default() }
}

fn start(shadow: &Value) -> Stack {
    Stack::start(options(shadow))
}

fn forging(call: Call) -> Call {
    FORGED.iter().fold(call, |call, name| call.header(name, "forged"))
}

/// What a request got that would have been refused: it reached the upstream with nothing of ours but its id.
#[track_caller]
fn gained_nothing(name: &str, received: &Received) {
    let ours: Vec<&str> =
        received.headers.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-tollward-")).collect();
    assert_eq!(ours, ["x-tollward-request-id"], "{name}");
    let sent = format!("{:?}", received.headers);
    assert!(!sent.contains("forged") && !sent.contains(PROVIDER_KEY), "{name}: {sent}");
}

/// How many requests passed that would have been refused for this reason.
fn denials(stack: &Stack, reason: &str) -> f64 {
    stack.metric(&format!("tollward_shadow_denials_total{{reason=\"{reason}\"}}"))
}

#[tokio::test]
async fn in_whole_gate_shadow_nothing_is_refused_and_nobody_gains_by_it() {
    let stack = start(&json!({"enabled": true}));
    let key = async |attributes: Value| stack.key(attributes).await;
    let (confined, poor) = (key(json!({"models": ["gpt-4o"]})).await, key(json!({"max_budget": 1e-9})).await);
    let (blocked, limited) = (key(json!({})).await, key(json!({"rpm_limit": 1})).await);
    stack.manage("POST", "/key/block", json!({"key": blocked.secret})).await;
    let router = key(json!({"allowed_routes": ["/v1/embeddings"]})).await;
    // The one request of the minute is allowed: as in force, the provider's key takes the place of the caller's.
    let received = forging(stack.chat(&limited)).usage(100, 10).send().await.allowed();
    assert_eq!(received.header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
    let received = forging(stack.chat_with(&stack.plain_key().await, "gpt-4o")).send().await.allowed();
    assert!(received.header("x-tollward-key-id").is_some() && received.header("authorization").is_none());

    let nobody = || stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
    #[rustfmt::skip]
    let rows: [(&str, &str, Call, Option<&Key>); 9] = [
        ("no credential", "credential.missing", nobody(), None),
        ("an unknown key", "credential.unknown_key", nobody().bearer("sk-unknown-to-the-gate"), None),
        ("a key of another system", "credential.unknown_kind", nobody().bearer("another-systems-key"), None),
        ("a blocked key", "status.key_blocked", stack.chat(&blocked), Some(&blocked)),
        ("a model that is not the key's", "model.key", stack.chat(&confined), Some(&confined)),
        ("a spent budget", "budget.key", stack.chat(&poor), Some(&poor)),
        ("a passed rate limit", "rate_limit.key.requests", stack.chat(&limited), Some(&limited)),
        ("a route that is not the key's", "route.key", stack.chat(&router), Some(&router)),
        ("a body that is none", "body.syntax", nobody().key(&confined).body("{\"model\": }"), None),
    ];
    for (name, reason, call, metered) in rows {
        let answer = forging(call.usage(100, 10)).send().await;
        let received = answer.received().unwrap_or_else(|| panic!("{name}: {} {}", answer.status, answer.text()));
        gained_nothing(name, &received);
        assert_eq!(answer.header("x-tollward-request-id").as_deref(), received.header("x-tollward-request-id"));
        assert_eq!(denials(&stack, reason), 1.0, "{name} is counted");
        if let Some(key) = metered {
            // It goes on as it came, and what it cost is booked.
            assert_eq!(received.header("authorization"), Some(format!("Bearer {}", key.secret).as_str()), "{name}");
            let before = if reason.starts_with("rate") { cost(100, 10) } else { 0.0 };
            stack.wait_spend(key, before + cost(100, 10)).await;
        }
    }
    assert_eq!(stack.metric("tollward_shadow"), 1.0);
    assert_eq!(stack.metric("tollward_decisions_total{outcome=\"allow\",reason=\"\"}"), 11.0);
    stack.verify_ledger();
    let log = stack.tollward().log();
    assert!(log.contains("the whole gate is in shadow mode"), "{log}");
    let told = log.lines().filter(|line| line.contains("would be refused, passes: shadow")).count();
    assert_eq!(told, 9, "one line a request: {log}");
    for secret in [&confined.secret, &poor.secret, &blocked.secret, "sk-unknown-to-the-gate", "another-systems-key"] {
        assert!(!log.contains(secret), "{log}");
    }
    // The management API is in force as ever.
    let (status, _) = stack.manage_as("sk-unknown-to-the-gate", "GET", "/key/list", None).await;
    assert_eq!(status, 401);
    let (status, _) = stack.manage_as(&confined.secret, "POST", "/team/new", Some(&json!({"team_alias": "x"}))).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn an_expired_key_passes_in_shadow_and_an_explanation_says_so() {
    let stack = start(&json!({"enabled": true}));
    let key = stack.key(json!({"duration": "1s"})).await;
    let received = eventually("the key expires", || async {
        let received = stack.chat_with(&key, "gpt-4o").send().await.allowed();
        if received.header("x-tollward-key-id").is_none() { Ok(received) } else { Err("not yet".to_owned()) }
    })
    .await;
    gained_nothing("an expired key", &received);
    assert!(denials(&stack, "status.key_expired") >= 1.0);
    let check = ["check", "--key", &key.secret, "--model", "gpt-4o"];
    let output = stack.command(&check);
    let said = text(&output);
    assert!(output.status.success() && said.contains("would be refused with status 401, passes: shadow"), "{said}");
    let report = stack.command_json(&check);
    assert_eq!((&report["allowed"], &report["shadow"], &report["status"]), (&json!(true), &json!(true), &json!(401)));
    assert_eq!(report["reason"], "status.key_expired");
    assert!(report["upstream_headers"].is_null(), "{report}");
}

#[tokio::test]
async fn while_the_directory_is_down_whole_gate_shadow_lets_pass_and_counts_it() {
    let mut server = Postgres::start(&[]);
    let stack =
        Stack::start(options(&json!({"enabled": true})).with(&json!({"directory": {"url": server.database()}})));
    server.stop();
    let stranger = stack.call("POST", "/v1/chat/completions").bearer("sk-nobody-has-ever-seen-this");
    let received = stranger.json(&chat_body("gpt-4o-mini")).send().await.allowed();
    gained_nothing("a stranger", &received);
    assert_eq!(received.header("authorization"), Some("Bearer sk-nobody-has-ever-seen-this"));
    assert_eq!(denials(&stack, "directory.unavailable"), 1.0);
}

#[tokio::test]
async fn a_limit_in_shadow_lets_pass_while_the_others_are_in_force() {
    let stack = start(&json!({"limits": ["rate_limit.key.*", "budget.team"]}));
    let limited = stack.key(json!({"rpm_limit": 1})).await;
    let answer = stack.chat_with(&limited, "gpt-4o").send().await;
    assert!(answer.allowed().header("x-tollward-key-id").is_some());
    // Clients are not told what does not bind them: what the upstream says of itself stands.
    assert_eq!(answer.header("x-ratelimit-limit-requests").as_deref(), Some("7"));
    let answer = forging(stack.chat(&limited)).usage(100, 10).send().await;
    let received = answer.allowed();
    gained_nothing("a passed rate limit", &received);
    assert!(received.header("authorization").is_none(), "a credential of the gate stays here");
    assert_eq!(denials(&stack, "rate_limit.key.requests"), 1.0);
    stack.wait_any_spend(&limited).await;

    // Both refuse: what is in force decides.
    let spent = stack.key(json!({"rpm_limit": 0, "max_budget": 1e-9})).await;
    stack.chat(&spent).send().await.denied(429, "budget_exceeded");
    // A team's budget is in shadow mode, its rate limit is not.
    let team = stack.team(json!({"rpm_limit": 1, "max_budget": 1e-9})).await;
    let member = stack.key(json!({"team_id": team})).await;
    gained_nothing("a spent budget", &stack.chat(&member).usage(100, 10).send().await.allowed());
    assert_eq!(denials(&stack, "budget.team"), 1.0);
    stack.chat(&member).send().await.denied(429, "rate_limit_error");
    stack.wait_spend(&member, cost(100, 10)).await;
    // What cannot be metered is refused to callers under a budget in force alone.
    let realtime = |key: &Key| stack.call("GET", "/v1/realtime?model=gpt-4o").key(key);
    let other = stack.team(json!({"max_budget": 1.0})).await;
    let member = stack.key(json!({"team_id": other})).await;
    realtime(&member).send().await.received().expect("a budget in shadow mode needs no meter");
    assert_eq!(denials(&stack, "metering.unmeterable"), 1.0);
    let under_budget = stack.key(json!({"max_budget": 1.0})).await;
    realtime(&under_budget).send().await.denied(403, "permission_error");
    // The rest of the gate is in force.
    let nobody = stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
    nobody.send().await.denied(401, "auth_error");
    assert_eq!(stack.metric("tollward_shadow"), 0.0);
    assert!(!stack.tollward().log().contains("the whole gate is in shadow mode"));
    stack.verify_ledger();
}

#[tokio::test]
async fn what_a_policy_in_shadow_would_refuse_passes_bare_and_under_every_limit() {
    let rules =
        json!([{"name": "no-tools", "effect": "deny", "mode": "shadow", "when": "'tools' in request.parameters"}]);
    let stack = Stack::start(options(&json!({})).with(&json!({"policy": {"rules": rules}})));
    let key = stack.key(json!({"rpm_limit": 2})).await;
    let received = stack.chat(&key).send().await.allowed();
    assert_eq!(received.header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
    let mut body = chat_body("gpt-4o-mini");
    body["tools"] = json!([]);
    let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).usage(100, 10);
    let received = forging(call.clone()).send().await.allowed();
    gained_nothing("a policy", &received);
    assert!(received.header("authorization").is_none(), "a credential of the gate stays here");
    assert_eq!(denials(&stack, "policy.no-tools"), 1.0);
    call.send().await.denied(429, "rate_limit_error");
    let log = stack.tollward().log();
    assert!(log.contains("policy.no-tools") && log.contains("would be refused, passes: shadow"), "{log}");
}

#[tokio::test]
async fn no_session_cookie_goes_upstream_whatever_is_in_shadow_mode() {
    let rules =
        json!([{"name": "no-tools", "effect": "deny", "mode": "shadow", "when": "'tools' in request.parameters"}]);
    let identity = json!({"identity": {"session": {"cookie": "tollward_session"}}});
    let policy = json!({"policy": {"rules": rules}});
    let mut body = chat_body("gpt-4o");
    body["tools"] = json!([]);
    let session = "tollward_session=tollward_session_of-somebody";
    let both = format!("theme=dark; {session}; lang=de");
    for (name, shadow, policy, with_key, reason) in [
        ("the whole gate, nobody known", json!({"enabled": true}), json!({}), false, "session.malformed"),
        ("the whole gate, a limit", json!({"enabled": true}), json!({}), true, "rate_limit.key.requests"),
        ("the whole gate and a policy", json!({"enabled": true}), policy.clone(), true, "policy.no-tools"),
        ("a policy", json!({}), policy, true, "policy.no-tools"),
        ("a limit", json!({"limits": ["rate_limit.key.*"]}), json!({}), true, "rate_limit.key.requests"),
    ] {
        let stack = Stack::start(options(&shadow).with(&identity).with(&policy));
        let attributes = if reason.starts_with("policy") { json!({}) } else { json!({"rpm_limit": 0}) };
        let key = stack.key(attributes).await;
        for (sent, left) in [(both.as_str(), Some("theme=dark; lang=de")), (session, None)] {
            let call = stack.call("POST", "/v1/chat/completions").json(&body).header("cookie", sent);
            let call = call.header("sec-fetch-site", "same-origin");
            let received = if with_key { call.key(&key) } else { call }.send().await.allowed();
            gained_nothing(name, &received);
            assert_eq!(received.header("cookie"), left, "{name}");
        }
        assert_eq!(denials(&stack, reason), 2.0, "{name}");
    }
}

#[tokio::test]
async fn the_gateway_is_told_what_the_decision_would_have_been() {
    let stack = Stack::start(Options { filters: Filters::NoEnvoy, ..options(&json!({"enabled": true})) });
    let poor = stack.key(json!({"max_budget": 1e-9})).await;
    let bearer = format!("Bearer {}", poor.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    let answer = async |headers: &[(&str, &str)]| {
        let response = wire::check(stack.ports.grpc, wire::check_request("/v1/chat/completions", headers, &body)).await;
        let ok = wire::allowed(&response);
        assert_eq!(ok.headers_to_remove, Vec::<String>::new());
        let metadata = response.dynamic_metadata.clone().unwrap();
        let value = |name: &str| match metadata.fields.get(name).and_then(|value| value.kind.as_ref()) {
            Some(wire::Kind::StringValue(text)) => Some(text.clone()),
            _ => None,
        };
        assert!(value("request_id").is_some_and(|id| id.len() == 32));
        let fields = ["decision", "shadow_decision", "shadow_reason", "shadow_status"].map(value);
        (fields.map(Option::unwrap_or_default), value("tollward_hold").is_some())
    };
    let told = |texts: [&str; 4]| texts.map(str::to_owned);
    assert_eq!(answer(&headers).await, (told(["allow", "deny", "budget.key", "429"]), true));
    assert_eq!(answer(&[]).await, (told(["allow", "deny", "credential.missing", "401"]), false));
}

#[tokio::test]
async fn shadow_mode_ends_with_a_reload() {
    let stack = start(&json!({"enabled": true}));
    let nobody = || stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
    nobody().send().await.allowed();
    let mut config = stack.config();
    config["shadow"]["enabled"] = json!(false);
    stack.write_config(&config);
    eventually("the gate is in force", || async {
        if nobody().send().await.status == 401 { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    nobody().send().await.denied(401, "auth_error");
    eventually("the metric says so", || async {
        if stack.metric("tollward_shadow") == 0.0 { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
}
