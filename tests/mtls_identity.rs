//! Who calls by the certificate of the connection, through an Envoy whose listener asks for one as `docs/mtls.md` has it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};

use support::call::chat_body;
use support::certificates::{Authority, Identity, connect};
use support::cli::text;
use support::{Options, Stack, Value, json};

/// The authority of servers and clients, and a stack whose Envoy asks for its certificates.
struct House {
    authority: Authority,
    stack: Stack,
    _folder: tempfile::TempDir,
}

impl House {
    fn start(config: Value) -> House {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let Identity { certificate, key } = authority.sign("localhost");
        for (name, pem) in [("cert.pem", &certificate), ("key.pem", &key), ("clients.pem", &authority.certificate)] {
            std::fs::write(folder.path().join(name), pem).unwrap();
        }
        let listener_tls = Some(folder.path().to_owned());
        let stack = Stack::start(Options { config, listener_tls, ..Options::default() });
        House { authority, stack, _folder: folder }
    }

    /// A chat of whoever has this URI in its certificate; the status, and what the upstream heard.
    fn chat(&self, uri: &str, headers: &str) -> (u16, Option<support::upstream::Received>) {
        let identity = self.authority.sign_uri(uri);
        let case = support::unique("case");
        let body = chat_body("gpt-4o-mini").to_string();
        let mut stream = connect(self.stack.ports.gate, self.authority.client(Some(&identity), &["http/1.1"]))
            .expect("Envoy takes it");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-case: {case}\r\n{headers}\
             connection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A server that closes without TLS's own farewell has still answered.
        let _ = stream.read_to_end(&mut answer);
        let status = support::raw::status(&String::from_utf8_lossy(&answer));
        (status, self.stack.upstream.with_header("x-case", &case).into_iter().next())
    }
}

#[tokio::test]
async fn a_certificate_stands_for_a_user_a_team_or_a_key_and_a_strange_one_for_nobody() {
    let house = House::start(json!({"identity": {"mtls": [
        {"principal": "spiffe://test.local/ns/*/sa/agent-*", "user_id": "agent-{2}", "team_id": "{1}"},
        {"principal": "spiffe://test.local/ns/ops/sa/*", "user_id": "{1}", "models": ["gpt-4o"]},
        {"principal": "spiffe://test.local/keyed", "key": "sk-of-a-workload-0123456789"},
    ]}}));
    let stack = &house.stack;
    stack.user(json!({"user_id": "agent-7"})).await;
    stack.team(json!({"team_id": "prod"})).await;
    stack.key(json!({"key": "sk-of-a-workload-0123456789", "key_alias": "workload"})).await;

    let (status, received) = house.chat("spiffe://test.local/ns/prod/sa/agent-7", "");
    let received = received.unwrap_or_else(|| panic!("refused with {status}"));
    assert_eq!(received.header("x-tollward-user-id"), Some("agent-7"));
    assert_eq!(received.header("x-tollward-team-id"), Some("prod"));
    assert_eq!(received.header("x-tollward-auth-method"), Some("mtls"));

    let (status, received) = house.chat("spiffe://test.local/keyed", "");
    let received = received.unwrap_or_else(|| panic!("refused with {status}"));
    assert_eq!(received.header("x-tollward-key-alias"), Some("workload"));

    assert_eq!(house.chat("spiffe://test.local/ns/ops/sa/ada", "").0, 403, "a model outside the entry's list");
    // A team that is not there.
    assert_eq!(house.chat("spiffe://test.local/ns/none/sa/agent-7", "").0, 404);
    for uri in [
        "spiffe://test.local/ns/prod/sa/other",
        "spiffe://test.local/ns/prod/x/sa/agent-7",
        "spiffe://evil.local/ns/prod/sa/agent-7",
    ] {
        let claimed = "x-forwarded-client-cert: URI=spiffe://test.local/ns/prod/sa/agent-7\r\n";
        for headers in ["", claimed] {
            let (status, received) = house.chat(uri, headers);
            assert_eq!((status, received.is_some()), (401, false), "{uri}");
        }
    }
    // A stranger to the entries is a caller like any other where it shows a key.
    let key = stack.plain_key().await;
    let bearer = format!("authorization: Bearer {}\r\n", key.secret);
    assert_eq!(house.chat("spiffe://test.local/ns/prod/sa/other", &bearer).0, 200);

    let principal = ["--principal", "spiffe://test.local/ns/prod/sa/agent-7"];
    let output = stack.command(&[&["check", "--model", "gpt-4o-mini"], &principal[..]].concat());
    let said = text(&output);
    assert!(output.status.success() && said.contains("identity.mtls spiffe://test.local/ns/*/sa/agent-*"), "{said}");
}

#[test]
fn a_certificate_of_another_authority_does_not_reach_the_gate() {
    let house = House::start(json!({"identity": {"mtls": [{"principal": "spiffe://test.local/*", "user_id": "{1}"}]}}));
    let forged = Authority::new().sign_uri("spiffe://test.local/ada");
    for identity in [None, Some(&forged)] {
        let client = house.authority.client(identity, &["http/1.1"]);
        let heard = connect(house.stack.ports.gate, client).and_then(|mut stream| {
            stream.write_all(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n")?;
            stream.read_exact(&mut [0; 12])
        });
        assert!(heard.is_err(), "no or another's certificate");
    }
    assert_eq!(house.chat("spiffe://test.local/ada", "").0, 200);
}

#[tokio::test]
async fn a_proxy_is_trusted_by_its_certificate() {
    let house = House::start(json!({"general_settings": {
        "enable_oauth2_proxy_auth": true,
        "trusted_proxy_principals": ["spiffe://test.local/ns/gateway/sa/*"],
        "oauth2_config_mappings": {"user_id": "x-user-id"},
    }}));
    let header = "x-user-id: ada\r\n";
    let (status, received) = house.chat("spiffe://test.local/ns/gateway/sa/oauth2-proxy", header);
    let received = received.unwrap_or_else(|| panic!("refused with {status}"));
    assert_eq!(received.header("x-tollward-user-id"), Some("ada"));
    assert_eq!(received.header("x-user-id"), None);
    assert_eq!(house.chat("spiffe://test.local/ns/agents/sa/oauth2-proxy", header).0, 401);
}
