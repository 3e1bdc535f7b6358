//! Tokens as attackers write them, and as providers do.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::authn::jwt::testing::{Signer, encode, jwks};
use crate::authn::jwt::{Found, KeySet};

fn with_header(header: &str) -> String {
    format!("{}.{}.{}", encode(header), encode("{}"), encode("signature"))
}

fn only_key(signer: &Signer) -> std::sync::Arc<PublicKey> {
    KeySet::parse(jwks([signer]).as_bytes()).unwrap().keys()[0].clone()
}

#[test]
fn headers_that_are_refused() {
    let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(MAX_KID + 1));
    let huge = format!(r#"{{"alg":"RS256","x5c":"{}"}}"#, "c".repeat(MAX_HEADER));
    let deep = format!(r#"{{"alg":"RS256","x":{}{}}}"#, "[".repeat(40), "]".repeat(40));
    let cases = [
        (r#"{"alg":"none"}"#, TokenError::Algorithm),
        (r#"{"alg":"None"}"#, TokenError::Algorithm),
        (r#"{"alg":"NONE"}"#, TokenError::Algorithm),
        (r#"{"alg":"nOnE"}"#, TokenError::Algorithm),
        (r#"{"alg":""}"#, TokenError::Algorithm),
        (r#"{"alg":null}"#, TokenError::Algorithm),
        (r#"{"alg":["RS256"]}"#, TokenError::Algorithm),
        (r#"{"alg":"HS256"}"#, TokenError::Algorithm),
        (r#"{"alg":"HS384"}"#, TokenError::Algorithm),
        (r#"{"alg":"HS512"}"#, TokenError::Algorithm),
        (r#"{"alg":"rs256"}"#, TokenError::Algorithm),
        (r#"{"alg":"RS256 "}"#, TokenError::Algorithm),
        (r#"{"alg":"RS1"}"#, TokenError::Algorithm),
        (r#"{"alg":"ES256K"}"#, TokenError::Algorithm),
        (r#"{"alg":"Ed448"}"#, TokenError::Algorithm),
        (r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#, TokenError::Algorithm),
        (r#"{"kid":"a"}"#, TokenError::Algorithm),
        (r#"{"alg":"RS256","alg":"none"}"#, TokenError::Header),
        (r#"{"alg":"none","alg":"RS256"}"#, TokenError::Header),
        (r#"{"alg":"RS256","kid":"a","kid":"b"}"#, TokenError::Header),
        (r#"{"alg":"RS256","\u0061lg":"none"}"#, TokenError::Header),
        (r#"{"alg":"RS256","typ":7}"#, TokenError::Header),
        (&deep, TokenError::Header),
        ("[]", TokenError::Header),
        ("not json", TokenError::Header),
        (r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, TokenError::Critical),
        (r#"{"alg":"RS256","crit":[]}"#, TokenError::Critical),
        (r#"{"alg":"RS256","crit":null}"#, TokenError::Critical),
        (r#"{"alg":"RS256","b64":false}"#, TokenError::Critical),
        (r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#, TokenError::Critical),
        (r#"{"alg":"RS256","kid":7}"#, TokenError::Kid),
        (r#"{"alg":"RS256","kid":["a"]}"#, TokenError::Kid),
        (r#"{"alg":"RS256","kid":null}"#, TokenError::Kid),
        (&long, TokenError::Kid),
        (&huge, TokenError::TooLong),
        (r#"{"alg":"RS256","typ":"oauth-id-jag+jwt"}"#, TokenError::Grant),
        (r#"{"alg":"RS256","typ":"application/OAuth-ID-JAG+JWT"}"#, TokenError::Grant),
    ];
    for (header, expected) in cases {
        assert_eq!(Token::read(&with_header(header)).unwrap_err(), expected, "{header}");
    }
}

#[test]
fn texts_that_are_no_three_parts_of_base64url() {
    let header = encode(r#"{"alg":"RS256"}"#);
    let (padded, claims) = ("eyJhbGciOiJSUzI1NiIgfQ==", encode("{}"));
    let long = format!("{header}.{}.c2ln", "A".repeat(1024 * 1024));
    let cases = [
        (String::new(), TokenError::Parts),
        ("..".to_owned(), TokenError::Parts),
        (header.clone(), TokenError::Parts),
        (format!("{header}.{claims}"), TokenError::Parts),
        (format!("{header}.{claims}."), TokenError::Parts),
        (format!(".{claims}.c2ln"), TokenError::Parts),
        (format!("{header}..c2ln"), TokenError::Parts),
        (format!("{header}.{claims}.c2ln.c2ln"), TokenError::Parts),
        (format!("{header}.{claims}.c2ln.c2ln.c2ln"), TokenError::Parts),
        (format!("{padded}.{claims}.c2ln"), TokenError::Encoding),
        (format!("{header}.{claims}.c2k="), TokenError::Encoding),
        // The last two bits of the last character are not used, and must be zero.
        (format!("{header}.{claims}.c2l"), TokenError::Encoding),
        (format!("{header}.{claims}.c"), TokenError::Encoding),
        (format!("{header}.{claims}.a+b/"), TokenError::Encoding),
        (format!("{header}.{claims}.c2 n"), TokenError::Encoding),
        (format!("{header}.{claims}.c2ln\n"), TokenError::Encoding),
        (format!(" {header}.{claims}.c2ln"), TokenError::Encoding),
        (format!("{header}.{claims}.ç2ln"), TokenError::Encoding),
        (long, TokenError::TooLong),
    ];
    for (text, expected) in cases {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(Token::read(&text).unwrap_err(), expected, "{shown}");
    }
}

#[test]
fn a_token_is_three_parts_to_the_eye() {
    let cases = [
        ("a.b.c", true),
        ("sk-1234", false),
        ("a.b", false),
        ("a.b.c.d", false),
        ("a..c", false),
        (".b.c", false),
        ("a.b.", false),
        ("", false),
        ("..", false),
    ];
    for (text, expected) in cases {
        assert_eq!(is_jwt_shaped(text), expected, "{text}");
    }
}

#[test]
fn claims_with_a_name_twice_are_refused() {
    for claims in [r#"{"sub":"a","sub":"b"}"#, r#"{"x":{"iss":"a","iss":"b"}}"#, "[]", "null", "{}{}", ""] {
        let text = format!("{}.{}.{}", encode(r#"{"alg":"RS256"}"#), encode(claims), encode("s"));
        if claims.is_empty() {
            assert_eq!(Token::read(&text).unwrap_err(), TokenError::Parts);
            continue;
        }
        let token = Token::read(&text).unwrap();
        assert_eq!(token.claims().unwrap_err(), TokenError::Claims, "{claims}");
        assert_eq!(token.unverified_issuer().unwrap_err(), TokenError::Claims, "{claims}");
        assert_eq!(token.into_claims().unwrap_err(), TokenError::Claims, "{claims}");
    }
}

#[test]
fn what_a_header_says_of_keys_is_compared_and_never_followed() {
    let kids = [
        "../../etc/passwd",
        "/dev/null",
        "https://evil.example.com/key",
        "a\u{0}b\r\nc",
        "' OR 1=1 --",
        "{kid}",
        "",
        "é€𝄞",
    ];
    let signer = Signer::new(Algorithm::Es256, "known");
    let stranger = Signer::new(Algorithm::Es256, "known");
    let set = KeySet::parse(jwks([&signer]).as_bytes()).unwrap();
    for kid in kids {
        let header = json!({
            "alg": "ES256", "kid": kid, "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/",
            "jwk": stranger.jwk(), "x5c": ["AAAA"],
        });
        let text = stranger.token_with(&header, &json!({"iss": "i"}));
        let token = Token::read(&text).unwrap();
        assert_eq!(token.kid(), Some(kid));
        assert!(matches!(set.find(token.kid(), token.algorithm()), Found::UnknownKid), "{kid}");
        assert!(!token.is_signed_by(&set.keys()[0]), "{kid}");
    }
}

#[test]
fn a_token_of_every_algorithm_is_verified_by_its_key_and_by_no_other() {
    let signers = Algorithm::ALL.map(|algorithm| Signer::new(algorithm, algorithm.name()));
    let set = KeySet::parse(jwks(&signers).as_bytes()).unwrap();
    assert_eq!((set.keys().len(), set.skipped()), (10, 0));
    for signer in &signers {
        let text = signer.token(&json!({"iss": "https://id.example.com", "sub": "a"}));
        let token = Token::read(&text).unwrap();
        let Found::Key(key) = set.find(token.kid(), token.algorithm()) else { panic!("{}", signer.algorithm) };
        assert!(token.is_signed_by(key), "{}", signer.algorithm);
        for other in set.keys().iter().filter(|other| other.fingerprint() != key.fingerprint()) {
            assert!(!token.is_signed_by(other), "{} by {:?}", signer.algorithm, other.kid());
        }
        assert_eq!(token.unverified_issuer().unwrap(), Some("https://id.example.com"));
        assert_eq!(token.into_claims().unwrap()["sub"], "a");
    }
}

#[test]
fn one_changed_bit_anywhere_breaks_a_token() {
    let signer = Signer::new(Algorithm::EdDsa, "k");
    let key = only_key(&signer);
    let text = signer.token(&json!({"sub": "a"}));
    assert!(Token::read(&text).unwrap().is_signed_by(&key));
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        if changed != text && Token::read(&changed).is_ok_and(|token| token.is_signed_by(&key)) {
            panic!("byte {at} may be anything");
        }
    }
}

#[test]
fn the_public_key_is_no_secret_to_sign_with() {
    let signer = Signer::new(Algorithm::Rs256, "k");
    for secret in [signer.pem(), signer.jwk().to_string(), jwks([&signer])] {
        let signed = format!("{}.{}", encode(r#"{"alg":"HS256","kid":"k"}"#), encode(r#"{"sub":"admin"}"#));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let text = format!("{signed}.{}", encode(tag));
        assert_eq!(Token::read(&text).unwrap_err(), TokenError::Algorithm);
        // The same signature under an algorithm that is known.
        let renamed = format!("{}.{}.{}", encode(r#"{"alg":"RS256","kid":"k"}"#), encode("{}"), encode(tag));
        assert!(!Token::read(&renamed).unwrap().is_signed_by(&only_key(&signer)));
    }
}

#[test]
fn padding_is_read_where_it_was_asked_for() {
    let signer = Signer::new(Algorithm::Es256, "k");
    let pad = |text: String| format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4));
    // Both parts end in padding.
    let (header, claims) = (json!({"alg": "ES256", "kid": "k", "signer": "arn"}), json!({"sub": "ab"}));
    let signed = format!("{}.{}", pad(encode(header.to_string())), pad(encode(claims.to_string())));
    assert!(signed.contains("=."), "{signed}");
    let signature = signer.sign(Algorithm::Es256, signed.as_bytes());
    let text = format!("{signed}.{}", pad(encode(signature)));
    assert_eq!(Token::read(&text).unwrap_err(), TokenError::Encoding);
    let token = Token::read_padded(&text).unwrap();
    assert!(token.is_signed_by(&only_key(&signer)));
    assert_eq!(token.header()["signer"], "arn");
    assert_eq!(token.claims().unwrap()["sub"], "ab");
}

#[test]
fn the_example_of_rfc_8037_is_verified() {
    let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let set = KeySet::parse(jwk).unwrap();
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let text = format!("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.{signature}");
    let token = Token::read(&text).unwrap();
    let Found::Key(key) = set.find(token.kid(), token.algorithm()) else { panic!("no key") };
    assert!(token.is_signed_by(key));
    assert_eq!(token.claims().unwrap_err(), TokenError::Claims, "its payload is a sentence");
}

#[test]
fn the_example_of_rfc_7515_for_es256_is_verified() {
    let jwk = br#"{"kty":"EC","crv":"P-256",
        "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let set = KeySet::parse(jwk).unwrap();
    let text = concat!(
        "eyJhbGciOiJFUzI1NiJ9",
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    );
    let token = Token::read(text).unwrap();
    assert!(token.is_signed_by(&set.keys()[0]));
    assert_eq!(token.unverified_issuer().unwrap(), Some("joe"));
}

#[test]
fn nothing_of_a_token_is_shown() {
    let text = with_header(r#"{"alg":"RS256","kid":"hidden"}"#);
    assert_eq!(format!("{:?}", Token::read(&text).unwrap()), "Token(RS256)");
}
