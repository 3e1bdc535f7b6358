//! Ways around a limit that are none: other models beside the asked one, routes without a usage, endpoints with a price.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Options, Stack, eventually, json, shared};

#[tokio::test]
async fn a_dearer_fallback_does_not_lift_the_limit_of_the_model_asked_for() {
    let stack = shared();
    let key = stack.key(json!({"model_rpm_limit": {"gpt-4o-mini": 1}})).await;
    let mut body = chat_body("gpt-4o-mini");
    body["fallbacks"] = json!(["gpt-4o"]);
    let call = || stack.call("POST", "/v1/chat/completions").key(&key).json(&body);
    call().send().await.allowed();
    call().send().await.denied(429, "rate_limit_error");
}

#[tokio::test]
async fn the_limit_of_a_fallback_binds_as_well() {
    let stack = shared();
    let key = stack.key(json!({"model_rpm_limit": {"gpt-4o": 1}})).await;
    let mut body = chat_body("gpt-4o-mini");
    body["fallbacks"] = json!(["gpt-4o"]);
    let call = || stack.call("POST", "/v1/chat/completions").key(&key).json(&body);
    call().send().await.allowed();
    call().send().await.denied(429, "rate_limit_error");
    stack.chat(&key).send().await.allowed();
}

#[tokio::test]
async fn a_free_model_before_a_dear_one_makes_nothing_free() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let mut body = chat_body("free-model");
    body["fallbacks"] = json!(["gpt-4o"]);
    stack.call("POST", "/v1/chat/completions").key(&key).json(&body).usage(1000, 1000).send().await.allowed();
    stack.wait_any_spend(&key).await;
}

#[tokio::test]
async fn a_tag_too_long_for_any_limit_does_not_keep_a_request_from_being_booked() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 1.0})).await;
    stack.chat(&key).header("x-litellm-tags", "t".repeat(49_200)).usage(1000, 1000).send().await.allowed();
    stack.wait_any_spend(&key).await;
}

#[tokio::test]
async fn an_alias_makes_no_dear_model_a_cheap_one() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"], "aliases": {"gpt-4o": "gpt-4o-mini"}})).await;
    stack.chat_with(&key, "gpt-4o").send().await.denied(403, "key_model_access_denied");
    stack.chat_with(&key, "gpt-4o-mini").send().await.allowed();
}

#[tokio::test]
async fn a_budget_on_a_model_closes_what_cannot_be_metered_and_a_soft_budget_does_not() {
    let stack = shared();
    let path = "/v1/realtime/client_secrets";
    let body = json!({"model": "gpt-4o-mini"});
    let budget = json!({"model_max_budget": {"gpt-4o-mini": {"max_budget": 1.0, "budget_duration": "1d"}}});
    let limited = stack.key(budget).await;
    stack.call("POST", path).key(&limited).json(&body).send().await.denied(403, "permission_error");
    let watched = stack.key(json!({"soft_budget": 1.0})).await;
    let answer = stack.call("POST", path).key(&watched).json(&body).send().await;
    assert!(answer.received().is_some(), "{} {}", answer.status, answer.text());
}

#[tokio::test]
async fn an_endpoint_with_a_price_is_charged_for_each_request() {
    let endpoints = json!([{"path": "/weather", "cost_per_request": 0.002}, {"path": "/news"}]);
    let stack = Stack::start(Options::config(json!({"general_settings": {"pass_through_endpoints": endpoints}})));
    let key = stack.key(json!({"max_budget": 0.003, "allowed_passthrough_routes": ["/weather", "/news"]})).await;
    let call = |path: &str| stack.call("POST", path).key(&key).json(&json!({}));
    assert!(call("/news").send().await.received().is_some());
    let first = call("/weather").send().await;
    assert!(first.received().is_some(), "{} {}", first.status, first.text());
    if first.status < 400 {
        stack.wait_spend(&key, 0.002).await;
        call("/weather").send().await.denied(429, "budget_exceeded");
    } else {
        // An endpoint that fails costs nothing.
        eventually("nothing is held any more", || async {
            let answer = call("/weather").send().await;
            if answer.received().is_some() { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
}
