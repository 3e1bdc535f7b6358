//! Verdicts that are still good. Requests share one only where they are alike in every part that the configuration
//! names and show something that says whose they are; callers and refusals are kept apart, so that strangers who
//! guess push nobody out.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use quick_cache::sync::Cache;

use super::super::Ask;
use super::question::host;
use super::verdict::Verdict;
use crate::config::CachePart;
use crate::request::{CREDENTIAL_HEADERS, CredentialRead, CredentialSource};

const CALLERS: usize = 8_192;
const REFUSALS: usize = 4_096;
/// Fields besides those the gate reads that may say whose a request is.
const FURTHER: [&str; 3] = ["cookie", "proxy-authorization", "sec-websocket-protocol"];

/// SHA-256 over what a verdict depends on.
pub(super) type Key = [u8; 32];

/// See the module.
pub(super) struct Verdicts {
    parts: Vec<CachePart>,
    /// How long callers and refusals are kept, in milliseconds; 0 is not at all.
    ttl: u64,
    negative_ttl: u64,
    callers: Cache<Key, (u64, Verdict)>,
    refusals: Cache<Key, (u64, Verdict)>,
}

impl Verdicts {
    pub(super) fn new(parts: Vec<CachePart>, ttl: Duration, negative_ttl: Duration) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Verdicts {
            parts,
            ttl: millis(ttl),
            negative_ttl: millis(negative_ttl),
            callers: Cache::new(CALLERS),
            refusals: Cache::new(REFUSALS),
        }
    }

    /// The key of a request; `None` where its verdict must not be kept.
    pub(super) fn key(&self, ask: &Ask<'_>, client: Option<IpAddr>) -> Option<Key> {
        if self.ttl == 0 && self.negative_ttl == 0 {
            return None;
        }
        let http = ask.view.http;
        let mut parts = Parts(Context::new(&SHA256));
        let mut says_who = false;
        for part in &self.parts {
            match part {
                CachePart::Credential => says_who |= parts.credential(ask),
                CachePart::Method => parts.put(http.method.as_bytes()),
                CachePart::Path => parts.put(http.path.as_bytes()),
                CachePart::Host => parts.put(host(ask).as_bytes()),
                CachePart::ClientIp => {
                    parts.put(client.map(|client| client.to_string()).unwrap_or_default().as_bytes());
                }
                CachePart::Principal => {
                    says_who |= !http.source_principal.is_empty();
                    parts.put(http.source_principal.as_bytes());
                }
                CachePart::Header(name) => says_who |= parts.field(ask, name),
            }
        }
        // What the route says to authorisers always counts: it tells tenants apart.
        let mut extensions = http.extensions.clone();
        extensions.sort_unstable();
        parts.count(extensions.len());
        for (name, value) in extensions {
            parts.put(name.as_bytes());
            parts.put(value.as_bytes());
        }
        says_who.then(|| parts.end())
    }

    pub(super) fn get(&self, key: &Key, now: u64) -> Option<Verdict> {
        let good = |(at, _): &(u64, Verdict), ttl: u64| now.saturating_sub(*at) < ttl;
        let caller = self.callers.get(key).filter(|entry| good(entry, self.ttl));
        let found = caller.or_else(|| self.refusals.get(key).filter(|entry| good(entry, self.negative_ttl)));
        found.map(|(_, verdict)| verdict)
    }

    /// Keeps a verdict that was asked for at `at`.
    pub(super) fn keep(&self, key: Key, at: u64, verdict: Verdict) {
        match &verdict {
            Verdict::Named(_) => {
                self.refusals.remove(&key);
                if self.ttl > 0 {
                    self.callers.insert(key, (at, verdict));
                }
            }
            Verdict::Nobody | Verdict::Refused(_) => {
                self.callers.remove(&key);
                if self.negative_ttl > 0 {
                    self.refusals.insert(key, (at, verdict));
                }
            }
        }
    }
}

/// A digest in which no two lists of parts look alike: each part stands behind its length.
struct Parts(Context);

impl Parts {
    fn put(&mut self, part: &[u8]) {
        self.count(part.len());
        self.0.update(part);
    }

    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    /// All fields of this name. Returns whether there is one.
    fn field(&mut self, ask: &Ask<'_>, name: &str) -> bool {
        let headers = &ask.view.http.headers;
        self.count(headers.all(name).count());
        let mut any = false;
        for value in headers.all(name) {
            any |= !value.is_empty();
            self.put(value);
        }
        any
    }

    /// The credential as it was read, and every field that may hold one, as it stands.
    fn credential(&mut self, ask: &Ask<'_>) -> bool {
        self.put(ask.secret().as_bytes());
        let mut says_who = !ask.secret().is_empty();
        for name in CREDENTIAL_HEADERS.into_iter().chain(FURTHER) {
            says_who |= self.field(ask, name);
        }
        if let CredentialRead::Malformed { source: CredentialSource::Header(name) } = &ask.view.credential {
            says_who |= self.field(ask, name);
        }
        says_who
    }

    fn end(self) -> Key {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.finish().as_ref());
        key
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{Shown, ask};
    use super::super::verdict::Refusal;
    use super::*;
    use crate::config::CustomAuth;

    fn verdicts(parts: &[&str]) -> Verdicts {
        let parts = parts.iter().map(|part| CachePart::try_from((*part).to_owned()).unwrap()).collect();
        Verdicts::new(parts, Duration::from_secs(10), Duration::from_secs(1))
    }

    fn key(verdicts: &Verdicts, shown: &Shown<'_>) -> Option<Key> {
        ask(shown, |ask| verdicts.key(ask, shown.client.parse().ok()))
    }

    #[test]
    fn what_differs_in_any_part_has_a_key_of_its_own() {
        let defaults = CustomAuth::default();
        let verdicts =
            Verdicts::new(defaults.cache_key, defaults.cache_ttl.as_duration(), defaults.negative_ttl.as_duration());
        let base = Shown { headers: &[("authorization", b"Bearer sk-a")], ..Shown::default() };
        let others = [
            Shown { headers: &[("authorization", b"Bearer sk-b")], ..base },
            Shown { headers: &[("x-api-key", b"sk-a")], ..base },
            Shown { headers: &[("authorization", b"Bearer sk-a"), ("cookie", b"session=1")], ..base },
            Shown { headers: &[("authorization", b"Bearer sk-a"), ("authorization", b"Bearer sk-b")], ..base },
            Shown { headers: &[("authorization", b"Bearer sk-a"), ("host", b"other")], ..base },
            Shown { method: "GET", ..base },
            Shown { path: "/v1/models", ..base },
            Shown { path: "/v1/chat/completions?x=1", ..base },
            Shown { client: "10.0.0.2", ..base },
            Shown { principal: "spiffe://a", ..base },
            Shown { extensions: &[("tenant", "b")], ..base },
        ];
        let own = key(&verdicts, &base).unwrap();
        let mut keys: Vec<Key> = others.iter().map(|shown| key(&verdicts, shown).unwrap()).collect();
        keys.push(own);
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), others.len() + 1);
        let besides = [("authorization", b"Bearer sk-a".as_slice()), ("x-request-id", b"7")];
        assert_eq!(key(&verdicts, &Shown { headers: &besides, ..base }), Some(own), "what is not named does not count");
    }

    #[test]
    fn credentials_that_cannot_be_read_are_told_apart() {
        let verdicts = verdicts(&["credential"]);
        let of = |value: &[u8]| key(&verdicts, &Shown { headers: &[("authorization", value)], ..Shown::default() });
        let (one, other) = (of(b"one-secret"), of(b"other-secret"));
        assert!(one.is_some() && other.is_some() && one != other);
    }

    #[test]
    fn a_request_that_does_not_say_whose_it_is_is_never_kept() {
        let nothing = Shown::default();
        assert_eq!(key(&verdicts(&["credential", "path", "client_ip"]), &nothing), None);
        assert_eq!(key(&verdicts(&["header:x-user"]), &nothing), None);
        let named = Shown { headers: &[("x-user", b"ada")], ..nothing };
        assert!(key(&verdicts(&["header:x-user"]), &named).is_some());
        assert_eq!(key(&verdicts(&["credential"]), &named), None);
    }

    #[test]
    fn callers_and_refusals_are_kept_for_times_of_their_own() {
        let verdicts = verdicts(&["credential"]);
        verdicts.keep([1; 32], 0, Verdict::Refused(Arc::new(Refusal::new(401, "no"))));
        assert!(verdicts.get(&[1; 32], 999).is_some());
        assert!(verdicts.get(&[1; 32], 1_000).is_none());
        let told = super::super::testing::told("ada");
        verdicts.keep([1; 32], 0, Verdict::Named(told));
        assert!(matches!(verdicts.get(&[1; 32], 9_999), Some(Verdict::Named(_))));
        assert!(verdicts.get(&[1; 32], 10_000).is_none());
        assert!(verdicts.get(&[2; 32], 0).is_none());
    }
}
