//! What each role may do, by a virtual key and by a token of the same user: the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use reqwest::Client;
use support::call::chat_body;
use support::signed::Signed;
use support::{Call, Value, json, unique};

/// Routes, and whether each role may use them: administrator, viewer of everything, user, viewing user, team.
#[rustfmt::skip]
const MATRIX: &[(&str, &str, [bool; 5])] = &[
    ("POST", "/v1/chat/completions",  [true,  true,  true,  true,  true]),
    ("POST", "/v1/embeddings",        [true,  true,  true,  true,  true]),
    ("GET",  "/v1/models",            [true,  true,  true,  true,  true]),
    ("POST", "/v1/messages",          [true,  true,  true,  true,  true]),
    ("GET",  "/key/info",             [true,  true,  true,  true,  true]),
    ("GET",  "/health",               [true,  true,  true,  true,  true]),
    ("POST", "/key/generate",         [true,  false, true,  false, false]),
    ("POST", "/model/new",            [true,  false, true,  true,  true]),
    ("POST", "/team/member_add",      [true,  false, true,  true,  true]),
    ("GET",  "/user/list",            [true,  true,  true,  true,  true]),
    ("GET",  "/user/info",            [true,  true,  true,  true,  true]),
    ("GET",  "/team/info",            [true,  true,  true,  true,  true]),
    ("GET",  "/spend/keys",           [true,  true,  true,  true,  false]),
    ("POST", "/user/new",             [true,  false, false, false, false]),
    ("POST", "/user/delete",          [true,  false, false, false, false]),
    ("POST", "/team/new",             [true,  false, false, false, false]),
    ("POST", "/team/delete",          [true,  false, false, false, false]),
    ("POST", "/config/update",        [true,  false, false, false, false]),
    ("GET",  "/global/spend",         [true,  true,  false, false, false]),
    ("POST", "/global/spend/reset",   [false, false, false, false, false]),
];
const ROLES: [&str; 5] = ["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer", "team"];

fn call(signed: &Signed, method: &str, path: &str, secret: &str) -> Call {
    let call = signed.stack.call(method, path).bearer(secret);
    match (method, path) {
        ("GET", _) => call,
        (_, "/v1/embeddings") => call.json(&json!({"model": "text-embedding-3-small", "input": "Hello"})),
        (_, path) if path.starts_with("/v1/") => call.json(&chat_body("gpt-4o-mini")),
        _ => call.json(&json!({})),
    }
}

/// Whether the gate lets it through; a refusal is for want of a right.
async fn passes(signed: &Signed, http: &Client, (method, path): (&str, &str), secret: &str) -> bool {
    let answer = call(signed, method, path, secret).through(http).send().await;
    let passes = answer.received().is_some();
    if !passes {
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
    }
    passes
}

#[tokio::test]
async fn a_role_may_the_same_by_key_and_by_token() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "roles_jwt_field": "roles",
        "sync_user_role_and_teams": true, "team_allowed_routes": ["/*"],
        "jwt_litellm_role_map": [
            {"jwt_role": "the-admin", "litellm_role": "proxy_admin"},
            {"jwt_role": "the-auditor", "litellm_role": "proxy_admin_viewer"},
            {"jwt_role": "the-user", "litellm_role": "internal_user"},
            {"jwt_role": "the-guest", "litellm_role": "internal_user_viewer"},
        ],
    });
    let config = json!({"general_settings": {"litellm_jwtauth": options}});
    let signed = Signed::start_with(support::idp::Idp::start(), &config);
    let team = signed.team(json!({"team_id": unique("team")})).await;
    let mapped = ["the-admin", "the-auditor", "the-user", "the-guest"];
    let http = support::call::client();
    let mut wrong = Vec::new();
    for (at, role) in ROLES.iter().enumerate() {
        let (key, tokens): (_, Vec<(&str, Value)>) = if *role == "team" {
            (signed.key(json!({"team_id": team})).await, vec![("team", json!({"sub": null, "groups": [team]}))])
        } else {
            let user = signed.user(json!({"user_role": role})).await;
            let claims = vec![
                ("directory", json!({"sub": user})),
                ("claim", json!({"sub": unique("unknown"), "roles": [mapped[at]]})),
            ];
            (signed.key(json!({"user_id": user})).await, claims)
        };
        let tokens: Vec<(&str, String)> = tokens.iter().map(|(how, claims)| (*how, signed.token(claims))).collect();
        for (method, path, expected) in MATRIX {
            let by_key = passes(&signed, &http, (method, path), &key.secret).await;
            if by_key != expected[at] {
                wrong.push(format!("{role} by key {method} {path}: {by_key}"));
            }
            for (how, token) in &tokens {
                let by_token = passes(&signed, &http, (method, path), token).await;
                if by_token != by_key {
                    wrong.push(format!("{role} by {how} {method} {path}: {by_token}, by key {by_key}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
