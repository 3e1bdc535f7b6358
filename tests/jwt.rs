//! Signed tokens through Envoy, from a real identity provider.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::idp::{AUDIENCE, Idp};
use support::{Answer, Options, Stack, Value, json};

const CHAT: &str = "/v1/chat/completions";

fn stack(idp: &Idp, jwt: &Value) -> Stack {
    Stack::start(Options::config(json!({"general_settings": {
        "enable_jwt_auth": true,
        "jwt_public_key_url": idp.jwks_url(),
        "jwt_audience": AUDIENCE,
        "litellm_jwtauth": jwt,
    }})))
}

async fn chat(stack: &Stack, token: &str) -> Answer {
    stack.call("POST", CHAT).bearer(token).json(&chat_body("gpt-4o-mini")).send().await
}

#[tokio::test]
async fn a_token_of_the_provider_is_a_caller_and_its_claims_say_which() {
    let idp = Idp::start();
    let stack = stack(&idp, &json!({"user_id_jwt_field": "sub", "user_email_jwt_field": "email"}));
    let token = idp.sign(json!({"sub": "ada", "email": "ada@example.com"}));
    for _ in 0..2 {
        let answer = chat(&stack, &token).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let received = answer.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some("ada"));
        assert_eq!(received.header("x-tollward-auth-method"), Some("jwt"));
        assert_eq!(received.header("authorization"), None);
    }
    chat(&stack, &idp.sign(json!({"aud": "https://elsewhere.example"}))).await.denied(401, "auth_error");
}
