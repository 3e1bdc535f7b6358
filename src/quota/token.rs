//! The hold token: a [`Hold`] as signed text, so that it can travel through Envoy's dynamic metadata and a settlement
//! works though the counters have forgotten the hold. Nothing that was not signed with the key is accepted.
//!
//! Layout, version 1: base64url without padding of `version | binding | hold | HMAC-SHA256(key, context | version |
//! binding | hold)`. What holds of one binding have in common is written, encoded and hashed once.
//! Limits and soft limits do not travel: a hold that was read back has `limit: 0` and `soft_limit: None` in every charge.
//! The token is authentic, not secret.

mod wire;

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::{Binding, Hold};

const VERSION: u8 = 1;
const TAG: usize = 32;
/// Keeps these signatures apart from all others made with the same key.
const CONTEXT: &[u8] = b"tollward hold token\0";
/// A longer text is refused unread.
pub const MAX_TOKEN: usize = 256 * 1024;

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

/// The beginning of all tokens of one binding: as text, and in the signature.
struct Common {
    /// Whose signature it is: of all signers of this process the one with this number.
    signer: u64,
    text: Box<str>,
    hashed: hmac::Context,
}

/// Signs holds and reads them back. Replicas that share a key accept one another's tokens.
pub struct Signer {
    key: hmac::Key,
    number: u64,
}

impl Signer {
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        static SIGNERS: AtomicU64 = AtomicU64::new(0);
        Signer { key: hmac::Key::new(hmac::HMAC_SHA256, key), number: SIGNERS.fetch_add(1, Ordering::Relaxed) }
    }

    #[must_use]
    pub fn sign(&self, hold: &Hold) -> String {
        let mut token = String::new();
        self.sign_into(hold, &mut token);
        token
    }

    /// Appends the token of a hold.
    pub fn sign_into(&self, hold: &Hold, token: &mut String) {
        let begun;
        let kept = hold.binding.token.get_or_init_again(|| self.begin(&hold.binding));
        let common = match kept.filter(|common| common.signer == self.number) {
            Some(common) => common,
            None => {
                begun = self.begin(&hold.binding);
                &begun
            }
        };
        let mut own = Vec::with_capacity(256);
        wire::write_hold(hold, &mut own);
        let mut signature = common.hashed.clone();
        signature.update(&own);
        own.extend_from_slice(signature.sign().as_ref());
        token.reserve(common.text.len() + own.len().div_ceil(3) * 4);
        token.push_str(&common.text);
        URL_SAFE_NO_PAD.encode_string(&own, token);
    }

    /// The part of a token that all holds of a binding share. Its length in bytes is a multiple of three.
    fn begin(&self, binding: &Binding) -> Common {
        let mut bytes = Vec::with_capacity(1_024);
        bytes.push(VERSION);
        wire::write_binding(binding, &mut bytes);
        let mut hashed = hmac::Context::with_key(&self.key);
        hashed.update(CONTEXT);
        hashed.update(&bytes);
        Common { signer: self.number, text: URL_SAFE_NO_PAD.encode(bytes).into(), hashed }
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

/// What all holds of a binding have in common, as bytes; [`append_hold`] completes them.
pub(super) fn binding_bytes(binding: &Binding) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    wire::write_binding(binding, &mut bytes);
    bytes
}

/// Appends what is a hold's own to the bytes of its binding.
pub(super) fn append_hold(hold: &Hold, bytes: &mut Vec<u8>) {
    wire::write_hold(hold, bytes);
}

/// Reads a hold back from its bytes; they are not signed, and are believed only where nobody else can write.
pub(super) fn read_hold(bytes: &[u8]) -> Option<Hold> {
    wire::read(bytes)
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

#[cfg(test)]
mod tests;
