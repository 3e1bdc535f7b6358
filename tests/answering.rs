//! One filter for everything: the `ext_proc` filter that answers rewrites requests and meters responses, its
//! `response_body_mode` being one of those that pass a response on as it comes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::{chat_body, client};
use support::raw::Raw;
use support::{Filters, Options, Stack, Value, cost, eventually, json, unique};

/// How Envoy sends the bodies of responses to a filter that answers: piece by piece with an answer each, or as they
/// come, to be sent back.
const MODES: [&str; 2] = ["STREAMED", "FULL_DUPLEX_STREAMED"];

fn stack(response_body_mode: &'static str, config: Value) -> Stack {
    Stack::start(Options { filters: Filters::Answering(response_body_mode), ..Options::config(config) })
}

fn chat(stream: bool) -> Value {
    let mut body = chat_body("gpt-4o-mini");
    (body["stream"], body["max_tokens"]) = (json!(stream), json!(2000));
    body
}

/// Waits until so many exchanges were booked, no more, and proves that counters, records and entities agree.
async fn booked(stack: &Stack, calls: f64) {
    eventually("every call is booked", || async {
        let booked = stack.metric("tollward_settlements_total");
        if booked == calls { Ok(()) } else { Err(format!("{booked} of {calls}")) }
    })
    .await;
    eventually("nothing is held", || async {
        let holds = stack.metric("tollward_holds");
        if holds == 0.0 { Ok(()) } else { Err(holds.to_string()) }
    })
    .await;
    assert_eq!(stack.metric("tollward_settlements_total"), calls, "each call once");
    stack.verify_counters().await;
    stack.verify_ledger();
}

#[tokio::test]
async fn it_rewrites_the_request_and_books_the_response_once() {
    for mode in MODES {
        let stack = stack(mode, json!({}));
        let messages = |stream: bool| {
            json!({"model": "claude-3-5-sonnet", "max_tokens": 50, "stream": stream,
                   "messages": [{"role": "user", "content": "Hello"}]})
        };
        // Longer than the window of a stream: Envoy gathers it from many pieces.
        let mut long = chat(true);
        long["messages"] = json!([{"role": "user", "content": "long ".repeat(100_000)}]);
        #[rustfmt::skip]
        let rows: Vec<(&str, &str, Value, f64, &str)> = vec![
            ("JSON", "/v1/chat/completions", chat(false), cost(1234, 567), ""),
            ("events", "/v1/chat/completions", chat(true), cost(1234, 567), ""),
            ("events behind a long request", "/v1/chat/completions", long, cost(1234, 567), ""),
            ("JSON, encoded", "/v1/chat/completions", chat(false), cost(1234, 567), "gzip"),
            ("events, encoded", "/v1/chat/completions", chat(true), cost(1234, 567), "zstd"),
            ("Anthropic", "/v1/messages", messages(false), 1234.0 * 3e-6 + 567.0 * 1.5e-5, ""),
            ("Anthropic, events", "/v1/messages", messages(true), 1234.0 * 3e-6 + 567.0 * 1.5e-5, ""),
        ];
        let calls = rows.len() as f64;
        for (name, path, body, dollars, encoding) in rows {
            let key = stack.key(json!({"max_budget": 100.0})).await;
            let mut call = stack.call("POST", path).key(&key).json(&body).usage(1234, 567);
            if !encoding.is_empty() {
                call = call.header("x-upstream-encoding", encoding);
            }
            let answer = call.send().await;
            assert!(answer.complete, "{mode}, {name}");
            let received = answer.allowed();
            let is_chat_stream = path.ends_with("completions") && body["stream"] == true;
            if is_chat_stream {
                assert!(received.body_length > body.to_string().len(), "{mode}, {name}: usage is asked for");
            } else {
                assert_eq!(received.json(), body, "{mode}, {name}: nothing is changed");
            }
            if is_chat_stream && received.body_length < 10_000 {
                assert_eq!(received.json()["stream_options"]["include_usage"], json!(true), "{mode}, {name}");
            }
            if encoding.is_empty() && is_chat_stream {
                assert!(answer.text().ends_with("data: [DONE]\n\n"), "{mode}, {name}: {}", answer.text());
            }
            stack.wait_spend(&key, dollars).await;
        }
        booked(&stack, calls).await;
        assert_eq!(stack.metric("tollward_meter_rewritten_total"), 3.0, "{mode}");
        assert_eq!(stack.metric("tollward_meter_unsigned_total"), 0.0, "{mode}");
    }
}

#[tokio::test]
async fn it_writes_the_cap_that_makes_the_budget_hard() {
    for mode in MODES {
        let stack = stack(mode, json!({"quota": {"cap_output": true, "default_output_tokens": 64}}));
        let key = stack.key(json!({"max_budget": 1.0})).await;
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]});
        let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).usage(10, 20);
        let sent = call.send().await.allowed().json();
        let cap = ["max_tokens", "max_completion_tokens"].iter().find_map(|name| sent[*name].as_u64());
        assert_eq!(cap, Some(64), "{mode}: {sent}");
        stack.wait_spend(&key, cost(10, 20)).await;
        booked(&stack, 1.0).await;
    }
}

#[tokio::test]
async fn chunks_pass_one_by_one_through_it() {
    for mode in MODES {
        let stack = stack(mode, json!({}));
        let key = stack.plain_key().await;
        let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(true)).usage(100, 200);
        let mut response =
            call.header("x-upstream-chunks", "5").header("x-upstream-chunk-delay-ms", "50").start().await;
        assert_eq!(response.status(), 200, "{mode}");
        let (mut pieces, mut text) = (0, String::new());
        while let Some(chunk) = response.chunk().await.unwrap() {
            pieces += 1;
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        assert!(pieces > 3, "{mode}: not gathered into one: {pieces}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{mode}: {text}");
        stack.wait_spend(&key, cost(100, 200)).await;
        booked(&stack, 1.0).await;
    }
}

#[tokio::test]
async fn a_call_is_settled_before_the_next_one_needs_its_place() {
    for mode in MODES {
        let stack = stack(mode, json!({}));
        let key = stack.key(json!({"max_parallel_requests": 1})).await;
        let http = client();
        for turn in 1..=20 {
            let call = stack.call("POST", "/v1/chat/completions").through(&http).key(&key).json(&chat(turn % 2 == 0));
            let answer = call.usage(10, 10).send().await;
            assert_eq!(answer.status, 200, "{mode}, call {turn}: {}", answer.text());
        }
        stack.wait_spend(&key, 20.0 * cost(10, 10)).await;
        booked(&stack, 20.0).await;
    }
}

#[tokio::test]
async fn what_ends_too_early_is_booked_once_too() {
    for mode in MODES {
        let stack = stack(mode, json!({}));
        // The upstream refuses: nothing is paid.
        let failed = stack.key(json!({"max_budget": 1.0})).await;
        let answer = stack.chat(&failed).header("x-upstream-status", "500").send().await;
        assert_eq!(answer.status, 500, "{mode}: the upstream's answer is the client's");
        // The upstream breaks off: what it sent is paid.
        let cut = stack.key(json!({"max_budget": 1.0})).await;
        let call = stack.call("POST", "/v1/chat/completions").key(&cut).json(&chat(true));
        let answer = call.header("x-upstream-chunks", "50").header("x-upstream-abort-after", "10").send().await;
        assert!(!answer.complete || !answer.text().contains("[DONE]"), "{mode}: it broke off");
        // The client hangs up: what it saw is paid, and its place is free again.
        let gone = stack.key(json!({"max_budget": 1.0, "max_parallel_requests": 1})).await;
        let mut raw = Raw::connect(stack.ports.gate).unwrap();
        let headers = "x-upstream-chunks: 1000\r\nx-upstream-chunk-delay-ms: 20\r\n";
        raw.send(&support::raw::chat(&gone.secret, headers, &chat(true).to_string())).unwrap();
        raw.read_until("toll").unwrap();
        raw.hang_up();
        assert!(stack.wait_any_spend(&cut).await < cost(1000, 2000), "{mode}: not the whole stream");
        assert!(stack.wait_any_spend(&gone).await < cost(1000, 2000), "{mode}: not the whole stream");
        booked(&stack, 3.0).await;
        assert_eq!(stack.spend(&failed).await, 0.0, "{mode}");
        stack.chat(&gone).send().await.allowed();
    }
}

#[tokio::test]
async fn a_denied_request_never_reaches_it() {
    for mode in MODES {
        let stack = stack(mode, json!({}));
        let gate = unique("gate");
        let key = stack.key(json!({"models": ["gpt-4o"]})).await;
        stack.chat(&key).header("x-denied", &gate).send().await.denied(403, "key_model_access_denied");
        assert_eq!(stack.metric("tollward_settlements_total"), 0.0, "{mode}");
        assert_eq!(stack.metric("tollward_holds"), 0.0, "{mode}");
    }
}
