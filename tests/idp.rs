//! The identity provider that other tests stand on: what they believe of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use support::idp::{ASSERTER, AUDIENCE, Fault, GATEWAY, Idp, POSTER, PUBLIC, Signing};
use support::{Value, eventually, json, raw};

/// The provider of the tests that disturb nobody.
static SHARED: LazyLock<Idp> = LazyLock::new(Idp::start);

/// Header and claims of a JWT.
fn parts(token: &str) -> (Value, Value) {
    let part = |at: usize| {
        let text = token.split('.').nth(at).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
    };
    (part(0), part(1))
}

/// Status and JSON of what a path answers.
fn get(idp: &Idp, path: &str) -> (u16, Value) {
    let head = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\r\n", idp.port());
    let answer = raw::exchange(idp.port(), head.as_bytes()).expect("an answer");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    (raw::status(&answer), serde_json::from_str(body).unwrap_or_default())
}

/// The JWKS: key id -> key.
fn jwks(idp: &Idp) -> serde_json::Map<String, Value> {
    let (status, set) = get(idp, "/jwks");
    assert_eq!(status, 200);
    let keys = set["keys"].as_array().expect("keys").iter();
    keys.map(|key| (key["kid"].as_str().expect("a kid").to_owned(), key.clone())).collect()
}

fn introspect(idp: &Idp, token: &str) -> Value {
    let (status, answer) = idp.post_as(&GATEWAY, "/introspection", &format!("token={token}"));
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn userinfo(idp: &Idp, token: &str) -> (u16, Value) {
    let answer = support::call::client().get(idp.userinfo_url()).bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Whether the signature is by this key of the JWKS.
fn is_signed_by(token: &str, key: &Value) -> bool {
    let (input, signed) = token.rsplit_once('.').expect("three parts");
    let signed = URL_SAFE_NO_PAD.decode(signed).expect("base64url");
    let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("a member")).expect("base64url");
    let verify = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
        UnparsedPublicKey::new(algorithm, key).verify(input.as_bytes(), &signed).is_ok()
    };
    let point = || [vec![4], member("x"), member("y")].concat();
    let rsa = |parameters: &'static signature::RsaParameters| {
        let key = signature::RsaPublicKeyComponents { n: member("n"), e: member("e") };
        key.verify(parameters, input.as_bytes(), &signed).is_ok()
    };
    match parts(token).0["alg"].as_str().expect("an alg") {
        "RS256" => rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => verify(&signature::ECDSA_P256_SHA256_FIXED, &point()),
        "ES384" => verify(&signature::ECDSA_P384_SHA384_FIXED, &point()),
        "ES512" => verify(&signature::ECDSA_P521_SHA512_FIXED, &point()),
        "EdDSA" => verify(&signature::ED25519, &member("x")),
        other => panic!("no test for {other}"),
    }
}

#[test]
fn discovery_names_the_endpoints() {
    let idp = &*SHARED;
    let (status, told) = get(idp, "/.well-known/openid-configuration");
    assert_eq!(status, 200);
    assert_eq!(told["issuer"], idp.issuer());
    assert_eq!(told["jwks_uri"], idp.jwks_url());
    assert_eq!(told["token_endpoint"], idp.token_url());
    assert_eq!(told["introspection_endpoint"], idp.introspection_url());
    assert_eq!(told["userinfo_endpoint"], idp.userinfo_url());
}

#[test]
fn a_minted_token_verifies_by_the_key_of_the_jwks_that_it_names() {
    let (idp, keys) = (&*SHARED, jwks(&SHARED));
    for alg in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] {
        let token = idp.sign_with(Signing::alg(alg), json!({"groups": ["a"], "realm": {"roles": ["b"]}, "iat": null}));
        let (header, claims) = parts(&token);
        assert_eq!(header["alg"], alg);
        let key = &keys[header["kid"].as_str().expect("a kid")];
        assert!(is_signed_by(&token, key), "{alg}");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(idp.issuer()), &json!(AUDIENCE)));
        assert_eq!(claims["realm"]["roles"], json!(["b"]));
        assert!(claims.get("iat").is_none() && claims["exp"].is_u64(), "{claims}");
    }
}

#[test]
fn the_header_and_the_payload_of_a_token_may_be_anything() {
    let signing = Signing {
        header: json!({"kid": "../other", "typ": null, "jku": "https://keys.example"}),
        text: Some(r#"{"sub":"a","sub":"b"}"#.to_owned()),
        ..Signing::default()
    };
    let token = SHARED.sign_with(signing, Value::Null);
    let header = parts(&token).0;
    assert_eq!(header, json!({"alg": "RS256", "kid": "../other", "jku": "https://keys.example"}));
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    assert_eq!(payload, br#"{"sub":"a","sub":"b"}"#);
    assert!(SHARED.sign_with(Signing::alg("none"), json!({})).ends_with('.'));
    let secret = Some("a public key".to_owned());
    let forged = SHARED.sign_with(Signing { secret, ..Signing::alg("HS256") }, json!({}));
    assert_eq!(parts(&forged).0["alg"], "HS256");
}

#[test]
fn clients_get_tokens_for_themselves() {
    let (idp, keys) = (&*SHARED, jwks(&SHARED));
    idp.client_claims(&POSTER, json!({"roles": ["robot"]}));
    for (client, alg) in [(&GATEWAY, "RS256"), (&POSTER, "ES256"), (&ASSERTER, "EdDSA")] {
        let resource = format!("urn:models:{alg}");
        let token = idp.client_credentials(client, &resource, "models:read models:call");
        let (header, claims) = parts(&token);
        assert!(is_signed_by(&token, &keys[header["kid"].as_str().expect("a kid")]), "{alg}");
        assert_eq!((&claims["client_id"], &claims["aud"]), (&json!(client.id), &json!(resource)));
        assert_eq!(claims["scope"], "models:read models:call");
        assert_eq!(claims["roles"], if client.id == POSTER.id { json!(["robot"]) } else { Value::Null });
    }
    let opaque = idp.client_credentials(&GATEWAY, "urn:models:opaque", "models:read");
    let said = introspect(idp, &opaque);
    assert_eq!((&said["active"], &said["aud"]), (&json!(true), &json!("urn:models:opaque")));
    let (status, refused) = idp.post_as(&PUBLIC, "/token", "grant_type=client_credentials");
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_request")), "{refused}");
}

#[test]
fn introspection_tells_whether_a_token_is_active() {
    let idp = &*SHARED;
    let token = idp.opaque(json!({
        "account": "ann", "scope": "openid models:read", "audience": AUDIENCE, "extra": {"team": {"id": "t1"}},
    }));
    for client in [&GATEWAY, &POSTER, &ASSERTER] {
        let (status, said) = idp.post_as(client, "/introspection", &format!("token={token}"));
        assert_eq!((status, &said["active"], &said["sub"]), (200, &json!(true), &json!("ann")), "{said}");
        assert_eq!((&said["aud"], &said["team"]["id"]), (&json!(AUDIENCE), &json!("t1")));
        assert_eq!(said["scope"], "openid models:read");
    }
    let forger = support::idp::Client { secret: "a guess", ..GATEWAY };
    assert_eq!(idp.post_as(&forger, "/introspection", &format!("token={token}")).0, 401);
    idp.revoke(&token);
    assert_eq!(introspect(idp, &token), json!({"active": false}));
    assert_eq!(introspect(idp, &idp.opaque(json!({"ttl": -30}))), json!({"active": false}));
    let revoked = idp.opaque(json!({}));
    assert_eq!(idp.post_as(&GATEWAY, "/revocation", &format!("token={revoked}")).0, 200);
    assert_eq!(introspect(idp, &revoked), json!({"active": false}));
}

#[tokio::test]
async fn userinfo_returns_the_claims_of_the_account() {
    let idp = &*SHARED;
    let claims = json!({
        "email": "bo@example.com", "groups": ["g"], "roles": ["r"], "app": {"list": [{"team": "t"}]},
    });
    let token = idp.opaque(json!({"account": "bo", "claims": claims}));
    let (status, told) = userinfo(idp, &token).await;
    assert_eq!(status, 200);
    assert_eq!(told["sub"], "bo");
    for (name, value) in claims.as_object().unwrap() {
        assert_eq!(&told[name], value, "{name}");
    }
    idp.revoke(&token);
    assert_eq!(userinfo(idp, &token).await.0, 401);
}

#[test]
fn a_rotation_changes_the_set_and_ends_no_opaque_token() {
    let idp = Idp::start();
    let opaque = idp.opaque(json!({}));
    let (old, token) = (jwks(&idp), idp.sign(json!({})));
    let kid = idp.rotate(true);
    let both = jwks(&idp);
    assert!(old.iter().all(|(kid, key)| both.get(kid) == Some(key)), "the old keys are still there");
    assert!(both.contains_key(&kid) && both.len() == 2 * old.len());
    for fresh in [idp.sign(json!({})), idp.client_credentials(&GATEWAY, "urn:models:RS256", "admin")] {
        assert_eq!(parts(&fresh).0["kid"], json!(kid), "the new key signs");
        assert!(is_signed_by(&fresh, &both[&kid]));
    }
    idp.rotate(false);
    let new = jwks(&idp);
    assert_eq!(new.len(), old.len());
    assert!(both.keys().all(|kid| !new.contains_key(kid)), "the old keys are gone");
    // One signs with a key that is not shown any more, all the same.
    let retired = parts(&token).0["kid"].as_str().unwrap().to_owned();
    let late = idp.sign_with(Signing { kid: Some(retired.clone()), ..Signing::default() }, json!({}));
    assert!(is_signed_by(&late, &old[&retired]));
    assert_eq!(idp.pems().as_object().unwrap().keys().collect::<Vec<_>>(), new.keys().collect::<Vec<_>>());
    assert_eq!(introspect(&idp, &opaque)["active"], true);
}

#[test]
fn two_providers_may_use_one_key_id_for_different_keys() {
    let kid = SHARED.keys()[0]["kid"].as_str().unwrap().split('-').next().unwrap().to_owned();
    let (one, other) = (&*SHARED, &Idp::start_with(json!({"kid": kid})));
    assert_ne!(one.issuer(), other.issuer());
    let (ours, theirs) = (jwks(one), jwks(other));
    assert!(ours.keys().eq(theirs.keys()), "the same ids");
    let token = one.sign(json!({}));
    let kid = parts(&token).0["kid"].as_str().unwrap().to_owned();
    assert!(is_signed_by(&token, &ours[&kid]) && !is_signed_by(&token, &theirs[&kid]));
}

#[tokio::test]
async fn each_fault_does_what_it_says() {
    let idp = Idp::start();
    let ask = |path: &'static str| {
        let port = idp.port();
        tokio::task::spawn_blocking(move || raw::get(port, path).unwrap_or_default())
    };
    let body = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    let good = body(&ask("/jwks").await.unwrap());

    idp.fault("jwks", Fault::Status { status: 500 });
    assert_eq!(raw::status(&ask("/jwks").await.unwrap()), 500);
    assert_eq!(get(&idp, "/.well-known/openid-configuration").0, 200, "other endpoints are as they were");

    idp.fault("jwks", Fault::Redirect { to: "http://10.0.0.1/".to_owned() });
    let redirect = ask("/jwks").await.unwrap();
    assert_eq!(raw::status(&redirect), 302);
    assert!(redirect.contains("location: http://10.0.0.1/\r\n"), "{redirect}");

    idp.fault("jwks", Fault::Garbage);
    let garbage = ask("/jwks").await.unwrap();
    assert_eq!(raw::status(&garbage), 200);
    assert_eq!(body(&garbage), "<html>{\"keys\": [");

    idp.fault("jwks", Fault::Cut);
    assert_eq!(ask("/jwks").await.unwrap(), "");
    idp.fault("jwks", Fault::CutShort);
    let short = ask("/jwks").await.unwrap();
    assert!(short.contains("content-length: 1000\r\n"), "{short}");
    assert_eq!(body(&short), "{\"keys\": [");

    idp.fault("jwks", Fault::Oversized { bytes: 20 << 20 });
    let answer = support::call::client().get(idp.jwks_url()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (200, None));
    let large = answer.bytes().await.unwrap();
    assert_eq!(large.len(), 20 << 20);
    assert!(large.starts_with(b"{\"padding\":\"x") && large.ends_with(b"x\"}"));

    idp.fault("jwks", Fault::Delay { ms: 100 });
    let start = Instant::now();
    assert_eq!(body(&ask("/jwks").await.unwrap()), good);
    assert!(start.elapsed() >= Duration::from_millis(100), "it came before its time");

    idp.forget();
    idp.fault("all", Fault::Hang);
    idp.clear_faults();
    assert_eq!(body(&ask("/jwks").await.unwrap()), good, "no fault is left");
    idp.fault("all", Fault::Hang);
    let waiting = ask("/jwks");
    eventually("the request hangs", || async { if idp.count("jwks") == 2 { Ok(()) } else { Err(String::new()) } })
        .await;
    assert!(!waiting.is_finished());
    idp.clear_faults();
    assert_eq!(body(&waiting.await.unwrap()), good);

    idp.unplug();
    assert_eq!(ask("/jwks").await.unwrap(), "", "nobody listens");
    idp.plug_in();
    assert_eq!(body(&ask("/jwks").await.unwrap()), good);
}

#[tokio::test]
async fn a_path_of_a_test_is_served_and_its_requests_are_told() {
    let idp = &*SHARED;
    let pems = idp.pems();
    idp.serve("/certs", "application/json", &pems.to_string());
    assert_eq!(get(idp, "/certs"), (200, pems));
    let client = support::call::client();
    let answer = client.post(idp.url("/certs?a=b")).header("x-case", "one").body("asked").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(idp.count("/certs"), 2);
    let told = &idp.requests("/certs")[1];
    assert_eq!(
        (&told["method"], &told["path"], &told["body"]),
        (&json!("POST"), &json!("/certs?a=b"), &json!("asked"))
    );
    assert_eq!(told["headers"]["x-case"], "one");
}
