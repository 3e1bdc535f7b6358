//! Who calls by the headers of a trusted proxy (rows 66 to 68): believed from the proxy, refused from anyone else, and
//! never more than the directory grants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::OnceLock;

use support::call::{Call, chat_body, client};
use support::cli::{run, text};
use support::{Options, Stack, Value, json, unique};

/// A stack that believes identity headers from these networks. Whoever calls Envoy here does so from 127.0.0.1.
fn start(ranges: &Value) -> Stack {
    Stack::start(Options::config(json!({"general_settings": {
        "enable_oauth2_proxy_auth": true,
        "trusted_proxy_ranges": ranges,
        "public_routes": ["/api/*"],
        "oauth2_config_mappings": {
            "user_id": "X-User-Id", "user_email": "X-User-Email", "team_id": "X-Team-Id", "models": "X-Models",
            "max_budget": "X-Max-Budget", "user_role": "X-User-Role",
        },
    }})))
}

fn trusting() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| start(&json!(["127.0.0.0/8"])))
}

fn distrusting() -> &'static Stack {
    static STACK: OnceLock<Stack> = OnceLock::new();
    STACK.get_or_init(|| start(&json!(["10.0.0.0/8"])))
}

/// A chat without a credential.
fn chat(stack: &Stack) -> Call {
    stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"))
}

#[tokio::test]
async fn row_66_a_trusted_proxy_says_who_calls_and_the_upstream_sees_only_our_word() {
    let stack = trusting();
    let email = format!("{}@example.com", unique("ada"));
    let (user, team) = (stack.user(json!({"user_email": email})).await, stack.team(json!({})).await);
    for (name, value) in [("x-user-id", &user), ("X-USER-ID", &user), ("x-user-email", &email)] {
        let received = chat(stack).header(name, value).header("x-team-id", &team).send().await.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some(user.as_str()), "{name}");
        assert_eq!(received.header("x-tollward-team-id"), Some(team.as_str()), "{name}");
        assert_eq!(received.header("x-tollward-auth-method"), Some("trusted_proxy"), "{name}");
        for name in ["x-user-id", "x-user-email", "x-team-id"] {
            assert_eq!(received.header(name), None, "{name}");
        }
    }
    chat(stack).send().await.denied(401, "auth_error");
    chat(stack).header("x-user-id", "").send().await.denied(401, "auth_error");
    chat(stack).header("x-user-id", &user).header("x-team-id", "no-such-team").send().await.denied(404, "auth_error");
    // Keys work as before.
    let key = stack.plain_key().await;
    assert_eq!(stack.chat(&key).send().await.allowed().header("x-tollward-auth-method"), Some("virtual_key"));
    chat(stack).bearer("sk-unknown-to-everyone").send().await.denied(401, "token_not_found_in_db");
    let unknown = chat(stack).bearer("sk-unknown-to-everyone").header("x-user-id", &user);
    unknown.send().await.denied(401, "token_not_found_in_db");
}

#[tokio::test]
async fn row_66_an_untrusted_peer_is_refused_whatever_else_it_sends() {
    let stack = distrusting();
    let key = stack.plain_key().await;
    #[rustfmt::skip]
    let rows: [&[(&str, &str)]; 7] = [
        &[("x-user-id", "ada")],
        &[("x-user-id", "")],
        &[("x_user_id", "ada")],
        &[("x-max-budget", "1000")],
        &[("x-user-id", "ada"), ("x-forwarded-for", "10.0.0.1")],
        &[("x-user-id", "ada"), ("x-real-ip", "10.0.0.1"), ("forwarded", "for=10.0.0.1"), ("x-envoy-external-address", "10.0.0.1")],
        &[("x-user-id", "ada"), ("x-forwarded-client-cert", "By=a;URI=spiffe://a/b")],
    ];
    for headers in rows {
        let with = |call: Call| headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        with(chat(stack)).send().await.denied(401, "auth_error");
        with(stack.chat(&key)).send().await.denied(401, "auth_error");
    }
    stack.chat(&key).send().await.allowed();
    // Nor does a public route pass them on.
    let received = stack.call("GET", "/api/x").header("x-user-id", "ada").header("x_user_id", "ada").send().await;
    let received = received.received().expect("a public route");
    assert_eq!((received.header("x-user-id"), received.header("x_user_id")), (None, None));
}

#[tokio::test]
async fn what_a_client_smuggles_through_the_proxy_is_refused() {
    let stack = trusting();
    let user = stack.user(json!({})).await;
    let both = format!("{user},eve");
    let huge = "a".repeat(513);
    #[rustfmt::skip]
    let rows: [(&str, &[(&str, &str)]); 9] = [
        ("two copies", &[("x-user-id", &user), ("x-user-id", "eve")]),
        ("two letter cases", &[("x-user-id", &user), ("X-User-ID", "eve")]),
        ("a comma", &[("x-user-id", &both)]),
        ("an underscore", &[("x-user-id", &user), ("x_user_id", "eve")]),
        ("a huge value", &[("x-user-id", &huge)]),
        ("two lists of models", &[("x-user-id", &user), ("x-models", "gpt-4o"), ("x-models", "gpt-4o-mini")]),
        ("an unknown role", &[("x-user-id", &user), ("x-user-role", "root")]),
        ("a budget below nothing", &[("x-user-id", &user), ("x-max-budget", "-1")]),
        ("a budget without end", &[("x-user-id", &user), ("x-max-budget", "1e309")]),
    ];
    for (name, headers) in rows {
        let call = headers.iter().fold(chat(stack), |call, (name, value)| call.header(name, value));
        let answer = call.send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text());
        answer.denied(401, "auth_error");
    }
    chat(stack).header("x-user-id", &user).send().await.allowed();
}

#[tokio::test]
async fn row_67_a_mapped_budget_narrows_and_never_widens() {
    let stack = trusting();
    let team = stack.team(json!({})).await;
    let (poor, rich) = (stack.user(json!({"max_budget": 1e-6})).await, stack.user(json!({"max_budget": 100})).await);
    // The user, whether it acts for the team, the header, whether it passes. A user's own budget binds no call of a team.
    let rows = [
        (&poor, false, None, false),
        (&poor, false, Some("1000000"), false),
        (&poor, true, None, true),
        (&poor, true, Some("0.000001"), false),
        (&rich, false, None, true),
        (&rich, false, Some("50"), true),
        (&rich, false, Some("0.000001"), false),
        (&rich, false, Some("0"), false),
        (&rich, true, Some("50"), true),
        (&rich, true, Some("0.000001"), false),
    ];
    for (user, for_team, budget, passes) in rows {
        let mut call = chat(stack).header("x-user-id", user);
        if for_team {
            call = call.header("x-team-id", &team);
        }
        if let Some(budget) = budget {
            call = call.header("x-max-budget", budget);
        }
        let answer = call.send().await;
        let row = format!("{user}, team {for_team}, {budget:?}: {}", answer.text());
        assert_eq!(answer.status, if passes { 200 } else { 429 }, "{row}");
        assert!(passes || answer.kind() == "budget_exceeded", "{row}");
    }
    stack.verify_ledger();
}

#[tokio::test]
async fn row_67_a_mapped_role_makes_nobody_an_administrator() {
    let stack = trusting();
    let plain = stack.user(json!({"user_role": "internal_user"})).await;
    let admin = stack.user(json!({"user_role": "proxy_admin"})).await;
    for (user, role, expected, may) in [
        (&plain, None, "internal_user", false),
        (&plain, Some("proxy_admin"), "internal_user", false),
        (&plain, Some("internal_user_viewer"), "internal_user_viewer", false),
        (&admin, None, "proxy_admin", true),
        (&admin, Some("internal_user"), "internal_user", false),
    ] {
        let mut headers = vec![("x-user-id", user.as_str())];
        headers.extend(role.map(|role| ("x-user-role", role)));
        let url = format!("http://127.0.0.1:{}/team/new", stack.ports.http);
        let request = headers.iter().fold(client().post(url), |request, (name, value)| request.header(*name, *value));
        let status = request.json(&json!({"team_alias": unique("team")})).send().await.unwrap().status().as_u16();
        assert_eq!(status == 200, may, "{user} as {role:?}: {status}");
        if expected != "internal_user_viewer" {
            let call = headers.iter().fold(chat(stack), |call, (name, value)| call.header(name, value));
            let received = call.send().await.allowed();
            assert_eq!(received.header("x-tollward-role"), Some(expected), "{user} as {role:?}");
        }
    }
}

#[test]
fn row_67_other_fields_and_a_proxy_nobody_listed_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollward.yaml");
    for (settings, named) in [
        ("trusted_proxy_ranges: [10.0.0.0/8], oauth2_config_mappings: {user_id: x-user, token: x-token}", "token"),
        ("trusted_proxy_ranges: [10.0.0.0/8], oauth2_config_mappings: {user_id: x-user, metadata: x-meta}", "metadata"),
        ("trusted_proxy_ranges: [10.0.0.0/8]", "oauth2_config_mappings"),
        ("oauth2_config_mappings: {user_id: x-user}", "trusted_proxy_ranges"),
        ("trusted_proxy_ranges: [0.0.0.0/0], oauth2_config_mappings: {user_id: x-user}", "every address"),
    ] {
        let yaml = format!(
            "general_settings: {{master_key: sk-operator-0123456789, enable_oauth2_proxy_auth: true, {settings}}}\n"
        );
        std::fs::write(&path, yaml).unwrap();
        let output = run(&["serve", "--config", path.to_str().unwrap()], &[]);
        assert!(!output.status.success() && text(&output).contains(named), "{settings}: {}", text(&output));
    }
}

#[tokio::test]
async fn row_68_models_are_a_list_of_trimmed_names() {
    let stack = trusting();
    let user = stack.user(json!({})).await;
    for (model, passes) in [("gpt-4o-mini", true), ("gpt-4o", true), ("claude-3-5-sonnet", false)] {
        let call = stack.call("POST", "/v1/chat/completions").json(&chat_body(model));
        let answer = call.header("x-user-id", &user).header("x-models", " gpt-4o ,gpt-4o-mini").send().await;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{model}: {}", answer.text());
    }
    // Of what the directory allows.
    let confined = stack.user(json!({"models": ["gpt-4o-mini"]})).await;
    let call = stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o"));
    let answer = call.header("x-user-id", &confined).header("x-models", "gpt-4o, *").send().await;
    assert_eq!(answer.status, 403, "{}", answer.text());
}

#[tokio::test]
async fn a_key_beside_the_headers_is_the_same_users_and_the_narrower_holds() {
    let stack = trusting();
    let (user, other) = (stack.user(json!({})).await, stack.user(json!({})).await);
    let key = stack.key(json!({"user_id": user})).await;
    let received = stack.chat(&key).header("x-user-id", &user).send().await.allowed();
    assert_eq!(received.header("x-tollward-auth-method"), Some("virtual_key"));
    assert_eq!(received.header("x-user-id"), None);
    stack.chat(&key).header("x-user-id", &other).send().await.denied(401, "auth_error");
    let narrowed = |name: &str, value: &str| stack.chat(&key).header("x-user-id", &user).header(name, value);
    assert_eq!(narrowed("x-models", "gpt-4o").send().await.status, 403);
    narrowed("x-max-budget", "0.000001").send().await.denied(429, "budget_exceeded");
    stack.chat(&key).send().await.allowed();
}

#[tokio::test]
async fn an_explanation_says_which_header_gave_what() {
    let stack = trusting();
    let user = stack.user(json!({})).await;
    let header = format!("X-User-Id: {user}");
    let ask = |source: &str| {
        stack.command(&["check", "--json", "--model", "gpt-4o-mini", "--source", source, "--header", &header])
    };
    let trusted = ask("127.0.0.1");
    assert!(
        trusted.status.success() && text(&trusted).contains("user_id from the header x-user-id"),
        "{}",
        text(&trusted)
    );
    let untrusted = ask("192.0.2.1");
    assert!(
        !untrusted.status.success() && text(&untrusted).contains("credential.untrusted_identity_header"),
        "{}",
        text(&untrusted)
    );
}
