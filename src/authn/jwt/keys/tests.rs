//! Key sets in all their forms, and which key a token finds.

#![allow(clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::authn::jwt::testing::{Signer, encode, jwks};

fn set(document: &Value) -> KeySet {
    KeySet::parse(document.to_string().as_bytes()).unwrap()
}

fn refused(document: &Value) -> KeySetError {
    KeySet::parse(document.to_string().as_bytes()).unwrap_err()
}

/// The JWK with some members changed; `null` takes one away.
fn changed(mut jwk: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
            value => jwk[name] = value.clone(),
        }
    }
    jwk
}

fn is_key(found: Found<'_>, expected: &str) -> bool {
    matches!(found, Found::Key(key) if key.kid() == Some(expected))
}

#[test]
fn keys_that_cannot_verify_a_token_are_left_out_and_counted() {
    let (rsa, ec) = (Signer::new(Algorithm::Rs256, "r").jwk(), Signer::new(Algorithm::Es256, "e").jwk());
    let ed = Signer::new(Algorithm::EdDsa, "o").jwk();
    let bytes = |jwk: &Value, name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let n = bytes(&rsa, "n");
    let wide = [vec![0xff; 1024], vec![0xff]].concat();
    let mut off_curve = bytes(&ec, "y");
    off_curve[31] ^= 1;
    let cases = [
        ("encryption", changed(rsa.clone(), &json!({"use": "enc"}))),
        ("operations", changed(rsa.clone(), &json!({"key_ops": ["sign"]}))),
        ("operations of another kind", changed(rsa.clone(), &json!({"key_ops": "verify"}))),
        ("private", changed(ed.clone(), &json!({"d": "AAAA"}))),
        ("symmetric", json!({"kty": "oct", "k": "AAAA", "alg": "HS256"})),
        ("HMAC with RSA", changed(rsa.clone(), &json!({"alg": "HS256"}))),
        ("encryption algorithm", changed(rsa.clone(), &json!({"alg": "RSA-OAEP"}))),
        ("alg of another kind", changed(rsa.clone(), &json!({"alg": "ES256"}))),
        ("alg of another curve", changed(ec.clone(), &json!({"alg": "ES384"}))),
        ("1024 bits", changed(rsa.clone(), &json!({"n": encode(&n[..128])}))),
        ("2040 bits and zeros before", changed(rsa.clone(), &json!({"n": encode([&[0], &n[..255]].concat())}))),
        ("8200 bits", changed(rsa.clone(), &json!({"n": encode(wide)}))),
        ("even modulus", changed(rsa.clone(), &json!({"n": encode([&n[..255], &[2]].concat())}))),
        ("exponent 1", changed(rsa.clone(), &json!({"e": "AQ"}))),
        ("exponent 0", changed(rsa.clone(), &json!({"e": "AA"}))),
        ("even exponent", changed(rsa.clone(), &json!({"e": "AQAA"}))),
        ("wide exponent", changed(rsa.clone(), &json!({"e": encode([3, 0, 0, 0, 1])}))),
        ("no exponent", changed(rsa.clone(), &json!({"e": null}))),
        ("padded", changed(rsa.clone(), &json!({"e": "AQAB="}))),
        ("kid of another kind", changed(rsa, &json!({"kid": 7}))),
        ("off the curve", changed(ec.clone(), &json!({"y": encode(off_curve)}))),
        ("short coordinate", changed(ec.clone(), &json!({"x": encode(&bytes(&ec, "x")[..31])}))),
        ("curve of another length", changed(ec.clone(), &json!({"crv": "P-384"}))),
        ("secp256k1", changed(ec.clone(), &json!({"crv": "secp256k1"}))),
        ("no curve", changed(ec, &json!({"crv": null}))),
        ("short Ed25519", changed(ed.clone(), &json!({"x": encode([1; 31])}))),
        ("X25519", changed(ed.clone(), &json!({"crv": "X25519"}))),
        ("no kind", changed(ed.clone(), &json!({"kty": null}))),
        ("no key", json!("text")),
    ];
    for (what, jwk) in cases {
        let read = set(&json!({"keys": [jwk, ed]}));
        assert_eq!((read.keys().len(), read.skipped()), (1, 1), "{what}");
        assert_eq!(refused(&json!({"keys": [jwk]})), KeySetError::NoKeys, "{what}");
    }
}

#[test]
fn documents_that_are_no_key_sets() {
    let cases: [(&[u8], KeySetError); 12] = [
        (b"", KeySetError::NoKeys),
        (b"<html>502</html>", KeySetError::NoKeys),
        (b"[]", KeySetError::NoKeys),
        (b"{}", KeySetError::NoKeys),
        (br#"{"keys": []}"#, KeySetError::NoKeys),
        (br#"{"keys": {}}"#, KeySetError::Unreadable),
        (br#"{"keys": null}"#, KeySetError::Unreadable),
        (br#"{"keys": [], "keys": []}"#, KeySetError::Unreadable),
        (br#"{"keys": ["#, KeySetError::Unreadable),
        (br#"{"issuer": "https://id.example.com", "jwks_uri": "https://id.example.com/jwks"}"#, KeySetError::NoKeys),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", KeySetError::NoKeys),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n", KeySetError::NoKeys),
    ];
    for (document, expected) in cases {
        let shown = String::from_utf8_lossy(document);
        assert_eq!(KeySet::parse(document).unwrap_err(), expected, "{shown}");
    }
}

#[test]
fn a_set_has_an_end() {
    let ed = Signer::new(Algorithm::EdDsa, "o").jwk();
    let many = |count: usize| json!({"keys": vec![json!({"kty": "oct"}); count].into_iter().chain([ed.clone()]).collect::<Vec<_>>()});
    assert_eq!(set(&many(MAX_KEYS - 1)).skipped(), MAX_KEYS - 1);
    assert_eq!(refused(&many(MAX_KEYS)), KeySetError::TooMany);
}

#[test]
fn a_bare_key_and_a_map_of_pem_are_sets_too() {
    let (rsa, ec) = (Signer::new(Algorithm::Rs256, "r"), Signer::new(Algorithm::Es256, "e"));
    assert!(is_key(set(&rsa.jwk()).find(Some("r"), Algorithm::Ps384), "r"));

    let map = set(&json!({"one": rsa.pem(), "two": ec.pem(), "other": "text", "more": 7}));
    assert_eq!((map.keys().len(), map.skipped()), (2, 1));
    assert!(is_key(map.find(Some("one"), Algorithm::Rs256), "one"));
    assert!(is_key(map.find(Some("two"), Algorithm::Es256), "two"));
    assert!(map.contains_kid("two") && !map.contains_kid("r"));
}

#[test]
fn pem_holds_keys_and_certificates_of_every_kind() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "k");
        let read = KeySet::parse(format!("a comment\n{}", signer.pem()).as_bytes()).unwrap();
        let signature = signer.sign(algorithm, b"message");
        assert!(read.keys()[0].verify(algorithm, b"message", &signature), "{algorithm}");
        assert!(!read.keys()[0].verify(algorithm, b"massage", &signature), "{algorithm}");
        assert_eq!(read.keys()[0].kid(), None);
        let named = KeySet::parse_named(signer.pem().as_bytes(), "asked").unwrap();
        assert!(is_key(named.find(Some("asked"), algorithm), "asked"), "{algorithm}");
    }
    let kinds = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::Es256),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Algorithm::Es384),
        (&rcgen::PKCS_ED25519, Algorithm::EdDsa),
    ];
    let mut both = String::new();
    for (kind, algorithm) in kinds {
        let pair = KeyPair::generate_for(kind).unwrap();
        let certificate =
            CertificateParams::new(vec!["id.example.com".to_owned()]).unwrap().self_signed(&pair).unwrap();
        let read = KeySet::parse(certificate.pem().as_bytes()).unwrap();
        assert!(matches!(read.find(Some("any"), algorithm), Found::Key(_)), "{algorithm}");
        let same = KeySet::parse(pair.public_key_pem().as_bytes()).unwrap();
        assert_eq!(read.keys()[0].fingerprint(), same.keys()[0].fingerprint());
        both.push_str(&certificate.pem());
        both.push_str(&pair.serialize_pem());
    }
    let read = KeySet::parse(both.as_bytes()).unwrap();
    assert_eq!((read.keys().len(), read.skipped()), (3, 3), "private keys are not used");
}

#[test]
fn a_token_finds_its_key_by_name_and_algorithm() {
    let signers = [(Algorithm::Rs256, "a"), (Algorithm::Rs256, "b"), (Algorithm::Es256, "a"), (Algorithm::Es384, "c")];
    let [rsa_a, rsa_b, ec_a, ec_c] = signers.map(|(algorithm, kid)| Signer::new(algorithm, kid).jwk());
    let nameless = changed(rsa_a.clone(), &json!({"kid": null}));
    let bound = changed(rsa_b.clone(), &json!({"alg": "PS256"}));
    let several = set(&json!({"keys": [rsa_a, rsa_b, ec_a, ec_c]}));
    let one = set(&json!({"keys": [rsa_a]}));
    let unnamed = set(&json!({"keys": [nameless]}));
    let unnamed_and_other = set(&json!({"keys": [nameless, rsa_b]}));
    let binding = set(&json!({"keys": [rsa_a, bound]}));
    let twice = set(&json!({"keys": [rsa_a, changed(rsa_b, &json!({"kid": "a"}))]}));
    let same = set(&json!({"keys": [rsa_a, rsa_a]}));

    let told = |found: Found<'_>| match found {
        Found::Key(key) => format!("key {}", key.kid().unwrap_or("-")),
        Found::UnknownKid => "unknown".to_owned(),
        Found::Unfit => "unfit".to_owned(),
        Found::Ambiguous => "ambiguous".to_owned(),
    };
    let cases = [
        ("several, exact", &several, Some("b"), Algorithm::Rs256, "key b"),
        ("several, one name and two kinds", &several, Some("a"), Algorithm::Es256, "key a"),
        ("several, another name", &several, Some("x"), Algorithm::Rs256, "unknown"),
        ("several, no name", &several, None, Algorithm::Rs256, "ambiguous"),
        ("several, no name and one that fits", &several, None, Algorithm::Es384, "key c"),
        ("several, of another kind", &several, Some("c"), Algorithm::Es256, "unfit"),
        ("several, none of the kind", &several, None, Algorithm::EdDsa, "unfit"),
        ("one, exact", &one, Some("a"), Algorithm::Ps512, "key a"),
        ("one, no name", &one, None, Algorithm::Rs256, "key a"),
        ("one, another name", &one, Some("x"), Algorithm::Rs256, "unknown"),
        ("one, another name and kind", &one, Some("x"), Algorithm::Es256, "unknown"),
        ("one without a name", &unnamed, Some("x"), Algorithm::Rs256, "key -"),
        ("one without a name, no name", &unnamed, None, Algorithm::Rs256, "key -"),
        ("one without a name among others", &unnamed_and_other, Some("x"), Algorithm::Rs256, "unknown"),
        ("bound to its algorithm", &binding, Some("b"), Algorithm::Ps256, "key b"),
        ("bound to another", &binding, Some("b"), Algorithm::Rs256, "unfit"),
        ("two of one name and kind", &twice, Some("a"), Algorithm::Rs256, "ambiguous"),
        ("one key twice", &same, Some("a"), Algorithm::Rs256, "key a"),
    ];
    for (what, set, kid, algorithm, expected) in cases {
        assert_eq!(told(set.find(kid, algorithm)), expected, "{what}");
    }
}

#[test]
fn a_fingerprint_is_of_the_key_its_name_and_its_algorithm() {
    let jwk = Signer::new(Algorithm::Rs256, "a").jwk();
    let of = |jwk: &Value| set(jwk).keys()[0].fingerprint();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    let zeros = changed(jwk.clone(), &json!({"n": encode([vec![0, 0], n].concat())}));
    assert_eq!(of(&jwk), of(&zeros), "zeros before a number do not count");
    let others = [
        changed(jwk.clone(), &json!({"kid": "b"})),
        changed(jwk.clone(), &json!({"kid": ""})),
        changed(jwk.clone(), &json!({"kid": null})),
        changed(jwk.clone(), &json!({"alg": "RS256"})),
        Signer::new(Algorithm::Rs256, "a").jwk(),
    ];
    let mut seen: Vec<Fingerprint> = others.iter().map(of).collect();
    seen.push(of(&jwk));
    for (at, one) in seen.iter().enumerate() {
        assert!(!seen[..at].contains(one), "{at}");
    }
    assert!(set(&jwk).contains(of(&jwk)) && !set(&others[0]).contains(of(&jwk)));
}

#[test]
fn signatures_in_other_forms_are_refused() {
    let signer = Signer::new(Algorithm::Es256, "k");
    let key = set(&signer.jwk()).keys()[0].clone();
    let good = signer.sign(Algorithm::Es256, b"message");
    assert!(key.verify(Algorithm::Es256, b"message", &good));
    let (r, s) = good.split_at(32);
    let (mut integers, mut der) = (Vec::new(), Vec::new());
    for number in [r, s] {
        let sign: &[u8] = if number[0] & 0x80 != 0 { &[0] } else { &[] };
        der::write(der::INTEGER, &[sign, number], &mut integers).unwrap();
    }
    der::write(der::SEQUENCE, &[&integers], &mut der).unwrap();
    let cases: [(&str, Vec<u8>); 8] = [
        ("DER", der),
        ("nothing", Vec::new()),
        ("r and s zero", vec![0; 64]),
        ("r zero", [&[0; 32], s].concat()),
        ("s zero", [r, &[0; 32]].concat()),
        ("one byte short", good[..63].to_vec()),
        ("one byte long", [&good[..], &[0]].concat()),
        ("of another length", [&[0; 16], r, &[0; 16], s].concat()),
    ];
    for (what, signature) in cases {
        assert!(!key.verify(Algorithm::Es256, b"message", &signature), "{what}");
    }
    let ed = Signer::new(Algorithm::EdDsa, "k");
    let (key, good) = (set(&ed.jwk()).keys()[0].clone(), ed.sign(Algorithm::EdDsa, b"message"));
    assert!(key.verify(Algorithm::EdDsa, b"message", &good));
    for length in [0, 32, 63] {
        assert!(!key.verify(Algorithm::EdDsa, b"message", &good[..length]), "{length}");
    }
    assert!(!key.verify(Algorithm::EdDsa, b"message", &[&good[..], &[0]].concat()));
}

#[test]
fn a_signature_counts_under_its_own_algorithm_only() {
    let signer = Signer::new(Algorithm::Rs256, "k");
    let key = set(&signer.jwk()).keys()[0].clone();
    let rsa = &Algorithm::ALL[..6];
    for made_by in rsa {
        let signature = signer.sign(*made_by, b"message");
        for read_as in Algorithm::ALL {
            assert_eq!(key.verify(read_as, b"message", &signature), read_as == *made_by, "{made_by} as {read_as}");
        }
    }
}

#[test]
fn debug_shows_names_and_no_material() {
    let read = KeySet::parse(jwks([&Signer::new(Algorithm::EdDsa, "k")]).as_bytes()).unwrap();
    assert_eq!(format!("{:?}", read.keys()[0]), r#"PublicKey { kid: Some("k"), bound: None, .. }"#);
}
