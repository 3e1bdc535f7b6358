//! Claims that stand for keys, mapped through the management API while tokens come in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::idp::{AUDIENCE, Idp};
use support::{Answer, Options, Stack, json};

async fn chat(stack: &Stack, token: &str, model: &str) -> Answer {
    stack.call("POST", "/v1/chat/completions").bearer(token).json(&chat_body(model)).send().await
}

#[tokio::test]
async fn a_token_is_the_key_its_claim_is_mapped_to_as_long_as_it_is() {
    let idp = Idp::start();
    let stack = Stack::start(Options::config(json!({"general_settings": {
        "enable_jwt_auth": true,
        "jwt_public_key_url": idp.jwks_url(),
        "jwt_audience": AUDIENCE,
        "litellm_jwtauth": {
            "user_id_jwt_field": "sub",
            "virtual_key_claim_field": "client_id",
            "unregistered_jwt_client_behavior": "reject",
        },
    }})));
    let key = stack.key(json!({"key_alias": "batch", "models": ["gpt-4o-mini"]})).await;
    let token = idp.sign(json!({"sub": "service", "client_id": "batch-jobs"}));
    assert_eq!(chat(&stack, &token, "gpt-4o-mini").await.status, 403);
    let claim = json!({"jwt_claim_name": "client_id", "jwt_claim_value": "batch-jobs", "key": key.secret});
    let made = stack.manage("POST", "/jwt/key/mapping/new", claim).await;
    let received = chat(&stack, &token, "gpt-4o-mini").await.allowed();
    assert_eq!(received.header("x-tollward-key-alias"), Some("batch"));
    assert_eq!(chat(&stack, &token, "gpt-4o").await.kind(), "key_model_access_denied", "it may what the key may");

    let as_key = stack.manage_as(&key.secret, "GET", "/jwt/key/mapping/list", None).await;
    assert!(matches!(as_key.0, 401 | 403), "{as_key:?}");
    for (is_active, status) in [(false, 403), (true, 200)] {
        let change = json!({"id": made["id"], "is_active": is_active});
        stack.manage("POST", "/jwt/key/mapping/update", change).await;
        assert_eq!(chat(&stack, &token, "gpt-4o-mini").await.status, status);
    }
    stack.manage("POST", "/key/delete", json!({"keys": [key.secret]})).await;
    assert_eq!(chat(&stack, &token, "gpt-4o-mini").await.status, 403);
    let listed = stack.manage_as(support::MASTER, "GET", "/jwt/key/mapping/list", None).await;
    assert_eq!((listed.0, &listed.1["total"]), (200, &json!(0)));
}
