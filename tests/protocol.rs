//! Envoy's protocols spoken by hand: every form of a Check, and settlements that nobody but the gate may cause.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;
#[path = "support/wire.rs"]
mod wire;

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use support::call::chat_body;
use support::{Filters, Options, Stack, cost, eventually, json};

/// A stack whose only gateway is the test.
fn alone() -> Stack {
    Stack::start(Options { filters: Filters::NoEnvoy, ..Options::default() })
}

const CHAT: &str = "/v1/chat/completions";

fn answer(input: u64, output: u64) -> String {
    json!({"model": "gpt-4o-mini", "choices": [], "usage": {
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}})
    .to_string()
}

#[tokio::test]
async fn both_forms_of_headers_and_bodies_are_read() {
    let stack = alone();
    let key = stack.key(json!({"models": ["gpt-4o-mini"]})).await;
    let bearer = format!("Bearer {}", key.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (model, passes) in [("gpt-4o-mini", true), ("gpt-4o", false)] {
        let body = chat_body(model).to_string();
        let raw = wire::check(stack.ports.grpc, wire::check_request(CHAT, &headers, &body)).await;
        let plain = wire::check(stack.ports.grpc, wire::plain_check_request(CHAT, &headers, &body)).await;
        for response in [raw, plain] {
            if passes {
                wire::allowed(&response);
            } else {
                assert_eq!(wire::denied(&response), 403);
            }
        }
    }
}

#[tokio::test]
async fn an_allowed_check_replaces_and_removes_on_every_version_of_envoy() {
    let stack = alone();
    let key = stack.plain_key().await;
    let bearer = format!("Bearer {}", key.secret);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-tollward-user-id", "forged"),
        ("x-tollward-unknown", "forged"),
    ];
    let body = chat_body("gpt-4o-mini").to_string();
    let response = wire::check(stack.ports.grpc, wire::check_request(CHAT, &headers, &body)).await;
    let ok = wire::allowed(&response);
    assert!(!ok.headers.is_empty());
    for option in &ok.headers {
        // Old Envoys read `append`, new ones the action; both must say overwrite.
        let name = option.header.as_ref().map(|header| header.key.clone());
        #[allow(deprecated, reason = "Envoy up to 1.36 reads nothing else")]
        let append = option.append.as_ref().map(|append| append.value);
        assert_eq!(append, Some(false), "{name:?}");
        assert_eq!(option.append_action, HeaderAppendAction::OverwriteIfExistsOrAdd as i32, "{name:?}");
    }
    for name in ["authorization", "x-tollward-user-id", "x-tollward-unknown"] {
        let removed = ok.headers_to_remove.iter().any(|removed| removed == name);
        let replaced = ok.headers.iter().any(|option| option.header.as_ref().is_some_and(|header| header.key == name));
        assert!(removed || replaced, "{name}: {:?}", ok.headers_to_remove);
    }
    assert!(response.dynamic_metadata.is_some_and(|metadata| !metadata.fields.is_empty()));
}

#[tokio::test]
async fn a_denied_check_has_a_status_a_body_and_metadata() {
    let stack = alone();
    let response = wire::check(stack.ports.grpc, wire::check_request(CHAT, &[], "{}")).await;
    assert_eq!(wire::denied(&response), 401);
    assert_ne!(response.status.as_ref().map(|status| status.code), Some(0), "not OK");
    assert!(response.dynamic_metadata.is_some(), "access logs want the reason");
    // No HTTP at all: the network filter's form.
    let response = wire::check(stack.ports.grpc, Default::default()).await;
    assert_ne!(response.status.as_ref().map_or(0, |status| status.code), 0, "{response:?}");
}

#[tokio::test]
async fn a_settlement_counts_once_and_only_if_it_is_ours() {
    let stack = alone();
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let bearer = format!("Bearer {}", key.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    let admit = || wire::check(stack.ports.grpc, wire::check_request(CHAT, &headers, &body));
    let first = admit().await.dynamic_metadata.expect("the hold's token");
    let second = admit().await.dynamic_metadata.expect("the hold's token");
    // Forged in every place of the first bytes, and beyond: nothing is booked.
    for place in [0, 1, 5, 10, 20, 40, 80, 120, 200, 300, 400] {
        wire::meter(stack.ports.grpc, wire::forge(&second, place), &answer(9_000, 9_000)).await;
    }
    wire::meter(stack.ports.grpc, Default::default(), &answer(9_000, 9_000)).await;
    assert_eq!(stack.spend(&key).await, 0.0);
    wire::meter(stack.ports.grpc, first.clone(), &answer(100, 10)).await;
    stack.wait_spend(&key, cost(100, 10)).await;
    // Replayed, with the same and with other usage.
    for (input, output) in [(100, 10), (0, 0), (5_000, 5_000)] {
        wire::meter(stack.ports.grpc, first.clone(), &answer(input, output)).await;
    }
    // A settlement behind them shows that they were looked at.
    wire::meter(stack.ports.grpc, second, &answer(1, 1)).await;
    stack.wait_spend(&key, cost(100, 10) + cost(1, 1)).await;
    stack.verify_ledger();
}

#[tokio::test]
async fn another_gates_token_is_worth_nothing() {
    let (ours, theirs) = (alone(), alone());
    let theirs_key = theirs.key(json!({"max_budget": 1.0})).await;
    let bearer = format!("Bearer {}", theirs_key.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    let check = wire::check(theirs.ports.grpc, wire::check_request(CHAT, &headers, &body)).await;
    let token = check.dynamic_metadata.expect("the hold's token");
    wire::meter(ours.ports.grpc, token.clone(), &answer(100, 100)).await;
    wire::meter(theirs.ports.grpc, token, &answer(100, 100)).await;
    theirs.wait_spend(&theirs_key, cost(100, 100)).await;
    let report = ours.verify_ledger();
    assert!(!report.to_string().contains(&theirs_key.token), "{report}");
}

#[tokio::test]
async fn a_check_that_is_cancelled_gives_back_what_it_held() {
    let stack = alone();
    // One place only. Checks are cut off at any moment; the place must come back each time.
    let key = stack.key(json!({"max_parallel_requests": 1})).await;
    let bearer = format!("Bearer {}", key.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    for micros in [0, 20, 50, 100, 200, 400, 800] {
        let mut client = AuthorizationClient::new(wire::channel(stack.ports.grpc).await);
        let call = client.check(wire::check_request(CHAT, &headers, &body));
        let answered = tokio::time::timeout(std::time::Duration::from_micros(micros), call).await;
        if let Ok(Ok(response)) = answered {
            let token = response.into_inner().dynamic_metadata;
            if let Some(token) = token {
                wire::meter(stack.ports.grpc, token, &answer(1, 1)).await;
            }
        }
    }
    // One that was answered as it was cancelled is held until its time is over; that is within a minute.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let response = wire::check(stack.ports.grpc, wire::check_request(CHAT, &headers, &body)).await;
        if response.status.as_ref().is_none_or(|status| status.code == 0) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the place never comes back: {response:?}");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_get_an_error_and_harm_nobody() {
    let stack = alone();
    let key = stack.plain_key().await;
    let http = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let framed = |length: u32, bytes: &[u8]| {
        let mut message = vec![0];
        message.extend(length.to_be_bytes());
        message.extend(bytes);
        message
    };
    #[rustfmt::skip]
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        vec![0xff; 64],
        framed(5, &[0xff; 5]),
        framed(1_000_000, b"short"),
        framed(u32::MAX, b"longer than anything"),
        // A field that says it is longer than the message.
        framed(3, &[0x0a, 0xff, 0x01]),
        // Nested far deeper than any CheckRequest.
        framed(200, &[0x0a; 200]),
        // A compressed flag without compression.
        { let mut message = framed(2, &[1, 2]); message[0] = 1; message },
    ];
    for service in ["envoy.service.auth.v3.Authorization/Check", "envoy.service.ext_proc.v3.ExternalProcessor/Process"]
    {
        for body in &bodies {
            let sent = http
                .post(format!("http://127.0.0.1:{}/{service}", stack.ports.grpc))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .timeout(std::time::Duration::from_secs(10))
                .body(body.clone())
                .send()
                .await;
            if let Ok(response) = sent {
                let status = response.headers().get("grpc-status").cloned();
                assert_ne!(status.as_ref().and_then(|status| status.to_str().ok()), Some("0"), "{service}: {body:?}");
            }
        }
    }
    let bearer = format!("Bearer {}", key.secret);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    wire::allowed(&wire::check(stack.ports.grpc, wire::check_request(CHAT, &headers, &body)).await);
    eventually("it is still ready", || async {
        match support::raw::get(stack.ports.ops, "/readyz") {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_partial_body_is_told_by_envoy_alone() {
    let stack = alone();
    let key = stack.plain_key().await;
    let bearer = format!("Bearer {}", key.secret);
    let cut = r#"{"model":"gpt-4o-mini","messages":[{"role":"us"#;
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let mut request = wire::check_request(CHAT, &headers, cut);
    let map = request.attributes.as_mut().and_then(|attributes| attributes.request.as_mut());
    let list =
        map.and_then(|request| request.http.as_mut()).and_then(|http| http.header_map.as_mut()).expect("headers");
    for header in &mut list.headers {
        if header.key == "x-envoy-auth-partial-body" {
            header.raw_value = b"true".to_vec();
        }
    }
    assert_eq!(wire::denied(&wire::check(stack.ports.grpc, request).await), 413);
}
