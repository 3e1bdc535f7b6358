//! From where a caller may call: allowlists of addresses and networks, for the gate and for a key (row 92).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::{Options, Stack, Value, json, shared};

#[tokio::test]
async fn the_gate_lets_only_listed_networks_in() {
    #[rustfmt::skip]
    let rows: [(Value, bool); 5] = [
        (json!(["127.0.0.1"]), true),
        (json!(["127.0.0.0/8"]), true),
        (json!(["10.0.0.0/8", "127.0.0.0/30"]), true),
        (json!(["10.0.0.0/8"]), false),
        (json!(["::1", "2001:db8::/32"]), false),
    ];
    for (allowed, passes) in rows {
        let stack = Stack::start(Options::config(json!({"general_settings": {"allowed_ips": allowed}})));
        let answer = stack.call("POST", "/v1/chat/completions").bearer(support::MASTER);
        let answer = answer.json(&support::call::chat_body("gpt-4o-mini")).send().await;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{allowed}: {}", answer.text());
        assert_eq!(answer.received().is_some(), passes, "{allowed}");
    }
}

#[tokio::test]
async fn a_key_may_be_bound_to_networks() {
    let stack = shared();
    for (allowed, passes) in [
        (json!(["127.0.0.1"]), true),
        (json!(["127.0.0.0/8", "2001:db8::/32"]), true),
        (json!(["192.0.2.1"]), false),
        (json!(["192.0.2.0/24"]), false),
    ] {
        let key = stack.key(json!({"allowed_ips": allowed})).await;
        let answer = stack.chat(&key).send().await;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{allowed}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_address_the_client_claims_is_not_believed() {
    let stack = shared();
    let key = stack.key(json!({"allowed_ips": ["192.0.2.1"]})).await;
    for header in ["x-forwarded-for", "x-real-ip", "forwarded", "x-envoy-external-address"] {
        let answer = stack.chat(&key).header(header, "192.0.2.1").send().await;
        assert_eq!(answer.status, 403, "{header}: {}", answer.text());
    }
}

#[tokio::test]
async fn trusted_proxies_tell_the_address_by_their_number() {
    let stack = Stack::start(Options::config(json!({"request": {"trusted_hops": 1}})));
    let key = stack.key(json!({"allowed_ips": ["192.0.2.1"]})).await;
    #[rustfmt::skip]
    let rows = [
        ("the proxy's entry", "192.0.2.1", true),
        ("another client", "198.51.100.7", false),
        ("what the client wrote before the proxy's entry", "192.0.2.1, 198.51.100.7", false),
        ("the proxy's entry behind what the client wrote", "198.51.100.7, 192.0.2.1", true),
        ("no address", "unknown", false),
    ];
    for (name, forwarded, passes) in rows {
        let answer = stack.chat(&key).header("x-forwarded-for", forwarded).send().await;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{name}: {}", answer.text());
    }
}
