//! Where a credential is read from, and what each kind of it gets (rows 1 to 24 of the conformance list).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Answer, Call, Key, MASTER, Options, Stack, Value, eventually, json, shared, unique};

/// What a row expects.
enum Expected {
    /// The call passes, as this key.
    As(&'static str),
    Denied(u16, &'static str),
}
use Expected::{As, Denied};

/// One row: its number and rule, the headers by name, the query, the outcome. `{A}` and `{B}` stand for two good keys.
struct Row {
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    path: &'static str,
    expected: Expected,
}

const CHAT: &str = "/v1/chat/completions";
const GEMINI: &str = "/v1beta/models/gemini-2.0-flash:generateContent";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "1: bearer", headers: &[("authorization", "Bearer {A}")], path: CHAT, expected: As("A") },
    // Ours: the scheme is compared without regard to case (RFC 9110, section 11.1).
    Row { name: "1: bearer in lower case", headers: &[("authorization", "bearer {A}")], path: CHAT, expected: As("A") },
    Row { name: "1: bearer in upper case", headers: &[("authorization", "BEARER {A}")], path: CHAT, expected: As("A") },
    Row { name: "1: bearer in mixed case", headers: &[("authorization", "bEaReR {A}")], path: CHAT, expected: As("A") },
    Row { name: "1: basic, taken literally", headers: &[("authorization", "Basic {A}")], path: CHAT, expected: As("A") },
    Row { name: "2: no scheme, though x-api-key is good",
          headers: &[("authorization", "{A}"), ("x-api-key", "{B}")], path: CHAT, expected: Denied(401, "auth_error") },
    Row { name: "2: a scheme without a key", headers: &[("authorization", "Bearer ")], path: CHAT, expected: Denied(401, "auth_error") },
    Row { name: "3: x-litellm-api-key before authorization",
          headers: &[("x-litellm-api-key", "{A}"), ("authorization", "Bearer other")], path: CHAT, expected: As("A") },
    Row { name: "3: x-litellm-api-key with a scheme",
          headers: &[("x-litellm-api-key", "Bearer {A}")], path: CHAT, expected: As("A") },
    Row { name: "3: x-litellm-key besides", headers: &[("x-litellm-key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "4: api-key", headers: &[("api-key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "4: x-api-key", headers: &[("x-api-key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "4: x-goog-api-key", headers: &[("x-goog-api-key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "4: Ocp-Apim-Subscription-Key", headers: &[("Ocp-Apim-Subscription-Key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "5: api-key before x-api-key", headers: &[("x-api-key", "{B}"), ("api-key", "{A}")], path: CHAT, expected: As("A") },
    Row { name: "5: the first present source, even a bad one",
          headers: &[("x-api-key", "{B}"), ("api-key", "sk-unknown-to-everyone")], path: CHAT,
          expected: Denied(401, "token_not_found_in_db") },
    Row { name: "6: Google's query", headers: &[], path: "/v1beta/models/gemini-2.0-flash:generateContent?key={A}", expected: As("A") },
    Row { name: "6: the query elsewhere", headers: &[], path: "/v1/chat/completions?key={A}", expected: Denied(401, "auth_error") },
    Row { name: "6: a header before the query", headers: &[("x-goog-api-key", "{A}")],
          path: "/v1beta/models/gemini-2.0-flash:generateContent?key={B}", expected: As("A") },
    Row { name: "9: SigV4 with a bearer", path: CHAT, expected: As("A"),
          headers: &[("authorization", "AWS4-HMAC-SHA256 Credential=Bearer {A}/20261124/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0")] },
    Row { name: "9: SigV4", path: CHAT, expected: As("A"),
          headers: &[("authorization", "AWS4-HMAC-SHA256 Credential={A}/20261124/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=0")] },
    Row { name: "10: nothing", headers: &[], path: CHAT, expected: Denied(401, "auth_error") },
    Row { name: "11: no key at all", headers: &[("authorization", "Bearer abcdefghijklmnop")], path: CHAT, expected: Denied(401, "auth_error") },
    Row { name: "12: unknown key", headers: &[("authorization", "Bearer sk-unknown-to-everyone")], path: CHAT,
          expected: Denied(401, "token_not_found_in_db") },
    Row { name: "18: a Host that looks like a path", headers: &[("host", "localhost/?x=1")], path: CHAT, expected: Denied(401, "auth_error") },
    Row { name: "24: /metrics is no way in", headers: &[], path: "/metrics", expected: Denied(401, "auth_error") },
];

fn fill(text: &str, a: &Key, b: &Key) -> String {
    text.replace("{A}", &a.secret).replace("{B}", &b.secret)
}

fn body_for(path: &str) -> Value {
    if path.contains("generateContent") {
        json!({"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 5}})
    } else {
        chat_body("gpt-4o-mini")
    }
}

#[tokio::test]
async fn every_place_a_credential_can_stand_is_read_in_the_documented_order() {
    let stack = shared();
    let (a, b) = (stack.plain_key().await, stack.plain_key().await);
    for row in ROWS {
        let mut call = stack.call("POST", &fill(row.path, &a, &b)).json(&body_for(row.path));
        for (name, value) in row.headers {
            call = call.header(name, fill(value, &a, &b));
        }
        let answer = call.send().await;
        match row.expected {
            As(name) => {
                let expected = if name == "A" { &a } else { &b };
                assert_eq!(answer.status, 200, "{}: {}", row.name, answer.text());
                let received = answer.received().expect(row.name);
                assert_eq!(received.header("x-tollward-key-alias"), Some(expected.alias.as_str()), "{}", row.name);
                let sent = format!("{:?} {}", received.headers, received.path);
                assert!(!sent.contains(&expected.secret), "{}: the credential does not travel on: {sent}", row.name);
            }
            // Envoy itself refuses a Host that is none.
            Denied(..) if row.name.starts_with("18") && answer.status == 400 => {}
            Denied(status, kind) => {
                assert_eq!((answer.status, answer.kind().as_str()), (status, kind), "{}: {}", row.name, answer.text());
                assert!(answer.received().is_none(), "{}", row.name);
                assert!(answer.header("www-authenticate").is_some(), "{}: 401 names a scheme (RFC 9110)", row.name);
            }
        }
    }
}

#[tokio::test]
async fn a_denial_never_repeats_the_credential() {
    let stack = shared();
    let secret = "sk-unknown-to-everyone-0123456789";
    let answer = stack.call("POST", CHAT).bearer(secret).json(&chat_body("gpt-4o-mini")).send().await;
    answer.denied(401, "token_not_found_in_db");
    assert_eq!(answer.json()["error"]["param"], "key");
    assert!(!answer.text().contains(secret));
    // Row 12: nor its hash.
    let hexadecimal = answer.text().split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() == 64);
    assert!(!hexadecimal, "{}", answer.text());

    let other = "not-a-key-at-all-0123456789";
    let answer = stack.call("POST", CHAT).bearer(other).json(&chat_body("gpt-4o-mini")).send().await;
    answer.denied(401, "auth_error");
    assert!(!answer.text().contains(other), "row 11: shortened: {}", answer.text());
    let log = stack.tollward().log();
    assert!(!log.contains(secret) && !log.contains(other), "secrets are not logged");
}

#[tokio::test]
async fn the_hash_of_a_key_is_no_credential() {
    let stack = shared();
    let key = stack.plain_key().await;
    assert_eq!(key.token.len(), 64, "{}", key.attributes);
    let answer = stack.call("POST", CHAT).bearer(&key.token).json(&chat_body("gpt-4o-mini")).send().await;
    answer.denied(401, "auth_error");
}

#[tokio::test]
async fn a_configured_header_stands_before_every_other_place() {
    let stack = Stack::start(Options::config(json!({"general_settings": {"litellm_key_header_name": "X-My-Key"}})));
    let (a, b) = (stack.plain_key().await, stack.plain_key().await);
    // Rows 7 and 8.
    let rows: &[(&str, &str, bool)] = &[
        ("x-my-key", "Bearer {A}", true),
        ("X-MY-KEY", "bearer {A}", true),
        ("x-my-key", "{A}", false),
        ("x-my-key", "Bearer ", false),
    ];
    for (name, value, passes) in rows {
        let call = stack.chat(&b).header(name, fill(value, &a, &b));
        let answer = call.send().await;
        if *passes {
            assert_eq!(answer.allowed().header("x-tollward-key-alias"), Some(a.alias.as_str()), "{name}: {value}");
        } else {
            answer.denied(401, "auth_error");
        }
    }
    assert_eq!(stack.chat(&b).send().await.allowed().header("x-tollward-key-alias"), Some(b.alias.as_str()));
}

#[tokio::test]
async fn the_master_key_is_an_administrator() {
    let stack = shared();
    let answer = stack.call("POST", CHAT).bearer(MASTER).json(&chat_body("gpt-4o-mini")).send().await;
    let received = answer.allowed();
    assert_eq!(received.header("x-tollward-role"), Some("proxy_admin"));
    assert!(received.header("authorization").is_none());
    for near in [&MASTER[..MASTER.len() - 1], "sk-operator-of-the-test-stacK"] {
        let answer = stack.call("POST", CHAT).bearer(near).json(&chat_body("gpt-4o-mini")).send().await;
        answer.denied(401, "token_not_found_in_db");
    }
}

/// Waits until the call is answered so: a write is seen within moments, whatever is cached.
async fn soon(what: &str, call: Call, status: u16, kind: &str) -> Answer {
    eventually(what, || {
        let call = call.clone();
        async move {
            let answer = call.send().await;
            let seen = (answer.status, answer.kind());
            if seen == (status, kind.to_owned()) { Ok(answer) } else { Err(format!("{seen:?}: {}", answer.text())) }
        }
    })
    .await
}

#[tokio::test]
async fn a_key_past_its_lifetime_is_refused() {
    let stack = shared();
    let key = stack.key(json!({"duration": "1s"})).await;
    assert!(key.attributes["expires"].is_string(), "{}", key.attributes);
    soon("row 14: it expires", stack.chat(&key), 401, "expired_key").await;
}

#[tokio::test]
async fn a_blocked_key_is_refused_until_it_is_unblocked() {
    let stack = shared();
    let key = stack.plain_key().await;
    stack.chat(&key).send().await.allowed();
    stack.manage("POST", "/key/block", json!({"key": key.secret})).await;
    soon("row 15: it is blocked", stack.chat(&key), 401, "auth_error").await;
    stack.manage("POST", "/key/unblock", json!({"key": key.secret})).await;
    soon("it works again", stack.chat(&key), 200, "").await;
}

#[tokio::test]
async fn a_deleted_key_is_unknown() {
    let stack = shared();
    let key = stack.plain_key().await;
    stack.chat(&key).send().await.allowed();
    let answer = stack.manage("POST", "/key/delete", json!({"keys": [key.secret]})).await;
    assert_eq!(answer["deleted_keys"], json!([key.secret]));
    soon("it is gone", stack.chat(&key), 401, "token_not_found_in_db").await;
}

#[tokio::test]
async fn a_key_that_was_unknown_a_moment_ago_works_once_it_exists() {
    let stack = shared();
    let secret = format!("sk-{}-0123456789abcdef", unique("later"));
    let call = stack.call("POST", CHAT).bearer(&secret).json(&chat_body("gpt-4o-mini"));
    call.clone().send().await.denied(401, "token_not_found_in_db");
    stack.key(json!({"key": secret})).await;
    soon("it is known", call, 200, "").await;
}

#[tokio::test]
async fn the_key_of_a_blocked_team_is_refused() {
    let stack = shared();
    let team = stack.team(json!({"blocked": true})).await;
    let key = stack.key(json!({"team_id": team})).await;
    stack.chat(&key).send().await.denied(401, "auth_error");
}

#[tokio::test]
async fn a_websocket_names_its_key_in_the_sub_protocol() {
    let stack = shared();
    let key = stack.plain_key().await;
    // Row 17. The handshake is refused with 401 here, not with close code 1008: there is no socket yet.
    let handshake = |protocols: &str| {
        format!(
            "GET /v1/realtime?model=gpt-4o-mini HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {protocols}\r\nx-case: websocket-{}\r\n\r\n",
            key.alias
        )
    };
    let mut raw = support::raw::Raw::connect(stack.ports.gate).unwrap();
    raw.send(handshake("realtime").as_bytes()).unwrap();
    assert_eq!(support::raw::status(&raw.read_until("\r\n\r\n").unwrap()), 401);
    assert!(stack.upstream.with_header("x-case", &format!("websocket-{}", key.alias)).is_empty());
    let mut raw = support::raw::Raw::connect(stack.ports.gate).unwrap();
    raw.send(handshake(&format!("realtime, openai-insecure-api-key.{}", key.secret)).as_bytes()).unwrap();
    let answer = raw.read_until("\r\n\r\n").unwrap();
    // The sample upstream has no sockets; that it was asked is what matters.
    assert_ne!(support::raw::status(&answer), 401, "{answer}");
    let received = stack.upstream.with_header("x-case", &format!("websocket-{}", key.alias));
    assert_eq!(received.len(), 1, "{answer}");
    assert!(!format!("{:?}", received[0].headers).contains(&key.secret), "the key does not travel on");
}

#[tokio::test]
async fn a_malformed_body_is_told_only_to_those_who_may_call() {
    let stack = shared();
    let key = stack.plain_key().await;
    // Row 22.
    for body in ["{\"model\": ", "[]", "null", "\"text\"", "{\"model\": \"gpt-4o-mini\"} x"] {
        let call = stack.call("POST", CHAT).header("content-type", "application/json").body(body);
        call.clone().bearer("sk-unknown-to-everyone").send().await.denied(401, "token_not_found_in_db");
        call.key(&key).send().await.denied(400, "bad_request_error");
    }
}

#[tokio::test]
async fn parameters_that_move_the_destination_are_refused() {
    let stack = shared();
    let key = stack.plain_key().await;
    let open = Stack::start(Options::config(json!({"general_settings": {"allow_client_side_credentials": true}})));
    let open_key = open.plain_key().await;
    let elsewhere = json!("https://elsewhere.example");
    // Row 23.
    let bodies = [
        ("api_base", json!({"api_base": elsewhere})),
        ("base_url", json!({"base_url": elsewhere})),
        ("metadata", json!({"metadata": {"api_base": elsewhere}})),
        ("extra_body", json!({"extra_body": {"base_url": elsewhere}})),
        ("fallbacks", json!({"fallbacks": [{"model": "gpt-4o-mini", "api_base": elsewhere}]})),
    ];
    for (name, extra) in bodies {
        let mut body = chat_body("gpt-4o-mini");
        for (field, value) in extra.as_object().unwrap() {
            body[field] = value.clone();
        }
        let answer = stack.call("POST", CHAT).key(&key).json(&body).send().await;
        // A parameter is no credential: 400 here where the original says 401.
        assert!(matches!(answer.status, 400 | 401 | 403), "{name}: {} {}", answer.status, answer.text());
        assert!(answer.received().is_none(), "{name}");
        let answer = open.call("POST", CHAT).key(&open_key).json(&body).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_regenerated_key_passes_under_its_old_secret_for_the_grace_period_only() {
    let stack = shared();
    // Row 16.
    let (with_grace, without) = (stack.plain_key().await, stack.plain_key().await);
    let fresh = stack.manage("POST", "/key/regenerate", json!({"key": with_grace.secret, "grace_period": "1h"})).await;
    let fresh = fresh["key"].as_str().expect("a new secret").to_owned();
    assert_ne!(fresh, with_grace.secret);
    let chat = |secret: &str| stack.call("POST", CHAT).bearer(secret).json(&chat_body("gpt-4o-mini"));
    soon("the new secret works", chat(&fresh), 200, "").await;
    soon("the old one too", chat(&with_grace.secret), 200, "").await;
    stack.manage("POST", "/key/regenerate", json!({"key": without.secret})).await;
    soon("without grace it is gone", chat(&without.secret), 401, "token_not_found_in_db").await;
}

#[tokio::test]
async fn a_path_below_gemini_takes_the_key_out_of_the_query() {
    let stack = shared();
    let key = stack.plain_key().await;
    let path = format!("{GEMINI}?alt=json&key={}", key.secret);
    let received = stack.call("POST", &path).json(&body_for(GEMINI)).send().await.allowed();
    assert_eq!(received.path, format!("{GEMINI}?alt=json"));
}
