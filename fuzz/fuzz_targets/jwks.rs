//! Feeds documents to the reader of key sets. A set that it takes finds its keys, and no key takes a made-up signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollward::authn::jwt::keys::MAX_KEYS;
use tollward::authn::jwt::{Algorithm, Found, KeySet};

fuzz_target!(|data: &[u8]| {
    let Ok(set) = KeySet::parse(data) else { return };
    assert!(!set.keys().is_empty() && set.keys().len() + set.skipped() <= MAX_KEYS);
    for algorithm in Algorithm::ALL {
        let _ = set.find(None, algorithm);
        for key in set.keys() {
            assert!(set.contains(key.fingerprint()));
            assert!(!key.verify(algorithm, b"message", &[0; 64]));
            if let Some(kid) = key.kid() {
                assert!(set.contains_kid(kid));
                if let Found::Key(found) = set.find(Some(kid), algorithm) {
                    assert!(found.fits(algorithm));
                }
            }
        }
    }
});
