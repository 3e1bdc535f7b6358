//! The master key: the operator's, compared in constant time.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, Outcome};
use crate::domain::{AuthMethod, Caller, Identity, Role, Secret, Timestamp};
use crate::request::Credential;

/// Knows the master key of the configuration. Its caller has no user and no limits of its own.
pub struct MasterKey {
    key: Secret,
    identity: Arc<Identity>,
}

impl MasterKey {
    #[must_use]
    pub fn new(key: Secret) -> Self {
        MasterKey { key, identity: Arc::default() }
    }
}

#[async_trait]
impl Authenticator for MasterKey {
    fn name(&self) -> &'static str {
        "master_key"
    }

    async fn authenticate(&self, credential: &Credential<'_>, _now: Timestamp) -> Outcome {
        if !self.key.matches(credential.secret.as_bytes()) {
            return Outcome::NotMine;
        }
        Outcome::Caller(Caller {
            method: AuthMethod::MasterKey,
            role: Role::ProxyAdmin,
            identity: Arc::clone(&self.identity),
        })
    }
}
