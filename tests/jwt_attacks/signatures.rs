//! Signatures by nobody, by public keys, of another kind and for other claims.

use aws_lc_rs::hmac::{HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::support::{Value, json, raw};
use super::{WORLD, forge, named, refuses, text};

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
