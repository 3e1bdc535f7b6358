//! Providers that publish each key at an address of its own, which its name is part of (AWS load balancers).

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::pace::Bucket;
use super::place::Place;
use super::refreshed::Refreshed;
use super::{Algorithm, KeyError, KeySettings, PublicKey, UNKNOWN_KID};
use crate::authn::fetch::{Fetch, check_url};

/// Where the name stands in a template.
pub(super) const KID: &str = "{kid}";
/// Names that are remembered, known or absent.
const NAMES: usize = 128;
/// New names that are asked for at once, and the time until one more.
const NEW_NAMES: u64 = 8;
const NEW_NAME_MILLIS: u64 = 1_000;

/// See the module.
pub(super) struct ByName {
    template: String,
    fetch: Fetch,
    settings: KeySettings,
    names: Cache<String, Arc<Refreshed>>,
    new_names: Mutex<Bucket>,
}

impl ByName {
    pub(super) fn new(template: &str, fetch: Fetch, settings: KeySettings) -> Result<ByName, String> {
        check_url(&template.replace(KID, "a"))?;
        let host_end = template.find("://").and_then(|at| Some(at + 3 + template.get(at + 3..)?.find('/')?));
        if template.find(KID) < host_end.or(Some(usize::MAX)) {
            return Err("{kid} stands in the path of a URL only".to_owned());
        }
        Ok(ByName {
            template: template.to_owned(),
            fetch,
            settings,
            names: Cache::new(NAMES),
            new_names: Mutex::new(Bucket::new(NEW_NAMES, NEW_NAME_MILLIS)),
        })
    }

    pub(super) async fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<PublicKey>, KeyError> {
        let kid = kid.filter(|kid| is_name(kid)).ok_or(UNKNOWN_KID)?;
        let source = match self.names.get(kid) {
            Some(source) => source,
            None => self.begin(kid)?,
        };
        source.key(Some(kid), algorithm).await
    }

    /// The source of a name that was not asked for lately. Who makes names up cannot have the provider asked for all of
    /// them; since a good name may be among those not asked for, that is no verdict.
    fn begin(&self, kid: &str) -> Result<Arc<Refreshed>, KeyError> {
        let mut new_names = self.new_names.lock();
        if let Some(source) = self.names.get(kid) {
            return Ok(source);
        }
        if !new_names.take((self.settings.clock)()) {
            return Err(KeyError::Unavailable);
        }
        let url = check_url(&self.template.replace(KID, kid)).map_err(|_| UNKNOWN_KID)?;
        let place = Place::Key(url, kid.to_owned());
        let source = Arc::new(Refreshed::new(place, self.fetch.clone(), self.settings.clone()));
        self.names.insert(kid.to_owned(), Arc::clone(&source));
        Ok(source)
    }

    pub(super) fn at_hand(&self, kid: &str, algorithm: Algorithm) -> Option<Arc<PublicKey>> {
        self.names.get(kid)?.at_hand(kid, algorithm)
    }

    pub(super) fn is_current(&self, key: &PublicKey) -> bool {
        key.kid().and_then(|kid| self.names.get(kid)).is_some_and(|source| source.is_current(key))
    }
}

/// A name that can stand in an address and mean nothing but itself there.
fn is_name(kid: &str) -> bool {
    (1..=64).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
