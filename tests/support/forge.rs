//! Tokens made by hand: any header and any payload, signed with any key in any way.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, RsaKeyPair};
use aws_lc_rs::{hmac, signature::RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// Header and payload as they are signed.
pub fn input(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// The three parts.
pub fn with_signature(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Signed with an RSA key (PKCS#8, PEM) under PKCS #1 v1.5 and SHA-256, whatever the header says.
pub fn rsa(private_pem: &str, header: &str, payload: &str) -> String {
    rsa_as(&signature::RSA_PKCS1_SHA256, private_pem, header, payload)
}

/// The same under PSS.
pub fn pss(private_pem: &str, header: &str, payload: &str) -> String {
    rsa_as(&signature::RSA_PSS_SHA256, private_pem, header, payload)
}

fn rsa_as(encoding: &'static dyn RsaEncoding, private_pem: &str, header: &str, payload: &str) -> String {
    let key = RsaKeyPair::from_pkcs8(&der(private_pem)).expect("an RSA key");
    let (input, mut signed) = (input(header, payload), vec![0; key.public_modulus_len()]);
    key.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signed).expect("it signs");
    with_signature(&input, &signed)
}

/// Signed with a key on P-256 and SHA-256.
pub fn p256(private_pem: &str, header: &str, payload: &str) -> String {
    let input = input(header, payload);
    with_signature(&input, &p256_signature(private_pem, &input))
}

/// The signature of such a key over any text.
pub fn p256_signature(private_pem: &str, text: &str) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der(private_pem));
    key.expect("an EC key").sign(&SystemRandom::new(), text.as_bytes()).expect("it signs").as_ref().to_vec()
}

/// With a code of this secret.
pub fn hmac(algorithm: hmac::Algorithm, secret: &[u8], header: &str, payload: &str) -> String {
    let input = input(header, payload);
    with_signature(&input, hmac::sign(&hmac::Key::new(algorithm, secret), input.as_bytes()).as_ref())
}

/// What a PEM text holds.
pub fn der(pem: &str) -> Vec<u8> {
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(base64).expect("PEM")
}
