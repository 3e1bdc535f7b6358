//! One public key, prepared for verification. Which algorithms it may verify follows from its kind, never from the token
//! alone: no token can turn an RSA key into a secret, or one curve into another.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature as lc;
use aws_lc_rs::signature::{ParsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::alg_id;

use super::der;
use crate::authn::jwt::Algorithm;

/// SHA-256 of what makes a key this key: its material, its name, and the algorithm it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// See the module.
pub struct PublicKey {
    kid: Option<String>,
    /// The one algorithm it may verify, where its set says so.
    bound: Option<Algorithm>,
    fingerprint: Fingerprint,
    material: Material,
}

/// The key itself, as [`PublicKey::named`] takes it.
pub(super) enum Material {
    Rsa(Box<Rsa>),
    /// A key whose curve leaves one algorithm only (RFC 7518, section 3.4; RFC 8037, section 3.1).
    Curve(Algorithm, ParsedPublicKey),
}

/// An RSA key serves six algorithms; each is prepared when it is first used.
pub(super) struct Rsa {
    /// `RSAPublicKey` (RFC 8017, appendix A.1.1).
    der: Vec<u8>,
    prepared: [OnceLock<Option<ParsedPublicKey>>; 6],
}

const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The largest public exponent, in bits: larger ones only cost the verifier time.
const EXPONENT_BITS: usize = 33;

impl Material {
    /// From modulus and exponent, big endian. `None` where the modulus is not of 2048 to 8192 bits, or the exponent is
    /// even, 1 or longer than 33 bits.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Material> {
        let (n, e) = (trimmed(n), trimmed(e));
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
        let exponent_fits = is_odd(e) && e != [1] && bits(e) <= EXPONENT_BITS;
        if !RSA_BITS.contains(&bits(n)) || !is_odd(n) || !exponent_fits {
            return None;
        }
        let (mut content, mut key) = (Vec::with_capacity(n.len() + 16), Vec::with_capacity(n.len() + 20));
        for number in [n, e] {
            // A first bit that is set would make the number negative.
            let sign: &[u8] = if number.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
            der::write(der::INTEGER, &[sign, number], &mut content)?;
        }
        der::write(der::SEQUENCE, &[&content], &mut key)?;
        let key = Rsa { der: key, prepared: Default::default() };
        key.prepared(Algorithm::Rs256)?;
        Some(Material::Rsa(Box::new(key)))
    }

    /// From the coordinates of a point on the curve of this algorithm. `None` where they are not of the curve's length
    /// (RFC 7518, section 6.2.1.2) or the point is not on it.
    pub(super) fn ec(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Option<Material> {
        let length = match algorithm {
            Algorithm::Es256 => 32,
            Algorithm::Es384 => 48,
            Algorithm::Es512 => 66,
            _ => return None,
        };
        if x.len() != length || y.len() != length {
            return None;
        }
        Material::curve(algorithm, &[&[4], x, y].concat())
    }

    pub(super) fn ed25519(x: &[u8]) -> Option<Material> {
        (x.len() == 32).then(|| Material::curve(Algorithm::EdDsa, x)).flatten()
    }

    fn curve(algorithm: Algorithm, point: &[u8]) -> Option<Material> {
        ParsedPublicKey::new(verifier(algorithm), point).ok().map(|key| Material::Curve(algorithm, key))
    }

    /// From a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    pub(super) fn spki(spki: &[u8]) -> Option<Material> {
        let (algorithm, rest) = der::value(der::SEQUENCE, der::only(der::SEQUENCE, spki)?)?;
        let (unused, key) = der::only(der::BIT_STRING, rest)?.split_first()?;
        if *unused != 0 {
            return None;
        }
        let is = |id: rustls::pki_types::AlgorithmIdentifier| id.as_ref() == algorithm;
        if is(alg_id::RSA_ENCRYPTION) {
            let (n, rest) = der::value(der::INTEGER, der::only(der::SEQUENCE, key)?)?;
            let is_negative = |number: &[u8]| number.first().is_none_or(|byte| byte & 0x80 != 0);
            let e = der::only(der::INTEGER, rest)?;
            return if is_negative(n) || is_negative(e) { None } else { Material::rsa(n, e) };
        }
        if is(alg_id::ED25519) {
            return Material::ed25519(key);
        }
        let curves = [
            (alg_id::ECDSA_P256, Algorithm::Es256),
            (alg_id::ECDSA_P384, Algorithm::Es384),
            (alg_id::ECDSA_P521, Algorithm::Es512),
        ];
        let (_, algorithm) = curves.into_iter().find(|(id, _)| is(*id))?;
        let (x, y) = key.strip_prefix(&[4])?.split_at_checked(key.len() / 2)?;
        Material::ec(algorithm, x, y)
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Material::Rsa(_) => rsa_place(algorithm).is_some(),
            Material::Curve(own, _) => *own == algorithm,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Material::Rsa(key) => &key.der,
            Material::Curve(_, key) => key.as_ref(),
        }
    }
}

impl Rsa {
    fn prepared(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let place = self.prepared.get(rsa_place(algorithm)?)?;
        place.get_or_init(|| ParsedPublicKey::new(verifier(algorithm), &self.der).ok()).as_ref()
    }
}

impl PublicKey {
    /// `None` where the key is bound to an algorithm that its kind cannot serve.
    pub(super) fn named(material: Material, kid: Option<String>, bound: Option<Algorithm>) -> Option<PublicKey> {
        if bound.is_some_and(|bound| !material.fits(bound)) {
            return None;
        }
        let mut digest = Context::new(&SHA256);
        let kind = match &material {
            Material::Rsa(_) => "RSA",
            Material::Curve(algorithm, _) => algorithm.name(),
        };
        let kid_mark: &[u8] = if kid.is_some() { &[1] } else { &[0] };
        let parts: [&[u8]; 5] = [
            kind.as_bytes(),
            bound.map_or("", Algorithm::name).as_bytes(),
            kid_mark,
            kid.as_deref().unwrap_or_default().as_bytes(),
            material.bytes(),
        ];
        for part in parts {
            digest.update(&part.len().to_le_bytes());
            digest.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest.finish().as_ref());
        Some(PublicKey { kid, bound, fingerprint: Fingerprint(fingerprint), material })
    }

    /// A key of Ed25519 by its 32 bytes (RFC 8032, section 5.1.5). `None` where they are no point of the curve.
    #[must_use]
    pub fn ed25519(point: &[u8], kid: String) -> Option<PublicKey> {
        PublicKey::named(Material::ed25519(point)?, Some(kid), Some(Algorithm::EdDsa))
    }

    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether this key may verify this algorithm: by its kind and curve, and by the algorithm its set binds it to.
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        self.material.fits(algorithm) && self.bound.is_none_or(|bound| bound == algorithm)
    }

    /// Whether `signature` is this key's over `message`. Signatures of ECDSA are `r || s` of full length (RFC 7518,
    /// section 3.4). Never so with an algorithm the key does not fit.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let key = match &self.material {
            Material::Rsa(key) => key.prepared(algorithm),
            Material::Curve(_, key) => Some(key),
        };
        key.is_some_and(|key| key.verify_sig(message, signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("kid", &self.kid).field("bound", &self.bound).finish_non_exhaustive()
    }
}

fn rsa_place(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::Rs256 => Some(0),
        Algorithm::Rs384 => Some(1),
        Algorithm::Rs512 => Some(2),
        Algorithm::Ps256 => Some(3),
        Algorithm::Ps384 => Some(4),
        Algorithm::Ps512 => Some(5),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 | Algorithm::EdDsa => None,
    }
}

fn verifier(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &lc::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Rs384 => &lc::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::Rs512 => &lc::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::Ps256 => &lc::RSA_PSS_2048_8192_SHA256,
        Algorithm::Ps384 => &lc::RSA_PSS_2048_8192_SHA384,
        Algorithm::Ps512 => &lc::RSA_PSS_2048_8192_SHA512,
        Algorithm::Es256 => &lc::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &lc::ECDSA_P384_SHA384_FIXED,
        Algorithm::Es512 => &lc::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDsa => &lc::ED25519,
    }
}

fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The length of a number without leading zero bytes, in bits.
fn bits(number: &[u8]) -> usize {
    let Some(first) = number.first() else { return 0 };
    number.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
}
