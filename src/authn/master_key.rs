//! The master key: the operator's, compared in constant time.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Ask, Authenticator, Identified};
use crate::domain::{AuthMethod, Caller, Denial, Identity, Role, Secret, Trace};

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

    fn caller(&self) -> Identified {
        Identified::Caller(Caller::new(AuthMethod::MasterKey, Role::ProxyAdmin, Arc::clone(&self.identity)))
    }
}

#[async_trait]
impl Authenticator for MasterKey {
    fn name(&self) -> &'static str {
        "master_key"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        self.key.matches(ask.secret().as_bytes())
    }

    fn at_hand(&self, _ask: &Ask<'_>) -> Option<Identified> {
        Some(self.caller())
    }

    async fn authenticate(&self, _ask: &Ask<'_>, _trace: &mut Trace) -> Result<Identified, Denial> {
        Ok(self.caller())
    }
}
