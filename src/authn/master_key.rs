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
}

#[async_trait]
impl Authenticator for MasterKey {
    fn name(&self) -> &'static str {
        "master_key"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        self.key.matches(ask.secret().as_bytes())
    }

    async fn authenticate(&self, _ask: &Ask<'_>, _trace: &mut Trace) -> Result<Identified, Denial> {
        Ok(Identified::Caller(Caller::new(AuthMethod::MasterKey, Role::ProxyAdmin, Arc::clone(&self.identity))))
    }
}
