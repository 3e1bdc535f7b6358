//! Forged, borrowed and malformed tokens through Envoy: each is refused, reaches no model, and is told to nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/forge.rs"]
mod forge;
mod support;
#[path = "support/wire.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod wire;

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
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

#[test]
fn a_signature_by_nobody_or_by_a_public_key_is_none() {
    let world = &*WORLD;
    let claims = world.claims(json!({}));
    let mut attacks = Vec::new();
    for alg in ["none", "None", "NONE", "nOnE", "none ", "", "HS256", "rs256", "RS256 ", "RS-256", "RS256\u{0}"] {
        for kid in [world.header(json!({"alg": alg})), json!({"alg": alg}).to_string()] {
            let input = forge::input(&kid, &claims);
            attacks.push((format!("alg {alg:?} without a signature"), format!("{input}.")));
            attacks.push((format!("alg {alg:?} with some"), forge::with_signature(&input, &[0; 256])));
        }
    }
    for alg in [json!(null), json!(7), json!(["RS256"]), json!({"RS256": true})] {
        attacks.push((format!("alg {alg}"), world.sign(&world.header(json!({"alg": alg})), &claims)));
    }
    // The public key as the secret of a symmetric algorithm: as PEM, as DER, as the modulus and as the whole JWK.
    let pem = text(&world.rsa, "pem");
    let set = raw::get(world.signed.idp.port(), "/jwks").unwrap();
    let set: Value = serde_json::from_str(set.split_once("\r\n\r\n").unwrap().1).unwrap();
    let jwk = set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == world.kid()).unwrap();
    let modulus = text(jwk, "n");
    let secrets = [
        pem.as_bytes().to_vec(),
        pem.trim_end().as_bytes().to_vec(),
        forge::der(pem),
        modulus.as_bytes().to_vec(),
        URL_SAFE_NO_PAD.decode(modulus).unwrap(),
        jwk.to_string().into_bytes(),
        Vec::new(),
    ];
    for (alg, code) in [("HS256", HMAC_SHA256), ("HS384", HMAC_SHA384), ("HS512", HMAC_SHA512)] {
        for (index, secret) in secrets.iter().enumerate() {
            let token = forge::hmac(code, secret, &world.header(json!({"alg": alg})), &claims);
            attacks.push((format!("{alg} with public secret {index}"), token));
        }
        let labelled = forge::hmac(code, pem.as_bytes(), &world.header(json!({})), &claims);
        attacks.push((format!("{alg} that says RS256"), labelled));
    }
    refuses(world, attacks);
}

#[test]
fn a_signature_of_another_kind_or_for_other_claims_is_none() {
    let world = &*WORLD;
    let (claims, header) = (world.claims(json!({})), world.header(json!({})));
    let (rsa, ec) = (text(&world.rsa, "private_pem"), text(&world.ec, "private_pem"));
    let good = world.good();
    let (input, signed) = good.rsplit_once('.').unwrap();
    let swapped = forge::input(&header, &world.claims(json!({"sub": "root", "scope": "litellm_proxy_admin"})));
    let of_ec = world.header(json!({"alg": "ES256", "kid": world.ec["kid"]}));
    let ec_input = forge::input(&of_ec, &claims);
    let bytes = URL_SAFE_NO_PAD.decode(signed).unwrap();
    let flipped = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        forge::with_signature(input, &bytes)
    };
    refuses(
        world,
        named(vec![
            ("EC over the name of an RSA key", forge::p256(ec, &world.header(json!({"alg": "ES256"})), &claims)),
            ("EC that says RS256", forge::p256(ec, &header, &claims)),
            ("RSA over the name of an EC key", forge::rsa(rsa, &of_ec, &claims)),
            (
                "RSA over an EC name that says RS256",
                forge::rsa(rsa, &world.header(json!({"kid": world.ec["kid"]})), &claims),
            ),
            ("PSS that says PKCS #1", forge::pss(rsa, &header, &claims)),
            ("PKCS #1 that says PSS", forge::rsa(rsa, &world.header(json!({"alg": "PS256"})), &claims)),
            ("SHA-256 that says SHA-512", forge::rsa(rsa, &world.header(json!({"alg": "RS512"})), &claims)),
            ("zeros for EC", forge::with_signature(&ec_input, &[0; 64])),
            ("zeros for RSA", forge::with_signature(input, &[0; 256])),
            ("too long for EC", forge::with_signature(&ec_input, &[1; 4_096])),
            ("none", format!("{input}.")),
            ("claims of somebody else", format!("{swapped}.{signed}")),
            (
                "a header of another",
                format!("{}.{signed}", forge::input(&world.header(json!({"typ": "at+jwt"})), &claims)),
            ),
            ("the first bit", flipped(0)),
            ("the last bit", flipped(bytes.len() - 1)),
            ("one byte less", forge::with_signature(input, &bytes[..bytes.len() - 1])),
            ("one byte more", forge::with_signature(input, &[&bytes[..], &[0]].concat())),
            ("the key of another issuer", forge::rsa(text(&world.other.keys()[0], "private_pem"), &header, &claims)),
        ]),
    );
}

#[test]
fn a_header_leads_to_no_key_but_those_of_the_issuer() {
    let world = &*WORLD;
    let (claims, idp) = (world.claims(json!({})), &world.signed.idp);
    // The attacker is the other provider: its keys are served where the headers point.
    let answer = raw::get(world.other.port(), "/jwks").unwrap();
    let set = answer.split_once("\r\n\r\n").unwrap().1;
    idp.serve("/attacker", "application/json", set);
    let set: Value = serde_json::from_str(set).unwrap();
    let (attacker, jwk) = (world.other.keys()[0].clone(), set["keys"][0].clone());
    let certificate = rcgen::generate_simple_self_signed(vec!["attacker.example".to_owned()]).unwrap();
    let x5c = STANDARD.encode(certificate.cert.der());
    let at = idp.url("/attacker");
    let forged = |members: Value| forge::rsa(text(&attacker, "private_pem"), &world.header(members), &claims);
    idp.forget();
    let start = Instant::now();
    let mut attacks = Vec::new();
    for members in [
        json!({"jku": at}),
        json!({"x5u": at}),
        json!({"jwk": jwk}),
        json!({"x5c": [x5c]}),
        json!({"jku": at, "kid": "attacker"}),
        json!({"jwk": jwk, "kid": "attacker"}),
        json!({"jwk": jwk, "kid": null}),
        json!({"iss": world.other.issuer()}),
        json!({"kid": at}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "file:///dev/null"}),
        json!({"kid": "' OR '1'='1' --"}),
        json!({"kid": "x' UNION SELECT 'secret"}),
        json!({"kid": "a\u{0}b"}),
        json!({"kid": format!("{}\u{0}", world.kid())}),
        json!({"kid": "a\r\nx-injected: 1"}),
        json!({"kid": "{{7*7}}"}),
        json!({"kid": "k".repeat(10 * 1024)}),
        json!({"kid": ""}),
        json!({"kid": 7}),
        json!({"kid": [world.kid()]}),
        json!({"kid": world.kid().to_uppercase()}),
    ] {
        attacks.push((format!("{members:.60}"), forged(members)));
    }
    let nameless = json!({"alg": "RS256"}).to_string();
    attacks.push(("no kid".to_owned(), forge::rsa(text(&attacker, "private_pem"), &nameless, &claims)));
    // Even with the right key.
    for members in [json!({"kid": "../other"}), json!({"kid": world.ec["kid"]}), json!({"kid": 7})] {
        attacks.push((format!("rightly signed, {members}"), world.sign(&world.header(members), &claims)));
    }
    // What a header declares critical is not understood (RFC 7515, section 4.1.11).
    for members in [
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": "x"}),
        json!({"typ": "oauth-id-jag+jwt"}),
        json!({"typ": "OAuth-ID-JAG+JWT"}),
        json!({"typ": "application/oauth-id-jag+jwt"}),
    ] {
        attacks.push((format!("rightly signed, {members}"), world.sign(&world.header(members), &claims)));
    }
    let kid = json!(world.kid());
    for header in [
        format!(r#"{{"alg":"none","alg":"RS256","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","alg":"none","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","kid":"other","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","kid":{kid},"kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","\u0061lg":"RS256","kid":{kid}}}"#),
        format!(r#"[{{"alg":"RS256","kid":{kid}}}]"#),
        format!(r#"{{"alg":"RS256","kid":{kid}}} {{}}"#),
        format!(r#"{{"alg":"RS256","kid":{kid},}}"#),
        String::new(),
        "null".to_owned(),
    ] {
        attacks.push((header.clone(), world.sign(&header, &claims)));
    }
    refuses(world, attacks);
    assert_eq!(idp.count("/attacker"), 0, "nobody followed the token");
    assert_eq!(idp.count("other"), 0);
    // Two for names nobody knew, and one each five seconds.
    let (asked, most) = (idp.count("jwks"), 3 + start.elapsed().as_secs() / 5);
    assert!(asked <= most, "unknown names drive the server to its issuer: {asked} times, {most} at most");
}

#[test]
fn claims_must_be_of_this_issuer_for_this_audience_and_of_now() {
    let world = &*WORLD;
    let now = now();
    let other = |claims: Value| {
        let header = world.header(json!({"kid": world.other.keys()[0]["kid"]}));
        forge::rsa(text(&world.other.keys()[0], "private_pem"), &header, &world.claims(claims))
    };
    assert_eq!(world.other.keys()[0]["kid"], world.kid(), "the same name");
    let mut attacks = named(vec![
        ("of another issuer with the same kid", other(json!({}))),
        ("of another issuer in its own name for us", other(json!({"iss": world.other.issuer()}))),
        ("of another issuer for both", other(json!({"aud": [AUDIENCE, "aud-b"]}))),
    ]);
    let good = other(json!({"iss": world.other.issuer(), "aud": "aud-b"}));
    assert_eq!(raw::status(&send(world, &bearer(&good)).0), 200, "what is its own passes");
    let issuer = world.signed.idp.issuer();
    for claims in [
        json!({"aud": "https://elsewhere.example"}),
        json!({"aud": ["https://elsewhere.example", "aud-b"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": format!("{AUDIENCE}/")}),
        json!({"aud": AUDIENCE.to_uppercase()}),
        json!({"aud": format!("{AUDIENCE} aud-b")}),
        json!({"aud": {AUDIENCE: true}}),
        json!({"aud": [[AUDIENCE]]}),
        json!({"iss": "https://elsewhere.example"}),
        json!({"iss": null}),
        json!({"iss": format!("{issuer}/")}),
        json!({"iss": [issuer]}),
        json!({"iss": issuer.to_uppercase()}),
        json!({"iss": world.other.issuer()}),
        json!({"nbf": now + 3_600}),
        json!({"nbf": "soon"}),
        json!({"iat": now + 3_600}),
        json!({"exp": null}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": true}),
        json!({"exp": [now + 600]}),
        json!({"exp": {"at": now + 600}}),
    ] {
        attacks.push((format!("{claims:.80}"), world.sign(&world.header(json!({})), &world.claims(claims.clone()))));
    }
    let rest = format!(r#""iss":"{issuer}","aud":"{AUDIENCE}","iat":{now}"#);
    let exp = now + 600;
    for claims in [
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","sub":"root"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","\u0073ub":"root"}}"#),
        format!(r#"{{{rest},"exp":1,"exp":{exp},"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"exp":1,"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","a":{{"b":1,"b":2}}}}"#),
        format!(r#"{{{rest},"exp":1e400,"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada"}} x"#),
        format!(r#"[{{{rest},"exp":{exp},"sub":"ada"}}]"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada""#),
        format!(r#"{{{rest},"exp":{exp},"a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000)),
        String::new(),
        "null".to_owned(),
        "7".to_owned(),
    ] {
        attacks.push((format!("{claims:.160}"), world.sign(&world.header(json!({})), &claims)));
    }
    refuses(world, attacks);
    for exp in [json!(now - 3_600), json!(0), json!(-1), json!(1.5)] {
        let claims = world.claims(json!({"exp": exp}));
        let (answer, reached) = send(world, &bearer(&world.sign(&world.header(json!({})), &claims)));
        let told = answer.contains("expired_key") || answer.contains("auth_error");
        assert!(raw::status(&answer) == 401 && told && !reached, "exp {exp}: {answer}");
    }
}

#[test]
fn a_token_is_written_in_one_way() {
    let world = &*WORLD;
    let good = world.good();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signed] = parts[..] else { panic!("three parts") };
    let bob = world.sign(&world.header(json!({})), &world.claims(json!({"sub": "bob"})));
    let opaque = world.signed.idp.opaque(json!({}));
    let encoded = |text: &str| text.replace('-', "+").replace('_', "/");
    // The last letter of a part has bits that mean nothing.
    let twin = {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = LETTERS.iter().position(|letter| *letter == good.as_bytes()[good.len() - 1]).unwrap();
        format!("{}{}", &good[..good.len() - 1], char::from(LETTERS[last ^ 1]))
    };
    refuses(
        world,
        named(vec![
            ("white space within", format!("{header}.{} {}.{signed}", &claims[..8], &claims[8..])),
            ("a tab within", format!("{header}.{claims}\t.{signed}")),
            ("padding", format!("{header}=.{claims}.{signed}")),
            ("padding of the signature", format!("{good}==")),
            ("a trailing dot", format!("{good}.")),
            ("a leading dot", format!(".{good}")),
            ("four parts", format!("{good}.{signed}")),
            ("five parts", format!("{header}..{claims}.{signed}.{signed}")),
            ("two parts", format!("{header}.{claims}")),
            ("only dots", "..".to_owned()),
            ("dots of nothing", "a.b.c".to_owned()),
            (
                "the other alphabet",
                encoded(&world.sign(&world.header(json!({"x": "\u{3ff}\u{3ff}?>?>~~~"})), &world.claims(json!({})))),
            ),
            ("letters of no alphabet", format!("{header}.{claims}.{}!", &signed[..signed.len() - 1])),
            ("bits behind the last byte", twin),
            ("quotes", format!("\"{good}\"")),
            ("a list", format!("{good}, {good}")),
            ("a list of credentials", format!("{good}, Bearer {bob}")),
            ("a list that begins badly", format!("bad, Bearer {good}")),
            ("a list that ends badly", format!("{good}, Bearer bad")),
            ("a list without a space", format!("{good},{good}")),
            ("a parameter", format!("{good};a=b")),
            ("an opaque token", opaque),
        ]),
    );
}

#[test]
fn two_credentials_are_none_and_names_of_headers_have_no_case() {
    let world = &*WORLD;
    let (ada, bob) = (world.good(), world.sign(&world.header(json!({})), &world.claims(json!({"sub": "bob"}))));
    for (name, headers) in [
        ("two lines", format!("{}{}", bearer(&ada), bearer(&bob))),
        ("in two letter cases", format!("Authorization: Bearer {ada}\r\nAUTHORIZATION: Bearer {bob}\r\n")),
        ("a bad one behind a good one", format!("{}{}", bearer(&ada), bearer("bad"))),
        ("a good one behind a bad one", format!("{}{}", bearer("bad"), bearer(&ada))),
        ("a folded line", format!("authorization: Bearer {ada}\r\n {bob}\r\n")),
        ("a space before the colon", format!("authorization : Bearer {ada}\r\n")),
        ("NUL", format!("authorization: Bearer {ada}\0\r\n")),
    ] {
        let (answer, reached) = send(world, &headers);
        assert!(matches!(raw::status(&answer), 400 | 401) && !reached, "{name}: {answer}");
        assert!(!answer.contains(&ada) && !answer.contains(&bob), "{name}");
    }
    for name in ["authorization", "Authorization", "AUTHORIZATION", "aUTHORIZATION"] {
        let (answer, reached) = send(world, &format!("{name}: Bearer {ada}\r\n"));
        assert!(raw::status(&answer) == 200 && reached, "{name}: {answer}");
    }
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
