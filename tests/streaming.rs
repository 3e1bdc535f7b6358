//! Streams: they pass as they come, and an end that is none is booked all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::raw::Raw;
use support::{Filters, Options, Stack, Value, cost, eventually, json, shared, unique};

fn streamed() -> Value {
    let mut body = chat_body("gpt-4o-mini");
    body["stream"] = json!(true);
    body["max_tokens"] = json!(2000);
    body
}

#[tokio::test]
async fn chunks_pass_one_by_one_while_the_meter_watches() {
    let stack = shared();
    let key = stack.plain_key().await;
    let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&streamed());
    let mut response = call.header("x-upstream-chunks", "5").header("x-upstream-chunk-delay-ms", "50").start().await;
    assert_eq!(response.status(), 200);
    let mut pieces = 0;
    let mut text = String::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        pieces += 1;
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(pieces > 3, "not gathered into one: {pieces}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
}

#[tokio::test]
async fn a_client_that_hangs_up_pays_for_what_it_saw() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 1.0, "max_parallel_requests": 1})).await;
    let body = streamed().to_string();
    let mut raw = Raw::connect(stack.ports.gate).unwrap();
    let headers = "x-upstream-chunks: 1000\r\nx-upstream-chunk-delay-ms: 20\r\n";
    raw.send(&support::raw::chat(&key.secret, headers, &body)).unwrap();
    raw.read_until("toll").unwrap();
    raw.hang_up();
    let spend = stack.wait_any_spend(&key).await;
    assert!(spend < cost(1000, 2000), "not the whole stream: {spend}");
    // Its place is free again.
    eventually("the next call passes", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    stack.verify_ledger();
}

#[tokio::test]
async fn an_upstream_that_breaks_off_is_paid_for_what_it_sent() {
    let stack = shared();
    for body in [
        streamed(),
        json!({"model": "claude-3-5-sonnet", "max_tokens": 2000, "stream": true,
        "messages": [{"role": "user", "content": "Hello"}]}),
    ] {
        let key = stack.key(json!({"max_budget": 1.0})).await;
        let path = if body["model"] == "gpt-4o-mini" { "/v1/chat/completions" } else { "/v1/messages" };
        let call = stack.call("POST", path).key(&key).json(&body);
        let answer = call.header("x-upstream-chunks", "50").header("x-upstream-abort-after", "10").send().await;
        assert!(!answer.complete || !answer.text().contains("[DONE]"), "it broke off");
        let spend = stack.wait_any_spend(&key).await;
        assert!(spend > 0.0);
    }
}

#[tokio::test]
async fn a_call_is_settled_when_its_stream_ends() {
    let stack = shared();
    // Settlement must not wait for Envoy to close its meter's stream, five seconds later: the next of these calls
    // needs the place of the one before, and has 50 ms of patience.
    let key = stack.key(json!({"max_parallel_requests": 1})).await;
    let http = support::call::client();
    for turn in 1..=20 {
        let call = stack.call("POST", "/v1/chat/completions").through(&http).key(&key).json(&streamed());
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "stream {turn}: {}", answer.text());
    }
}

#[tokio::test]
async fn tokens_that_stream_past_a_restart_are_booked() {
    let mut stack = Stack::start(Options { filters: Filters::All, ..Options::default() });
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let gate = unique("gate");
    let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&streamed());
    let running = tokio::spawn(call.header("x-cut", &gate).held_back(&gate).send());
    eventually("the call is at the upstream", || async {
        if stack.upstream.with_header("x-cut", &gate).is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    })
    .await;
    stack.kill_tollward();
    stack.upstream.release(&gate);
    let _ = running.await;
    stack.start_tollward();
    assert!(stack.wait_any_spend(&key).await > 0.0, "what was in flight is booked");
    stack.verify_ledger();
}
