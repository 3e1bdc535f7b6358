//! Tokens that were verified, by the SHA-256 of the whole token: a repeated one costs no signature check.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::digests::Digests;
use crate::domain::{KeyHash, Timestamp};

/// Tokens remembered at most.
const REMEMBERED: usize = 16_384;
/// The longest a token is not verified again, in milliseconds.
const MOST_MILLIS: i64 = 300_000;

/// See the module. It keeps what a token was found to be.
pub(super) struct Remembered<T> {
    tokens: Cache<KeyHash, Arc<Known<T>>>,
    digests: Digests,
    millis: i64,
}

/// What a token was found to be, and until when that is not asked again.
pub(super) struct Known<T> {
    pub found: T,
    until: Timestamp,
}

impl<T> Remembered<T> {
    /// For so many seconds, and never for more than five minutes.
    pub(super) fn new(seconds: u64) -> Self {
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000).min(MOST_MILLIS);
        Remembered { tokens: Cache::new(REMEMBERED), digests: Digests::default(), millis }
    }

    pub(super) fn get(&self, token: &str, now: Timestamp) -> Option<Arc<Known<T>>> {
        self.digests.find(token, |hash| self.tokens.get(hash)).filter(|known| now < known.until)
    }

    /// Remembers a token that is good until `expires`.
    pub(super) fn insert(&self, token: &str, found: T, now: Timestamp, expires: Timestamp) -> Arc<Known<T>> {
        let known = Arc::new(Known { found, until: now.plus_millis(self.millis).min(expires) });
        self.tokens.insert(KeyHash::of(token), Arc::clone(&known));
        known
    }
}
