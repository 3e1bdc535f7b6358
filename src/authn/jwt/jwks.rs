//! Where the keys of an issuer come from, kept fresh without a request on the way of a token whose key is known. A
//! provider that fails leaves the last copy in force for a time, and is never taken for a bad token.

mod by_name;
mod pace;
mod place;
mod refreshed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use by_name::ByName;
use place::Place;
use refreshed::Refreshed;

use super::{Algorithm, Found, KeySet, PublicKey};
use crate::authn::fetch::Fetch;
use crate::uptime::{Uptime, uptime};

/// How long a copy of a key set is used.
#[derive(Clone)]
pub struct KeySettings {
    /// Without asking for it again.
    pub ttl: Duration,
    /// And after that, while the provider fails. Zero: not at all.
    pub stale_ttl: Duration,
    pub clock: Uptime,
}

impl Default for KeySettings {
    fn default() -> Self {
        KeySettings { ttl: Duration::from_secs(600), stale_ttl: Duration::from_secs(3_600), clock: uptime() }
    }
}

impl fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeySettings { ttl, stale_ttl, clock: _ } = self;
        f.debug_struct("KeySettings").field("ttl", ttl).field("stale_ttl", stale_ttl).finish_non_exhaustive()
    }
}

/// Why there is no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The fault of the token (401): why.
    #[error("{0}")]
    Unknown(&'static str),
    /// The fault of the provider (503): it cannot be said whether the token is good.
    #[error("the keys of the issuer cannot be fetched")]
    Unavailable,
}

const UNKNOWN_KID: KeyError = KeyError::Unknown("no key of the issuer has the name (kid) that the token gives");

/// One place that keys come from. Tokens find their keys by [`KeySet::find`].
pub struct KeySource(Kind);

enum Kind {
    /// Written into the configuration.
    Inline(KeySet),
    Refreshed(Refreshed),
    ByName(ByName),
}

impl KeySource {
    /// A source from its text: the URL of a key set; of a discovery document (`…/.well-known/openid-configuration`),
    /// whose issuer must be `issuer` where one is given; a URL with `{kid}` in its path, one key each; keys written as
    /// PEM or JSON; or the path of a file that holds such.
    pub fn new(text: &str, issuer: Option<&str>, fetch: &Fetch, settings: &KeySettings) -> Result<KeySource, String> {
        let text = text.trim();
        if text.starts_with("-----BEGIN") || text.starts_with('{') {
            return KeySet::parse(text.as_bytes()).map(|set| KeySource(Kind::Inline(set))).map_err(|e| e.to_string());
        }
        if text.contains(by_name::KID) {
            let source = ByName::new(text, fetch.clone(), settings.clone())?;
            return Ok(KeySource(Kind::ByName(source)));
        }
        let place = Place::read(text, issuer)?;
        Ok(KeySource(Kind::Refreshed(Refreshed::new(place, fetch.clone(), settings.clone()))))
    }

    /// The key for a token that names `kid` and `algorithm`. It waits for the provider where no copy of its keys is
    /// usable or the name is new, and a moment where the copy is old; as long as the limit of [`Fetch`] at most, twice
    /// that with a discovery document.
    pub async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, KeyError> {
        match &self.0 {
            Kind::Inline(set) => chosen(set.find(kid, algorithm)),
            Kind::Refreshed(source) => source.key(kid, algorithm).await,
            Kind::ByName(source) => source.key(kid, algorithm).await,
        }
    }

    /// Fetches the keys where the copy of them will be too old `ahead` of now, so that no token has to wait for them. Keys
    /// that are asked for one by one, or are written in the configuration, are left alone.
    async fn renew(&self, ahead: Duration) {
        if let Kind::Refreshed(source) = &self.0 {
            source.renew(ahead).await;
        }
    }

    /// The key of this very name, where a fresh copy has it: without waiting.
    fn at_hand(&self, kid: &str, algorithm: Algorithm) -> Option<Arc<PublicKey>> {
        match &self.0 {
            Kind::Inline(set) => exact(set, kid, algorithm),
            Kind::Refreshed(source) => source.at_hand(kid, algorithm),
            Kind::ByName(source) => source.at_hand(kid, algorithm),
        }
    }

    /// Whether a token that this key has verified needs no new verification: the key is in the copy in force, and that
    /// copy need not be fetched again first. Never waits.
    #[must_use]
    pub fn is_current(&self, key: &PublicKey) -> bool {
        match &self.0 {
            Kind::Inline(set) => set.contains(key.fingerprint()),
            Kind::Refreshed(source) => source.is_current(key),
            Kind::ByName(source) => source.is_current(key),
        }
    }
}

/// The sources of one issuer, asked in order.
pub struct KeySources(Vec<KeySource>);

impl KeySources {
    #[must_use]
    pub fn new(sources: Vec<KeySource>) -> Self {
        KeySources(sources)
    }

    /// The key from the first source that has it. One that fails does not stop the others; where none has the key, and
    /// one of them could not say, the answer is [`KeyError::Unavailable`].
    pub async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, KeyError> {
        if let [only] = self.0.as_slice() {
            return only.key(kid, algorithm).await;
        }
        // What one source has costs no request to another.
        if let Some(key) = kid.and_then(|kid| self.0.iter().find_map(|source| source.at_hand(kid, algorithm))) {
            return Ok(key);
        }
        let mut error = UNKNOWN_KID;
        for source in &self.0 {
            match source.key(kid, algorithm).await {
                Ok(key) => return Ok(key),
                Err(KeyError::Unavailable) => error = KeyError::Unavailable,
                Err(_) => {}
            }
        }
        Err(error)
    }

    /// Fetches what will be too old `ahead` of now, from all sources at once, so that no token has to wait for it.
    pub async fn renew(&self, ahead: Duration) {
        futures_util::future::join_all(self.0.iter().map(|source| source.renew(ahead))).await;
    }

    /// See [`KeySource::is_current`].
    #[must_use]
    pub fn is_current(&self, key: &PublicKey) -> bool {
        self.0.iter().any(|source| source.is_current(key))
    }
}

fn chosen(found: Found<'_>) -> Result<Arc<PublicKey>, KeyError> {
    match found {
        Found::Key(key) => Ok(Arc::clone(key)),
        Found::UnknownKid => Err(UNKNOWN_KID),
        Found::Unfit => Err(KeyError::Unknown("the issuer has no key for the algorithm of the token")),
        Found::Ambiguous => Err(KeyError::Unknown("the issuer has several keys, and the token does not say which")),
    }
}

fn exact(set: &KeySet, kid: &str, algorithm: Algorithm) -> Option<Arc<PublicKey>> {
    match set.find(Some(kid), algorithm) {
        Found::Key(key) if key.kid() == Some(kid) => Some(Arc::clone(key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
