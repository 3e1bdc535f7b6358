//! The keys that sign sessions: Ed25519, one for each period, kept in the directory beside all else and shared by every
//! replica. A key is made when the first session of its period is issued, and stays as long as one of its sessions.

use std::time::Duration;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, Signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::authn::jwt::PublicKey;
use crate::domain::{Secret, SessionKey, Timestamp};

/// No randomness, or a seed that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable;

/// A key, ready to sign.
pub(super) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    pub(super) fn of(key: &SessionKey) -> Result<SigningKey, Unusable> {
        let seed = Zeroizing::new(STANDARD.decode(key.seed.expose()).map_err(|_| Unusable)?);
        Ed25519KeyPair::from_seed_unchecked(&seed).map(SigningKey).map_err(|_| Unusable)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        self.0.sign(message)
    }
}

/// The public half; `None` where the row holds no key.
pub(super) fn public(key: &SessionKey) -> Option<PublicKey> {
    let pair = SigningKey::of(key).ok()?.0;
    PublicKey::ed25519(pair.public_key().as_ref(), key.kid.to_string())
}

/// A new key for the period that begins then.
pub(super) fn generate(period_start: Timestamp, now: Timestamp) -> Result<SessionKey, Unusable> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(&mut *seed).map_err(|_| Unusable)?;
    Ok(SessionKey {
        kid: random_hex::<8>()?.into(),
        period_start,
        seed: Secret::new(STANDARD.encode(*seed)),
        created_at: now,
    })
}

/// So many random bytes in hexadecimal.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, Unusable> {
    let mut bytes = [0; BYTES];
    rand::fill(&mut bytes).map_err(|_| Unusable)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The beginning of the period that a moment is in: whole periods since 1970, so that all replicas agree.
#[must_use]
pub(super) fn period_start(now: Timestamp, every: Duration) -> Timestamp {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    Timestamp::millis(now.as_millis().div_euclid(every) * every)
}
