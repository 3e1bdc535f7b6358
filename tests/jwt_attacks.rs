//! Forged, borrowed and malformed tokens through Envoy: each is refused, reaches no model, and is told to nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "jwt_attacks/claims.rs"]
mod claims;
#[path = "support/forge.rs"]
mod forge;
#[path = "jwt_attacks/headers.rs"]
mod headers;
#[path = "jwt_attacks/shape.rs"]
mod shape;
#[path = "jwt_attacks/signatures.rs"]
mod signatures;
mod support;
#[path = "support/wire.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod wire;

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use support::call::chat_body;
use support::idp::{AUDIENCE, Idp};
use support::signed::Signed;
use support::{Value, json, raw, unique};

/// The provider that is trusted, one that is trusted for itself alone and whose key ids are the same, and the stack.
struct World {
    signed: Signed,
    other: Idp,
    rsa: Value,
    ec: Value,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let idp = Idp::start();
    let key = |idp: &Idp, kind: &str| {
        let fits = |key: &Value| key["kid"].as_str().unwrap().contains(kind);
        idp.keys().into_iter().find(fits).expect("a key of this kind")
    };
    let (rsa, ec) = (key(&idp, "-rsa-"), key(&idp, "-p256-"));
    let name = rsa["kid"].as_str().unwrap().split('-').next().unwrap().to_owned();
    let other = Idp::start_with(json!({"kid": name}));
    let issuers = json!([
        {"issuer": idp.issuer(), "jwks_url": idp.jwks_url(), "audience": AUDIENCE, "user_id_jwt_field": "sub"},
        {"issuer": other.issuer(), "jwks_url": other.jwks_url(), "audience": "aud-b", "user_id_jwt_field": "sub"},
    ]);
    let config = json!({
        "telemetry": {"log": "debug"},
        "general_settings": {"jwt_public_key_url": null, "jwt_audience": [], "litellm_jwtauth": {"issuers": issuers}},
    });
    World { signed: Signed::start_with(idp, &config), other, rsa, ec }
});

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "members and claims are written where they are used")]
impl World {
    fn kid(&self) -> &str {
        text(&self.rsa, "kid")
    }

    /// The header of a good token with these members over it.
    fn header(&self, members: Value) -> String {
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": self.kid()});
        for (name, value) in members.as_object().unwrap() {
            header[name] = value.clone();
        }
        header.to_string()
    }

    /// The claims of a good token with these over them; null removes one.
    fn claims(&self, claims: Value) -> String {
        let (iss, now) = (self.signed.idp.issuer(), now());
        let mut all = json!({"iss": iss, "sub": "ada", "aud": AUDIENCE, "iat": now, "exp": now + 600});
        for (name, value) in claims.as_object().unwrap() {
            match value {
                Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
                value => all[name] = value.clone(),
            }
        }
        all.to_string()
    }

    /// Signed with the right key.
    fn sign(&self, header: &str, claims: &str) -> String {
        forge::rsa(text(&self.rsa, "private_pem"), header, claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header(json!({})), &self.claims(json!({})))
    }
}

/// One request byte by byte; the answer, and whether a model was reached.
fn send(world: &World, headers: &str) -> (String, bool) {
    let (stack, case, body) = (&world.signed.stack, unique("attack"), chat_body("gpt-4o-mini").to_string());
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-case: {case}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let answer = raw::exchange(stack.ports.gate, request.as_bytes()).unwrap_or_default();
    (answer, !stack.upstream.with_header("x-case", &case).is_empty())
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Refuses each; neither the answers nor the log have a part of a token.
fn refuses(world: &World, attacks: Vec<(String, String)>) {
    let (answer, reached) = send(world, &bearer(&world.good()));
    assert!(raw::status(&answer) == 200 && reached, "a good token passes: {answer}");
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for (name, token) in attacks {
        let (answer, reached) = send(world, &bearer(&token));
        if raw::status(&answer) != 401 || reached || !answer.contains("\"type\":\"auth_error\"") {
            wrong.push(format!("{name}: {}", answer.lines().next().unwrap_or_default()));
        }
        let parts = token.split('.').filter(|part| part.len() > 40).map(str::to_owned).collect::<Vec<_>>();
        assert!(parts.iter().all(|part| !answer.contains(part.as_str())), "{name}: the answer repeats it: {answer}");
        seen.extend(parts.into_iter().map(|part| (name.clone(), part)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let log = world.signed.tollward().log();
    let header = URL_SAFE_NO_PAD.encode(world.header(json!({})));
    for (name, part) in seen.iter().filter(|(_, part)| *part != header) {
        assert!(!log.contains(part.as_str()), "{name}: the log has a part of it");
    }
}

fn named(rows: Vec<(&str, String)>) -> Vec<(String, String)> {
    rows.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

#[tokio::test]
async fn a_token_beyond_all_sizes_is_refused_by_whoever_sees_it() {
    let world = &*WORLD;
    let large = |bytes: usize| world.sign(&world.header(json!({})), &world.claims(json!({"pad": "x".repeat(bytes)})));
    for bytes in [48 * 1024, 1 << 20] {
        let token = large(bytes * 3 / 4);
        let (answer, reached) = send(world, &bearer(&token));
        // Envoy may close the connection before all of it is sent.
        assert!(matches!(raw::status(&answer), 0 | 400 | 401 | 431) && !reached, "{bytes}: {}", raw::status(&answer));
    }
    // Past Envoy, whoever asks the gRPC port.
    let mut checker = AuthorizationClient::new(wire::channel(world.signed.ports.grpc).await);
    let value = format!("Bearer {}", large(1 << 20));
    let headers = [("authorization", value.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    let answer =
        checker.check(wire::check_request("/v1/chat/completions", &headers, &body)).await.unwrap().into_inner();
    assert_eq!(wire::denied(&answer), 401);
    let mut headers = headers;
    let value = format!("Bearer {}", world.good());
    headers[0].1 = &value;
    let answer =
        checker.check(wire::check_request("/v1/chat/completions", &headers, &body)).await.unwrap().into_inner();
    assert!(answer.status.as_ref().is_none_or(|status| status.code == 0), "the server lives");
}

#[tokio::test]
async fn a_known_token_answers_for_nothing_but_itself() {
    let world = &*WORLD;
    // They share their header and the first eight KiB of their claims.
    let pad = "p".repeat(9 * 1024);
    let (iss, exp) = (world.signed.idp.issuer(), now() + 600);
    let of = |sub: &str| {
        let claims = format!(r#"{{"pad":"{pad}","iss":"{iss}","aud":"{AUDIENCE}","exp":{exp},"sub":"{sub}"}}"#);
        world.sign(&world.header(json!({})), &claims)
    };
    let (ada, bob) = (of("ada"), of("bob"));
    let shared = ada.bytes().zip(bob.bytes()).take_while(|(a, b)| a == b).count();
    assert!(shared > 8 * 1024, "{shared}");
    let forged = {
        let (input, signed) = ada.rsplit_once('.').unwrap();
        let mut signed = URL_SAFE_NO_PAD.decode(signed).unwrap();
        *signed.last_mut().unwrap() ^= 1;
        forge::with_signature(input, &signed)
    };
    let borrowed = format!("{}.{}", bob.rsplit_once('.').unwrap().0, ada.rsplit_once('.').unwrap().1);
    for _ in 0..3 {
        for (user, token) in [("ada", &ada), ("bob", &bob)] {
            let received = world.signed.bearer(token).send().await.allowed();
            assert_eq!(received.header("x-tollward-user-id"), Some(user));
        }
        for token in [&forged, &borrowed, &ada[..ada.len() - 1].to_owned()] {
            world.signed.bearer(token).send().await.denied(401, "auth_error");
        }
    }
}
