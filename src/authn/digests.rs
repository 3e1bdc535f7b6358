//! The SHA-256 of long texts that are shown again and again, without hashing them each time: what was found by its
//! digest is found the next time by a tag that costs a third of it.
//!
//! The tag is GMAC (NIST SP 800-38D) under a random key that never leaves this process, as the tag does not. Whoever does
//! not know the key meets two texts of one tag with a chance of 1 in 2^118 for each pair of 16 KiB. That one nonce serves all
//! is no weakness here: it would be one for tags that somebody sees.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use quick_cache::sync::Cache;

use crate::domain::KeyHash;

/// Shorter texts are hashed sooner than looked up.
const LONG: usize = 256;
/// Texts kept at most.
const KEPT: usize = 16_384;

type Tag = [u8; 16];

/// See the module.
pub(super) struct Digests {
    /// None where no key could be made: all is hashed.
    key: Option<LessSafeKey>,
    kept: Cache<Tag, KeyHash>,
}

impl Default for Digests {
    fn default() -> Self {
        let mut key = [0; 16];
        let key = rand::fill(&mut key).and_then(|()| UnboundKey::new(&AES_128_GCM, &key)).map(LessSafeKey::new);
        Digests { key: key.ok(), kept: Cache::new(KEPT) }
    }
}

impl Digests {
    /// What there is for the SHA-256 of a text. A text for which there is nothing takes no place here.
    pub(super) fn find<V>(&self, text: &str, at: impl FnOnce(&KeyHash) -> Option<V>) -> Option<V> {
        let Some(tag) = self.tag(text) else { return at(&KeyHash::of(text)) };
        if let Some(hash) = self.kept.get(&tag) {
            return at(&hash);
        }
        let hash = KeyHash::of(text);
        let found = at(&hash)?;
        self.kept.insert(tag, hash);
        Some(found)
    }

    fn tag(&self, text: &str) -> Option<Tag> {
        let key = self.key.as_ref().filter(|_| text.len() >= LONG)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(text), &mut []).ok()?;
        tag.as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(digests: &Digests, text: &str) -> KeyHash {
        digests.find(text, |hash| Some(*hash)).unwrap()
    }

    #[test]
    fn what_has_no_answer_takes_no_place() {
        let (digests, long) = (Digests::default(), "a".repeat(LONG));
        assert_eq!(digests.find(&long, |_| None::<()>), None);
        assert_eq!(digests.kept.len(), 0);
        digest(&digests, &long[1..]);
        assert_eq!(digests.kept.len(), 0, "short");
        digest(&digests, &long);
        assert_eq!(digests.kept.len(), 1);
    }

    #[test]
    fn two_processes_tell_one_text_by_two_tags() {
        let long = "a".repeat(LONG);
        assert!(Digests::default().tag(&long).is_some());
        assert_ne!(Digests::default().tag(&long), Digests::default().tag(&long));
    }

    proptest! {
        #[test]
        fn it_is_the_digest_at_every_time_of_asking(
            texts in prop::collection::vec(prop_oneof!["[ab]{255,258}", "[a-z]{0,9}", "[a-z.]{600,900}"], 1..8),
        ) {
            let digests = Digests::default();
            for text in texts.iter().chain(&texts).chain(&texts) {
                prop_assert_eq!(digest(&digests, text), KeyHash::of(text));
            }
        }
    }
}
