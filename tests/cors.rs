//! Browsers: preflights carry no credential, and denials can be read by the page.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Options, Stack, json, shared};

const ORIGIN: &str = "https://app.example.com";

#[tokio::test]
async fn a_preflight_passes_without_a_credential() {
    let stack = shared();
    let preflight = || stack.call("OPTIONS", "/v1/chat/completions");
    let answer = preflight().header("origin", ORIGIN).header("access-control-request-method", "POST").send().await;
    assert!(answer.status != 401 && answer.status != 403, "{} {}", answer.status, answer.text());
    // Only a preflight: `OPTIONS` alone is a request like any other.
    assert_eq!(preflight().send().await.status, 401);
    assert_eq!(preflight().header("origin", ORIGIN).send().await.status, 401);
    assert_eq!(preflight().header("access-control-request-method", "POST").send().await.status, 401);
    let get = stack.call("GET", "/v1/models").header("origin", ORIGIN).header("access-control-request-method", "POST");
    assert_eq!(get.send().await.status, 401);
}

#[tokio::test]
async fn preflights_can_be_closed() {
    let stack = Stack::start(Options::config(json!({"request": {"allow_preflight": false}})));
    let call = stack.call("OPTIONS", "/v1/chat/completions").header("origin", ORIGIN);
    let answer = call.header("access-control-request-method", "POST").send().await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.received().is_none());
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"], "rpm_limit": 0})).await;
    let none = stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
    for (call, status) in [(none, 401), (stack.chat_with(&key, "gpt-4o"), 403), (stack.chat(&key), 429)] {
        let answer = call.header("origin", ORIGIN).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let allowed = answer.header("access-control-allow-origin").unwrap_or_default();
        assert!(allowed == "*" || allowed == ORIGIN, "{status}: {allowed}");
    }
    let exposed = stack.chat(&key).header("origin", ORIGIN).send().await.header("access-control-expose-headers");
    assert!(exposed.is_some_and(|names| names.to_lowercase().contains("retry-after")));
}

#[tokio::test]
async fn only_listed_origins_are_told() {
    let stack = Stack::start(Options::config(json!({"request": {"cors_allow_origins": [ORIGIN]}})));
    let refused = |origin: &str| {
        let call = stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"));
        call.header("origin", origin).send()
    };
    assert_eq!(refused(ORIGIN).await.header("access-control-allow-origin").as_deref(), Some(ORIGIN));
    assert_eq!(refused("https://evil.example").await.header("access-control-allow-origin"), None);
}
