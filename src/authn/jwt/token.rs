//! A token in its compact form (RFC 7515, section 7.1), taken apart and bounded before anything in it is believed.
//! Nothing in its header can bring a key along or name one to fetch: `jku`, `x5u`, `jwk` and `x5c` are never read.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::keys::PublicKey;
use crate::authn::claims::read_object;

/// The longest token that is read, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
/// The longest header, as it is written in the token.
const MAX_HEADER: usize = 8 * 1024;
/// The longest name of a key.
pub const MAX_KID: usize = 512;
/// An identity assertion (ID-JAG) is a grant that is exchanged for a token, and no token itself.
const GRANT_TYPE: &str = "oauth-id-jag+jwt";

/// Base64url that may be padded, as the header of AWS load balancers is.
const URL_SAFE_ANY_PAD: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no token that is considered. It tells nothing of what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is longer than {MAX_TOKEN} bytes, or its header longer than {MAX_HEADER}")]
    TooLong,
    #[error("a token is three parts with dots between")]
    Parts,
    #[error("a part of the token is not base64url")]
    Encoding,
    #[error("the header of the token is not one JSON object with each name once")]
    Header,
    #[error("the algorithm of the token is not one of the asymmetric ones")]
    Algorithm,
    #[error("the token names its key by something else than a text of at most {MAX_KID} bytes")]
    Kid,
    /// `crit` or `b64`: extensions that must be understood (RFC 7515, section 4.1.11), and none is.
    #[error("the token asks for extensions that are not supported")]
    Critical,
    #[error("this is a grant, which must be exchanged for an access token")]
    Grant,
    #[error("the claims of the token are not one JSON object with each name once")]
    Claims,
}

/// See the module. It borrows the text it was read from; the claims are read when they are first asked for.
pub struct Token<'a> {
    header: Map<String, Value>,
    algorithm: Algorithm,
    padded: bool,
    /// What the signature is over: header and claims as they are written.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    claims: OnceLock<Result<Map<String, Value>, TokenError>>,
}

/// Whether a credential is meant as a token: exactly three parts, none empty. It says nothing of what they hold.
#[must_use]
pub fn is_jwt_shaped(text: &str) -> bool {
    let mut dots = memchr::memchr_iter(b'.', text.as_bytes());
    let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else { return false };
    first > 0 && second > first + 1 && second + 1 < text.len()
}

impl<'a> Token<'a> {
    /// Reads a token as RFC 7515 writes it: base64url without padding.
    pub fn read(text: &'a str) -> Result<Token<'a>, TokenError> {
        Token::read_as(text, false)
    }

    /// Reads a token whose parts may be padded with `=`. AWS load balancers write such ones in `x-amzn-oidc-data`.
    pub fn read_padded(text: &'a str) -> Result<Token<'a>, TokenError> {
        Token::read_as(text, true)
    }

    fn read_as(text: &'a str, padded: bool) -> Result<Token<'a>, TokenError> {
        if text.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        if !is_jwt_shaped(text) {
            return Err(TokenError::Parts);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Parts)?;
        if header.len() > MAX_HEADER {
            return Err(TokenError::TooLong);
        }
        let header = read_object(&decode(header, padded)?).map_err(|_| TokenError::Header)?;
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
        let algorithm = algorithm.ok_or(TokenError::Algorithm)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(TokenError::Critical);
        }
        let kid_fits = |kid: &Value| kid.as_str().is_some_and(|kid| kid.len() <= MAX_KID);
        if !header.get("kid").is_none_or(kid_fits) {
            return Err(TokenError::Kid);
        }
        match header.get("typ") {
            Some(Value::String(typ)) if is_grant(typ) => return Err(TokenError::Grant),
            None | Some(Value::String(_)) => {}
            Some(_) => return Err(TokenError::Header),
        }
        let signature = decode(signature, padded)?;
        Ok(Token { header, algorithm, padded, signed, payload, signature, claims: OnceLock::new() })
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The name of the key. Any characters: it is compared with the names of known keys, and used for nothing else.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str)
    }

    /// The media type, where the header has one.
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.header.get("typ").and_then(Value::as_str)
    }

    /// The whole header, for members that one issuer defines (`signer` of AWS load balancers).
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The claims, read once. Nobody vouches for them before [`Token::is_signed_by`] has said so.
    pub fn claims(&self) -> Result<&Map<String, Value>, TokenError> {
        self.claims.get_or_init(|| self.read_claims()).as_ref().map_err(|error| *error)
    }

    /// [`Token::claims`], to keep.
    pub fn into_claims(mut self) -> Result<Map<String, Value>, TokenError> {
        match self.claims.take() {
            Some(claims) => claims,
            None => self.read_claims(),
        }
    }

    /// Who the token says has issued it: to choose the keys by, and not to be believed until one of them has verified it.
    pub fn unverified_issuer(&self) -> Result<Option<&str>, TokenError> {
        Ok(self.claims()?.get("iss").and_then(Value::as_str))
    }

    /// Whether the key has signed this token, by the algorithm that the token names and that the key is for.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    fn read_claims(&self) -> Result<Map<String, Value>, TokenError> {
        read_object(&decode(self.payload, self.padded)?).map_err(|_| TokenError::Claims)
    }
}

/// Media types are compared without regard to letter case, and `application/` may be left out (RFC 7515, section 4.1.9).
fn is_grant(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == GRANT_TYPE
}

/// Bits left over at the end must be zero: one signature has one spelling.
fn decode(part: &str, padded: bool) -> Result<Vec<u8>, TokenError> {
    let engine = if padded { &URL_SAFE_ANY_PAD } else { &URL_SAFE_NO_PAD };
    engine.decode(part).map_err(|_| TokenError::Encoding)
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.algorithm)
    }
}

#[cfg(test)]
mod tests;
