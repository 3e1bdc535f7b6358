//! Opaque tokens through Envoy (rows 62 to 64 of the conformance list): introspection and token info at a real identity
//! provider, beside keys, and what a caller sees while the provider is down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::LazyLock;

use support::idp::{AUDIENCE, Fault, GATEWAY, Idp};
use support::{Answer, MASTER, Options, Stack, Value, eventually, json, unique};

static IDP: LazyLock<Idp> = LazyLock::new(Idp::start);

/// Introspection; what is refused is forgotten at once, and what is accepted after a minute.
static STACK: LazyLock<Stack> = LazyLock::new(|| {
    Stack::start(Options::config(json!({"general_settings": {
        "enable_oauth2_auth": true,
        "oauth_token_info_endpoint": IDP.introspection_url(),
        "oauth_client_id": GATEWAY.id,
        "oauth_client_secret": GATEWAY.secret,
        "oauth_cache_ttl": 60,
        "oauth_negative_ttl": 0,
    }})))
});

async fn chat(stack: &Stack, secret: &str) -> Answer {
    let body = support::call::chat_body("gpt-4o-mini");
    stack.call("POST", "/v1/chat/completions").bearer(secret).json(&body).send().await
}

#[tokio::test]
async fn keys_and_opaque_tokens_live_side_by_side() {
    let stack = &*STACK;
    let (user, key) = (stack.user(json!({"user_email": "ada@example.com"})).await, stack.plain_key().await);
    let team = stack.team(json!({"models": ["gpt-4o-mini"]})).await;
    // Row 62.
    let token = IDP.opaque(json!({"account": user, "extra": {"team_id": team, "role": "internal_user"}}));
    let answer = chat(stack, &token).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = answer.received().expect("it passed");
    for (name, value) in [
        ("x-tollward-user-id", user.as_str()),
        ("x-tollward-user-email", "ada@example.com"),
        ("x-tollward-team-id", &team),
        ("x-tollward-role", "internal_user"),
        ("x-tollward-auth-method", "oauth2"),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    assert!(!format!("{:?} {}", received.headers, received.path).contains(&token), "the token does not travel on");
    let asked = IDP.requests("introspection").pop().expect("the provider was asked");
    let basic = asked["headers"]["authorization"].as_str().unwrap_or_default();
    assert!(asked["method"] == "POST" && basic.starts_with("Basic "), "{asked}");

    let denied = stack.call("POST", "/v1/chat/completions").bearer(&token);
    let denied = denied.json(&support::call::chat_body("gpt-4o")).send().await;
    denied.denied(403, "team_model_access_denied");

    for (secret, method) in [(key.secret.as_str(), "virtual_key"), (MASTER, "master_key")] {
        let answer = chat(stack, secret).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.received().expect("it passed").header("x-tollward-auth-method"), Some(method));
    }
    // A key that is unknown is no token of anybody's.
    let before = IDP.count("introspection");
    chat(stack, "sk-unknown-to-everyone").await.denied(401, "token_not_found_in_db");
    assert_eq!(IDP.count("introspection"), before);
}

#[tokio::test]
async fn a_token_that_is_not_said_to_be_active_is_refused() {
    let stack = &*STACK;
    // Row 63.
    for token in [IDP.opaque(json!({"ttl": -10})), unique("unknown-opaque-token")] {
        let answer = chat(stack, &token).await;
        answer.denied(401, "auth_error");
        assert!(answer.header("www-authenticate").is_some() && !answer.text().contains(&token));
    }
    assert!(!stack.tollward().log().contains("unknown-opaque-token"), "tokens are not logged");
}

#[tokio::test]
async fn roles_rule_management_with_tokens_too() {
    let stack = &*STACK;
    let token = |role: &str| IDP.opaque(json!({"account": unique("user"), "extra": {"role": role}}));
    let info = async |role: &str| stack.manage_as(&token(role), "GET", "/user/list", None).await.0;
    assert_eq!(info("proxy_admin").await, 200);
    assert_eq!(info("internal_user").await, 403);
    let answer = chat(stack, &token("proxy-admin")).await;
    answer.denied(403, "permission_error");
    assert_eq!(answer.json()["error"]["param"], "user_role");
}

#[tokio::test]
async fn check_explains_which_field_named_whom_and_never_shows_the_token() {
    let stack = &*STACK;
    let user = unique("user");
    let token = IDP.opaque(json!({"account": user}));
    let header = format!("authorization: Bearer {token}");
    let report = stack.command_json(&["check", "--header", &header, "--model", "gpt-4o-mini"]).to_string();
    for part in [&format!("introspection at {}", IDP.introspection_url()), "sub says user", &user, "oauth2 knows it"] {
        assert!(report.contains(part), "{part} is told: {report}");
    }
    assert!(!report.contains(&token), "{report}");
}

#[tokio::test]
async fn a_provider_that_is_down_is_never_a_bad_token() {
    let idp = Idp::start();
    let stack = Stack::start(Options::config(json!({"general_settings": {
        "enable_oauth2_auth": true,
        "oauth_token_info_endpoint": idp.introspection_url(),
        "oauth_client_id": GATEWAY.id,
        "oauth_client_secret": GATEWAY.secret,
    }})));
    let (known, key) = (idp.opaque(json!({})), stack.plain_key().await);
    assert_eq!(chat(&stack, &known).await.status, 200);
    idp.fault("introspection", Fault::Status { status: 500 });
    for _ in 0..10 {
        let answer = chat(&stack, &unique("opaque")).await;
        answer.denied(503, "auth_provider_unavailable");
        assert!(answer.header("retry-after").is_some());
    }
    assert!(idp.count("introspection") < 10, "it is not asked by every request");
    idp.unplug();
    chat(&stack, &unique("opaque")).await.denied(503, "auth_provider_unavailable");
    assert_eq!(chat(&stack, &known).await.status, 200, "what is known works on");
    assert_eq!(chat(&stack, &key.secret).await.status, 200, "and so do keys");
    idp.plug_in();
    idp.clear_faults();
    let fresh = idp.opaque(json!({}));
    eventually("the provider is asked again", || async {
        let status = chat(&stack, &fresh).await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;

    // The same gate, told to ask elsewhere: row 64, and token info.
    idp.serve("/no-active", "application/json", r#"{"sub": "ada"}"#);
    let mut config = stack.config();
    let ask_at = |config: &mut Value, url: &str, mode: &str| {
        config["general_settings"]["oauth_token_info_endpoint"] = json!(url);
        config["general_settings"]["oauth_mode"] = json!(mode);
        stack.write_config(config);
    };
    ask_at(&mut config, &idp.url("/no-active"), "introspection");
    let wanted = |status: u16, user: Option<&'static str>| {
        let (stack, idp) = (&stack, &idp);
        async move {
            let token = idp.opaque(json!({"account": "grace"}));
            let answer = chat(stack, &token).await;
            let named = answer.received().and_then(|received| received.header("x-tollward-user-id").map(str::to_owned));
            if (answer.status, named.as_deref()) == (status, user) { Ok(()) } else { Err(answer.text()) }
        }
    };
    eventually("an answer without active is refused", || wanted(401, None)).await;
    assert!(idp.count("/no-active") > 0);
    ask_at(&mut config, &idp.userinfo_url(), "token_info");
    eventually("token info tells whose it is", || wanted(200, Some("grace"))).await;
}

#[tokio::test]
async fn row_65_a_jwt_that_an_override_names_is_the_authorization_servers() {
    // The real provider introspects no JWTs.
    let idp = Idp::start();
    idp.serve("/introspect-machines", "application/json", r#"{"active": true, "sub": "machine"}"#);
    let stack = Stack::start(Options::config(json!({"general_settings": {
        "enable_jwt_auth": true,
        "jwt_public_key_url": idp.jwks_url(),
        "jwt_audience": AUDIENCE,
        "litellm_jwtauth": {"user_id_jwt_field": "sub", "routing_overrides": [
            {"iss": idp.issuer(), "client_id": "machine-*", "path": "oauth2"},
        ]},
        "enable_oauth2_auth": true,
        "oauth_token_info_endpoint": idp.url("/introspect-machines"),
        "oauth_client_id": GATEWAY.id,
        "oauth_client_secret": GATEWAY.secret,
    }})));
    for (client, issuer, user, method, asked) in
        [("workbench", idp.issuer(), "ada", "jwt", 0), ("machine-7", idp.issuer(), "machine", "oauth2", 1)]
    {
        let token = idp.sign(json!({"sub": "ada", "client_id": client, "iss": issuer}));
        let received = chat(&stack, &token).await.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some(user), "{client}");
        assert_eq!(received.header("x-tollward-auth-method"), Some(method), "{client}");
        assert_eq!(idp.count("/introspect-machines"), asked, "{client}");
    }
    // What the server refuses is not judged by its signature after all.
    idp.serve("/introspect-machines", "application/json", r#"{"active": false}"#);
    chat(&stack, &idp.sign(json!({"sub": "ada", "client_id": "machine-8"}))).await.denied(401, "auth_error");
}

#[tokio::test]
async fn opaque_tokens_of_a_jwt_issuer_are_read_by_its_userinfo() {
    let idp = Idp::start();
    let stack = Stack::start(Options::config(json!({"general_settings": {
        "enable_jwt_auth": true,
        "jwt_public_key_url": idp.jwks_url(),
        "jwt_audience": AUDIENCE,
        "litellm_jwtauth": {
            "user_id_jwt_field": "sub", "user_email_jwt_field": "email", "oidc_userinfo_enabled": true,
            "oidc_userinfo_endpoint": idp.userinfo_url(), "admin_jwt_scope": "openid",
        },
    }})));
    let user = stack.user(json!({"user_email": "grace@example.com"})).await;
    let opaque = idp.opaque(json!({"account": user, "claims": {"scope": "openid"}}));
    for (token, method) in [(opaque.clone(), "oauth2"), (idp.sign(json!({"sub": user, "scope": "models"})), "jwt")] {
        let received = chat(&stack, &token).await.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some(user.as_str()), "{method}");
        assert_eq!(received.header("x-tollward-auth-method"), Some(method));
        assert_eq!(received.header("x-tollward-role"), Some("internal_user"), "{method}: an answer appoints nobody");
    }
    chat(&stack, &unique("unknown-opaque-token")).await.denied(401, "auth_error");
    // An answer that does not say whose the token is.
    let path = idp.userinfo_url().replace(&format!("http://127.0.0.1:{}", idp.port()), "");
    idp.serve(&path, "application/json", r#"{"email": "grace@example.com"}"#);
    chat(&stack, &idp.opaque(json!({"account": user}))).await.denied(401, "auth_error");
    idp.unplug();
    chat(&stack, &unique("unknown-opaque-token")).await.denied(503, "auth_provider_unavailable");
    assert_eq!(chat(&stack, &opaque).await.status, 200, "what was answered before holds on");
}
