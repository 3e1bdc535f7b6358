//! Client assertions (RFC 7523, section 3): JWTs of a minute, each with a random name, that prove the gate has a key.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::failure::Failure;
use super::options::{Options, told};
use crate::config::OAuthAlgorithm;
use crate::domain::Timestamp;

/// How long an assertion is good, in seconds: for one request, and clocks that differ.
const LIFETIME: i64 = 60;

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub(super) struct Signer {
    pair: Pair,
    algorithm: OAuthAlgorithm,
    key_id: Option<String>,
    audience: String,
    random: SystemRandom,
}

impl Signer {
    /// The key of the configuration, with the algorithm that is set or that its kind has.
    pub fn new(options: &Options) -> Result<Signer, String> {
        let pem = options.client_key.0.expose().as_bytes();
        let key = PrivateKeyDer::from_pem_slice(pem)
            .map_err(|_| told("oauth_client_key", "this is no private key in PEM"))?;
        let (pair, allowed) = read(&key).ok_or_else(|| {
            told("oauth_client_key", "the key must be RSA of 2048 bits or more, P-256, P-384 or Ed25519")
        })?;
        let algorithm = match (options.client_algorithm, allowed) {
            (None, [first, ..]) => *first,
            (Some(algorithm), allowed) if allowed.contains(&algorithm) => algorithm,
            _ => return Err(told("oauth_client_algorithm", "the key is not for this algorithm")),
        };
        let audience = options.issuer.clone().unwrap_or_else(|| options.endpoint.as_str().to_owned());
        let key_id = options.client_key_id.clone();
        Ok(Signer { pair, algorithm, key_id, audience, random: SystemRandom::new() })
    }

    /// An assertion that this client asks.
    pub fn assertion(&self, client_id: &str, now: Timestamp) -> Result<String, Failure> {
        let mut name = [0; 16];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| Failure::Signing)?;
        let mut header = json!({"alg": self.algorithm.as_str(), "typ": "JWT"});
        if let Some(id) = &self.key_id {
            header["kid"] = json!(id);
        }
        let at = now.as_millis() / 1_000;
        let claims = json!({
            "iss": client_id, "sub": client_id, "aud": self.audience, "jti": URL_SAFE_NO_PAD.encode(name),
            "iat": at, "exp": at + LIFETIME,
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let mut assertion = format!("{header}.{claims}");
        let signature = self.sign(assertion.as_bytes()).map_err(|_| Failure::Signing)?;
        assertion.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut assertion);
        Ok(assertion)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn lc::RsaEncoding = match self.algorithm {
                    OAuthAlgorithm::PS256 => &lc::RSA_PSS_SHA256,
                    _ => &lc::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &self.random, message, &mut signature)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&self.random, message)?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// The key and its algorithms, the usual one first.
fn read(key: &PrivateKeyDer<'_>) -> Option<(Pair, &'static [OAuthAlgorithm])> {
    use OAuthAlgorithm::{ES256, ES384, EdDSA, PS256, RS256};
    let (p256, p384) = (&lc::ECDSA_P256_SHA256_FIXED_SIGNING, &lc::ECDSA_P384_SHA384_FIXED_SIGNING);
    let rsa = |pair: RsaKeyPair| Some(pair).filter(|pair| pair.public_modulus_len() >= 256).map(Pair::Rsa);
    match key {
        PrivateKeyDer::Pkcs1(der) => {
            rsa(RsaKeyPair::from_der(der.secret_pkcs1_der()).ok()?).map(|pair| (pair, [RS256, PS256].as_slice()))
        }
        PrivateKeyDer::Sec1(der) => {
            let der = der.secret_sec1_der();
            let of = |algorithm| EcdsaKeyPair::from_private_key_der(algorithm, der).map(Pair::Ec).ok();
            of(p256).map(|pair| (pair, [ES256].as_slice())).or_else(|| of(p384).map(|pair| (pair, [ES384].as_slice())))
        }
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            let ec = |algorithm| EcdsaKeyPair::from_pkcs8(algorithm, der).map(Pair::Ec).ok();
            let rsa = RsaKeyPair::from_pkcs8(der).ok().and_then(rsa).map(|pair| (pair, [RS256, PS256].as_slice()));
            rsa.or_else(|| ec(p256).map(|pair| (pair, [ES256].as_slice())))
                .or_else(|| ec(p384).map(|pair| (pair, [ES384].as_slice())))
                .or_else(|| Ed25519KeyPair::from_pkcs8(der).ok().map(|pair| (Pair::Ed(pair), [EdDSA].as_slice())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair, UnparsedPublicKey, VerificationAlgorithm};
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn signer(key: &str, algorithm: Option<&str>) -> Result<Signer, String> {
        let general = serde_json::from_value(json!({
            "oauth_token_info_endpoint": "https://id.example.com/introspect", "oauth_client_id": "gate",
            "oauth_client_key": key, "oauth_client_key_id": "k1", "oauth_client_algorithm": algorithm,
        }));
        Signer::new(&Options::of(&general.unwrap())?)
    }

    fn part(text: &str) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn keys_of_every_kind_sign_as_they_should_and_never_the_same_twice() {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        // The key itself stands behind 26 bytes that say that it is one of RSA.
        let pkcs1 = pem("RSA PRIVATE KEY", &pkcs8.as_ref()[26..]);
        let rsa_pem = pem("PRIVATE KEY", pkcs8.as_ref());
        let rsa_public = rsa.public_key().as_ref().to_vec();

        let ec = |algorithm| {
            let pair = EcdsaKeyPair::generate(algorithm).unwrap();
            let sec1 = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&pair.private_key()).unwrap();
            let pkcs8 = pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref());
            (pem("EC PRIVATE KEY", sec1.as_ref()), pkcs8, pair.public_key().as_ref().to_vec())
        };
        let (p256_sec1, p256, p256_public) = ec(&lc::ECDSA_P256_SHA256_FIXED_SIGNING);
        let (p384_sec1, p384, p384_public) = ec(&lc::ECDSA_P384_SHA384_FIXED_SIGNING);
        let ed = Ed25519KeyPair::generate().unwrap();
        let (ed_pem, ed_public) =
            (pem("PRIVATE KEY", ed.to_pkcs8v1().unwrap().as_ref()), ed.public_key().as_ref().to_vec());

        let cases: [(&str, Option<&str>, &str, &'static dyn VerificationAlgorithm, &[u8]); 8] = [
            (&rsa_pem, None, "RS256", &lc::RSA_PKCS1_2048_8192_SHA256, &rsa_public),
            (&rsa_pem, Some("PS256"), "PS256", &lc::RSA_PSS_2048_8192_SHA256, &rsa_public),
            (&pkcs1, Some("RS256"), "RS256", &lc::RSA_PKCS1_2048_8192_SHA256, &rsa_public),
            (&p256, None, "ES256", &lc::ECDSA_P256_SHA256_FIXED, &p256_public),
            (&p256_sec1, Some("ES256"), "ES256", &lc::ECDSA_P256_SHA256_FIXED, &p256_public),
            (&p384, None, "ES384", &lc::ECDSA_P384_SHA384_FIXED, &p384_public),
            (&p384_sec1, None, "ES384", &lc::ECDSA_P384_SHA384_FIXED, &p384_public),
            (&ed_pem, None, "EdDSA", &lc::ED25519, &ed_public),
        ];
        for (key, algorithm, name, verification, public) in cases {
            let signer = signer(key, algorithm).unwrap();
            let sign = || signer.assertion("gate", Timestamp::millis(1_500)).unwrap();
            let (one, other) = (sign(), sign());
            let (signed, signature) = one.rsplit_once('.').unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            assert_eq!(part(header), json!({"alg": name, "typ": "JWT", "kid": "k1"}));
            let mut claims = part(claims);
            let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
            let url = "https://id.example.com/introspect";
            assert_eq!(claims, json!({"iss": "gate", "sub": "gate", "aud": url, "iat": 1, "exp": 61}));
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let is_good = UnparsedPublicKey::new(verification, public).verify(signed.as_bytes(), &signature);
            assert!(is_good.is_ok(), "{name}");
            assert_ne!(part(other.split('.').nth(1).unwrap())["jti"], jti);
        }
        for (key, algorithm) in [(&p256, "ES384"), (&p384, "ES256"), (&ed_pem, "RS256"), (&rsa_pem, "EdDSA")] {
            assert!(signer(key, Some(algorithm)).is_err(), "{algorithm}");
        }
    }
}
