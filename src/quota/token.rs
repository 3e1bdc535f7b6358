//! The hold token: a [`Hold`] as signed text, so that it can travel through Envoy's dynamic metadata and a settlement
//! works though the counters have forgotten the hold. Nothing that was not signed with the key is accepted.
//!
//! Layout, version 1: base64url without padding of `version | body | HMAC-SHA256(key, context | version | body)`.
//! Limits and soft limits do not travel: a hold that was read back has `limit: 0` and `soft_limit: None` in every charge.
//! The token is authentic, not secret.

mod wire;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::Hold;

const VERSION: u8 = 1;
const TAG: usize = 32;
/// Keeps these signatures apart from all others made with the same key.
const CONTEXT: &[u8] = b"tollward hold token\0";
/// A longer text is refused unread.
pub const MAX_TOKEN: usize = 64 * 1024;

/// Why a text is not a hold token. It tells nothing that would help to forge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("longer than a hold token can be")]
    TooLong,
    #[error("not base64url without padding")]
    Encoding,
    #[error("not signed with this key")]
    Signature,
    #[error("signed by a version of the format that is not known here")]
    Version,
    /// Signed with the key, and yet not a hold.
    #[error("not a hold")]
    Malformed,
}

/// Signs holds and reads them back. Replicas that share a key accept one another's tokens.
pub struct Signer {
    key: hmac::Key,
}

impl Signer {
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Signer { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    #[must_use]
    pub fn sign(&self, hold: &Hold) -> String {
        let mut bytes = Vec::with_capacity(1_024);
        bytes.push(VERSION);
        wire::write(hold, &mut bytes);
        let tag = self.tag(&bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token, comparing its signature in constant time before anything else is looked at.
    pub fn verify(&self, token: &str) -> Result<Hold, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Encoding)?;
        let (signed, tag) = bytes.split_last_chunk::<TAG>().ok_or(TokenError::Signature)?;
        aws_lc_rs::constant_time::verify_slices_are_equal(self.tag(signed).as_ref(), tag)
            .map_err(|_| TokenError::Signature)?;
        match signed.split_first() {
            Some((&VERSION, body)) => wire::read(body).ok_or(TokenError::Malformed),
            _ => Err(TokenError::Version),
        }
    }

    fn tag(&self, signed: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(CONTEXT);
        context.update(signed);
        context.sign()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests;
