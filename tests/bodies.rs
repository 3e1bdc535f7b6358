//! Request bodies: large, cut off, compressed, deep, doubled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write;

use support::call::chat_body;
use support::{Options, Stack, Value, json, shared};

const CHAT: &str = "/v1/chat/completions";

/// A chat of about this many bytes, the model named at the end.
fn large(bytes: usize) -> String {
    let text = "a".repeat(bytes);
    format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"max_tokens":5,"model":"gpt-4o-mini"}}"#)
}

#[tokio::test]
async fn large_prompts_pass_whole() {
    let stack = shared();
    let key = stack.plain_key().await;
    for mebibytes in [1, 4, 9] {
        let body = large(mebibytes * 1024 * 1024);
        let length = body.len();
        let call = stack.call("POST", CHAT).key(&key).header("content-type", "application/json");
        let answer = call.body(body).send().await;
        assert_eq!(answer.status, 200, "{mebibytes} MiB: {}", answer.text());
        assert_eq!(answer.received().unwrap().body_length, length, "{mebibytes} MiB");
    }
}

#[tokio::test]
async fn a_body_that_envoy_cut_off_is_refused() {
    let stack = shared();
    let key = stack.plain_key().await;
    let call = stack.call("POST", CHAT).key(&key).header("content-type", "application/json");
    let answer = call.body(large(10 * 1024 * 1024)).send().await;
    assert_eq!(answer.status, 413, "{}", answer.text());
    assert!(answer.received().is_none());
}

#[tokio::test]
async fn a_client_cannot_claim_that_its_body_is_whole_or_cut_off() {
    let stack = shared();
    let key = stack.plain_key().await;
    stack.chat(&key).header("x-envoy-auth-partial-body", "true").send().await.allowed();
}

#[tokio::test]
async fn compressed_bodies_are_read_within_bounds() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"]})).await;
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let send = |encoding: &'static str, body: Vec<u8>| {
        let call = stack.call("POST", CHAT).key(&key).header("content-type", "application/json");
        call.header("content-encoding", encoding).body(body).send()
    };
    assert_eq!(send("gzip", gzip(&chat_body("gpt-4o-mini").to_string())).await.status, 200);
    send("gzip", gzip(&chat_body("gpt-4o").to_string())).await.denied(403, "key_model_access_denied");
    // A bomb: small on the wire, more than the bound decoded.
    let answer = send("gzip", gzip(&large(40 * 1024 * 1024))).await;
    assert!(matches!(answer.status, 400 | 413 | 415), "{}", answer.status);
    assert!(answer.received().is_none());
    // No gzip at all, and an encoding nobody knows.
    for (encoding, body) in
        [("gzip", b"not gzip".to_vec()), ("rot13", chat_body("gpt-4o-mini").to_string().into_bytes())]
    {
        let answer = send(encoding, body).await;
        assert!(matches!(answer.status, 400 | 415), "{encoding}: {}", answer.status);
        assert!(answer.received().is_none(), "{encoding}");
    }
}

#[tokio::test]
async fn json_that_hides_something_is_refused() {
    let stack = shared();
    let key = stack.plain_key().await;
    let deep = format!(r#"{{"model":"gpt-4o-mini","messages":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    #[rustfmt::skip]
    let rows: [(&str, Vec<u8>); 7] = [
        ("a key twice", br#"{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":9}"#.to_vec()),
        ("a key twice, once escaped", br#"{"model":"gpt-4o-mini","\u006d\u006f\u0064\u0065\u006c":"gpt-4o"}"#.to_vec()),
        ("over-deep", deep.into_bytes()),
        ("cut off", br#"{"model":"gpt-4o-mini","messages":[{"#.to_vec()),
        ("no UTF-8", b"{\"model\":\"gpt-4o-mini\xff\"}".to_vec()),
        ("a model that is a number", br#"{"model":7}"#.to_vec()),
        ("two documents", br#"{"model":"gpt-4o-mini"}{"model":"gpt-4o"}"#.to_vec()),
    ];
    for (name, body) in rows {
        let call = stack.call("POST", CHAT).key(&key).header("content-type", "application/json");
        let answer = call.body(body).send().await;
        assert_eq!((answer.status, answer.kind().as_str()), (400, "bad_request_error"), "{name}: {}", answer.text());
        assert!(answer.received().is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_body_of_another_type_hides_no_model() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"]})).await;
    // Providers read JSON whatever the content type says; so does the gate.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "multipart/form-data"] {
        let call = stack.call("POST", CHAT).key(&key).header("content-type", kind);
        let answer = call.body(chat_body("gpt-4o").to_string()).send().await;
        assert!(matches!(answer.status, 400 | 403 | 415), "{kind}: {} {}", answer.status, answer.text());
        assert!(answer.received().is_none(), "{kind}");
    }
}

#[tokio::test]
async fn parameters_can_be_required() {
    let config = json!({"general_settings": {"enforced_params": ["user", "metadata.ticket"]}});
    let stack = Stack::start(Options::config(config));
    let key = stack.plain_key().await;
    let mut body: Value = chat_body("gpt-4o-mini");
    for complete in [false, false, true] {
        let answer = stack.call("POST", CHAT).key(&key).json(&body).send().await;
        assert_eq!(answer.status, if complete { 200 } else { 400 }, "{body}: {}", answer.text());
        if body.get("user").is_none() {
            body["user"] = json!("ada");
        } else {
            body["metadata"] = json!({"ticket": "T-1"});
        }
    }
}

#[tokio::test]
async fn a_size_limit_is_kept() {
    let stack = Stack::start(Options::config(json!({"general_settings": {"max_request_size_mb": 1}})));
    let key = stack.plain_key().await;
    for (bytes, passes) in [(512 * 1024, true), (1_500 * 1024, false)] {
        let call = stack.call("POST", CHAT).key(&key).header("content-type", "application/json");
        let answer = call.body(large(bytes)).send().await;
        if passes {
            assert_eq!(answer.status, 200, "{}", answer.text());
        } else {
            assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
        }
    }
}

#[tokio::test]
async fn a_post_that_says_it_opens_a_socket_hides_no_body() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"], "max_budget": 1.0})).await;
    // Envoy shows no body of an upgrade to the gate; a request whose body nobody saw must not reach a model.
    let headers = format!("upgrade: websocket\r\nx-case: {}\r\n", key.alias);
    let request = support::raw::chat(&key.secret, &headers, &chat_body("gpt-4o").to_string());
    let request = String::from_utf8(request).unwrap().replace("connection: close", "connection: upgrade");
    let mut raw = support::raw::Raw::connect(stack.ports.gate).unwrap();
    raw.send(request.as_bytes()).unwrap();
    let answer = raw.read_until("\r\n\r\n").unwrap_or_default();
    assert!(!answer.starts_with("HTTP/1.1 2") && !answer.starts_with("HTTP/1.1 1"), "{answer}");
    assert!(stack.upstream.with_header("x-case", &key.alias).is_empty(), "{answer}");
}
