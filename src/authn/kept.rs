//! What outlives a configuration: what authenticators learnt from others. A reload must not forget it, since the provider
//! may be down just then. It is kept by what it was learnt under: whoever is configured anew begins anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::custom::Consultant;
use super::fetch::Fetch;
use super::jwt::{KeySettings, KeySource, KeySources};
use super::oauth2;

/// Longest time for the keys of an issuer to arrive.
const FETCH_KEYS: Duration = Duration::from_secs(5);

/// What a set of sources is known by.
#[derive(Clone, PartialEq, Eq, Hash)]
struct SourcesKey {
    places: Vec<String>,
    issuer: Option<String>,
    ttl: Duration,
    stale_ttl: Duration,
}

/// See the module. One for each gate.
#[derive(Default)]
pub struct Kept {
    keys: Mutex<HashMap<SourcesKey, Arc<KeySources>>>,
    fetch: Mutex<Option<Fetch>>,
    pub(super) oauth2: oauth2::KeptServer,
    pub(super) consultant: Mutex<Option<Arc<Consultant>>>,
}

impl Kept {
    /// The client for key sets.
    fn fetch(&self) -> Result<Fetch, String> {
        let mut kept = self.fetch.lock();
        match &*kept {
            Some(fetch) => Ok(fetch.clone()),
            None => Ok(kept.insert(Fetch::new(FETCH_KEYS)?).clone()),
        }
    }

    /// The key sources of an issuer: those of the last configuration where they are the same.
    ///
    /// # Errors
    /// A place that cannot be a source.
    pub(super) fn keys(
        &self,
        places: &[String],
        issuer: Option<&str>,
        settings: &KeySettings,
    ) -> Result<Arc<KeySources>, String> {
        let key = SourcesKey {
            places: places.to_vec(),
            issuer: issuer.map(str::to_owned),
            ttl: settings.ttl,
            stale_ttl: settings.stale_ttl,
        };
        if let Some(known) = self.keys.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let fetch = self.fetch()?;
        let sources = places.iter().map(|place| KeySource::new(place, issuer, &fetch, settings));
        let sources = Arc::new(KeySources::new(sources.collect::<Result<_, _>>()?));
        self.keys.lock().insert(key, Arc::clone(&sources));
        Ok(sources)
    }

    /// Fetches the keys of all issuers whose copies will be too old `ahead` of now: all of them at once, and each in bounded
    /// time. Where one cannot be had, the log says so.
    pub async fn renew_keys(&self, ahead: Duration) {
        // What was renewed while a reload let go of it is forgotten now.
        self.tidy();
        let all: Vec<Arc<KeySources>> = self.keys.lock().values().cloned().collect();
        futures_util::future::join_all(all.iter().map(|sources| sources.renew(ahead))).await;
    }

    /// Forgets what no configuration uses any more; after each reload.
    pub fn tidy(&self) {
        self.keys.lock().retain(|_, sources| Arc::strong_count(sources) > 1);
    }
}
