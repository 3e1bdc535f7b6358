//! A set of public keys as a provider publishes it, and the rule by which a token finds its key in it.

mod der;
mod document;
mod public_key;

use std::sync::Arc;

pub use public_key::{Fingerprint, PublicKey};

use super::Algorithm;

/// The most keys that a set may hold, understood or not.
pub const MAX_KEYS: usize = 256;

/// Why a document is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("this is neither a key set (JWKS), a key (JWK), a map of names to PEM texts, nor PEM")]
    Unreadable,
    #[error("the document holds more than {MAX_KEYS} keys")]
    TooMany,
    #[error(
        "the document holds no key that can verify a token (RSA of 2048 to 8192 bits, P-256, P-384, P-521, Ed25519)"
    )]
    NoKeys,
}

/// See the module. It is never empty.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Arc<PublicKey>>,
    skipped: usize,
}

/// What a set has for a token.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    Key(&'a Arc<PublicKey>),
    /// The token names a key that is not in the set.
    UnknownKid,
    /// The key, or every key, is for other algorithms.
    Unfit,
    /// Several keys come into question, and nothing says which.
    Ambiguous,
}

impl KeySet {
    /// Reads any of the forms of [`KeySetError::Unreadable`]. Keys that are not understood, or not meant for signatures,
    /// are counted and left out; a document without any other is an error.
    pub fn parse(document: &[u8]) -> Result<KeySet, KeySetError> {
        KeySet::read(document, None)
    }

    /// The same for a document that was asked for by the name of its key: what PEM holds has this name.
    pub fn parse_named(document: &[u8], kid: &str) -> Result<KeySet, KeySetError> {
        KeySet::read(document, Some(kid))
    }

    fn read(document: &[u8], kid: Option<&str>) -> Result<KeySet, KeySetError> {
        let (keys, skipped) = document::read(document, kid)?;
        if keys.is_empty() {
            return Err(KeySetError::NoKeys);
        }
        Ok(KeySet { keys: keys.into_iter().map(Arc::new).collect(), skipped })
    }

    #[must_use]
    pub fn keys(&self) -> &[Arc<PublicKey>] {
        &self.keys
    }

    /// How many keys of the document are not used.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The key for a token that names `kid` and `algorithm`. Among keys that fit the algorithm, the one of this name; or
    /// the only one, where either side gives no name.
    #[must_use]
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let fitting = || self.keys.iter().filter(|key| key.fits(algorithm));
        let only = {
            let mut keys = fitting();
            keys.next().filter(|_| keys.next().is_none())
        };
        let Some(kid) = kid else {
            return match only {
                Some(key) => Found::Key(key),
                None if fitting().next().is_none() => Found::Unfit,
                None => Found::Ambiguous,
            };
        };
        let mut named = fitting().filter(|key| key.kid() == Some(kid));
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => Found::Ambiguous,
            (Some(key), None) => Found::Key(key),
            _ => match only.filter(|key| key.kid().is_none()) {
                Some(key) => Found::Key(key),
                None if self.contains_kid(kid) => Found::Unfit,
                None => Found::UnknownKid,
            },
        }
    }

    #[must_use]
    pub fn contains_kid(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// Whether this very key, under this name, is still in the set.
    #[must_use]
    pub fn contains(&self, key: Fingerprint) -> bool {
        self.keys.iter().any(|own| own.fingerprint() == key)
    }
}

#[cfg(test)]
mod tests;
