//! Sessions of users who have signed in, and the keys that sign their tokens.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::secret::Secret;
use super::time::Timestamp;

/// What a session token stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserSession {
    /// Random: 128 bits in hexadecimal.
    pub sid: Arc<str>,
    pub user_id: Arc<str>,
    /// The team the user acts for.
    pub team_id: Option<Arc<str>>,
    /// The key that signed its token.
    pub kid: Arc<str>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl UserSession {
    /// Whether its token is good: neither revoked nor over.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// A key that signs the tokens of one period, and verifies them as long as one of its sessions lives.
#[derive(Clone, Debug)]
pub struct SessionKey {
    pub kid: Arc<str>,
    /// The beginning of its period, of which there is one key.
    pub period_start: Timestamp,
    /// The private key of Ed25519 (RFC 8032, section 5.1.5), in Base64.
    pub seed: Secret,
    pub created_at: Timestamp,
}
