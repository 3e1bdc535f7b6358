//! Virtual keys: what begins with `sk-` is hashed and looked up. Status is not judged here; the gate does that for every
//! kind of caller alike.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Ask, Authenticator, Identified};
use crate::directory::{Directory, DirectoryError};
use crate::domain::{AuthMethod, Caller, Denial, ErrorType, Identity, KeyHash, Role, Trace};

/// Knows the keys of the directory.
pub struct VirtualKeys {
    directory: Arc<Directory>,
}

impl VirtualKeys {
    #[must_use]
    pub fn new(directory: Arc<Directory>) -> Self {
        VirtualKeys { directory }
    }
}

#[async_trait]
impl Authenticator for VirtualKeys {
    fn name(&self) -> &'static str {
        "virtual_key"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        ask.secret().starts_with("sk-")
    }

    fn at_hand(&self, ask: &Ask<'_>) -> Option<Identified> {
        self.directory.identity_at_hand(&KeyHash::of(ask.secret()), ask.now).map(caller)
    }

    async fn authenticate(&self, ask: &Ask<'_>, _trace: &mut Trace) -> Result<Identified, Denial> {
        match self.directory.identity(&KeyHash::of(ask.secret()), ask.now).await {
            Ok(Some(identity)) => Ok(caller(identity)),
            Ok(None) => Err(Denial::new(
                ErrorType::TokenNotFound,
                "credential.unknown_key",
                "Authentication Error: invalid API key; it is not in the directory. Create a key, or check for a typing error",
            )
            .param("key")),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn caller(identity: Arc<Identity>) -> Identified {
    let role = identity.user.as_ref().and_then(|user| user.user_role).unwrap_or(Role::InternalUser);
    Identified::Caller(Caller::new(AuthMethod::VirtualKey, role, identity))
}

/// The denial for a directory that does not answer: never a bad credential.
#[must_use]
pub fn unavailable(error: &DirectoryError) -> Denial {
    tracing::warn!(%error, "the directory does not answer");
    let mut denial = Denial::new(
        ErrorType::NoDbConnection,
        "directory.unavailable",
        "The key directory is unavailable; try again in a moment",
    );
    denial.retry_after = Some(std::time::Duration::from_secs(1));
    denial
}
