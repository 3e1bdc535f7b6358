//! The forms in which keys are published: a JWK Set (RFC 7517), one JWK, a map of names to PEM texts, and PEM itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{SectionKind, from_buf};
use serde_json::{Map, Value};

use super::public_key::{Material, PublicKey};
use super::{KeySetError, MAX_KEYS};
use crate::authn::claims::read_object;
use crate::authn::jwt::{Algorithm, MAX_KID};

/// The keys of a document that are understood, and how many others it holds. Keys of PEM are given the name `kid`.
pub(super) fn read(document: &[u8], kid: Option<&str>) -> Result<(Vec<PublicKey>, usize), KeySetError> {
    let mut read = Read::default();
    if document.trim_ascii_start().starts_with(b"{") {
        let document = read_object(document).map_err(|_| KeySetError::Unreadable)?;
        read.json(&document)?;
    } else {
        read.pem(kid, document)?;
    }
    Ok((read.keys, read.skipped))
}

#[derive(Default)]
struct Read {
    keys: Vec<PublicKey>,
    skipped: usize,
}

impl Read {
    fn json(&mut self, document: &Map<String, Value>) -> Result<(), KeySetError> {
        match document.get("keys") {
            Some(Value::Array(keys)) => keys.iter().try_for_each(|key| self.add(key.as_object().and_then(jwk))),
            Some(Value::String(_)) | None if document.contains_key("kty") => self.add(jwk(document)),
            Some(Value::String(_)) | None => document.iter().try_for_each(|(kid, pem)| match pem {
                Value::String(pem) if kid.len() <= MAX_KID => self.pem(Some(kid), pem.as_bytes()),
                _ => self.add(None),
            }),
            Some(_) => Err(KeySetError::Unreadable),
        }
    }

    /// The keys of a PEM text. Whoever publishes a certificate vouches for its key: its dates and its issuer are not
    /// looked at.
    fn pem(&mut self, kid: Option<&str>, text: &[u8]) -> Result<(), KeySetError> {
        let mut rest = text;
        loop {
            let material = match from_buf(&mut rest) {
                Ok(Some((SectionKind::PublicKey, der))) => Material::spki(&der),
                Ok(Some((SectionKind::Certificate, der))) => certificate(der),
                Ok(Some(_)) => None,
                Ok(None) => return Ok(()),
                Err(_) => return self.add(None),
            };
            self.add(material.and_then(|material| PublicKey::named(material, kid.map(str::to_owned), None)))?;
        }
    }

    fn add(&mut self, key: Option<PublicKey>) -> Result<(), KeySetError> {
        match key {
            Some(key) => {
                // The same key twice is one key.
                if self.keys.iter().all(|other| other.fingerprint() != key.fingerprint()) {
                    self.keys.push(key);
                }
            }
            None => self.skipped += 1,
        }
        if self.keys.len() + self.skipped > MAX_KEYS { Err(KeySetError::TooMany) } else { Ok(()) }
    }
}

fn certificate(der: Vec<u8>) -> Option<Material> {
    let der = CertificateDer::from(der);
    let certificate = webpki::EndEntityCert::try_from(&der).ok()?;
    Material::spki(&certificate.subject_public_key_info())
}

/// A JWK that may verify signatures. One that holds its private part is not used: whoever read it can sign.
fn jwk(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let text = |name: &str| match jwk.get(name) {
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        None => Ok(None),
        Some(_) => Err(()),
    };
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name).ok()??).ok();
    if text("use").ok()?.is_some_and(|usage| usage != "sig") || jwk.contains_key("d") {
        return None;
    }
    if let Some(operations) = jwk.get("key_ops")
        && !operations.as_array()?.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let kid = text("kid").ok()?.map(str::to_owned);
    if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return None;
    }
    let bound = match text("alg").ok()? {
        Some(name) => Some(Algorithm::parse(name)?),
        None => None,
    };
    let material = match (text("kty").ok()??, text("crv").ok()?) {
        ("RSA", _) => Material::rsa(&bytes("n")?, &bytes("e")?)?,
        ("EC", Some("P-256")) => Material::ec(Algorithm::Es256, &bytes("x")?, &bytes("y")?)?,
        ("EC", Some("P-384")) => Material::ec(Algorithm::Es384, &bytes("x")?, &bytes("y")?)?,
        ("EC", Some("P-521")) => Material::ec(Algorithm::Es512, &bytes("x")?, &bytes("y")?)?,
        ("OKP", Some("Ed25519")) => Material::ed25519(&bytes("x")?)?,
        _ => return None,
    };
    PublicKey::named(material, kid, bound)
}
