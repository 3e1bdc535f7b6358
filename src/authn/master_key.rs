//! The master key: the operator's, compared in constant time.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Authenticator, Outcome};
use crate::domain::{AuthMethod, Caller, Identity, Role, Secret, Timestamp, User};
use crate::request::Credential;

/// Knows the master key of the configuration.
pub struct MasterKey {
    key: Secret,
    identity: Arc<Identity>,
}

impl MasterKey {
    #[must_use]
    pub fn new(key: Secret) -> Self {
        MasterKey { key, identity: Arc::new(operator_identity()) }
    }
}

/// The operator as a user: LiteLLM's `default_user_id`, without limits.
#[must_use]
pub fn operator_identity() -> Identity {
    let user = User { user_id: "default_user_id".into(), user_role: Some(Role::ProxyAdmin), ..User::default() };
    Identity { user: Some(user), ..Identity::default() }
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
