//! Who acts: the caller the gate authenticated, and the name it gives for the audit log.

use std::sync::Arc;

use crate::domain::{AuthMethod, Caller, Identity, Key, KeyHash, Role, User};

/// The longest `litellm-changed-by` kept.
const CHANGED_BY_LIMIT: usize = 256;

/// Who acts.
#[derive(Clone, Debug)]
pub struct Actor {
    pub caller: Caller,
    /// The `litellm-changed-by` header: whom an admin tool acts for. Recorded, never trusted.
    changed_by: Option<String>,
    /// The calling key's own `allowed_routes` name this operation's route, which only an admin can have written.
    route_granted: bool,
}

impl Actor {
    #[must_use]
    pub fn new(caller: Caller, changed_by: Option<&str>) -> Self {
        let changed_by = changed_by.map(str::trim).filter(|name| !name.is_empty());
        let changed_by = changed_by.map(|name| name.chars().take(CHANGED_BY_LIMIT).collect());
        Actor { caller, changed_by, route_granted: false }
    }

    /// The same actor on a route that the `allowed_routes` of its key name: by path or prefix, not through a group.
    #[must_use]
    pub fn with_granted_route(self, route_granted: bool) -> Self {
        Actor { route_granted, ..self }
    }

    /// Whoever may run the command line on this machine with this configuration: an admin.
    #[must_use]
    pub fn operator() -> Self {
        let caller = Caller::new(AuthMethod::MasterKey, Role::ProxyAdmin, Arc::new(Identity::default()));
        Actor { caller, changed_by: Some("operator".to_owned()), route_granted: false }
    }

    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.caller.is_admin()
    }

    /// Whether the route itself was given to the key. It opens the operation, and lifts no bound of what may be set.
    #[must_use]
    pub fn has_granted_route(&self) -> bool {
        self.route_granted
    }

    /// An admin under this actor's name, for what an operation does on behalf of its caller.
    pub(super) fn as_admin(&self) -> Self {
        Actor { changed_by: Some(self.name()), ..Self::operator() }
    }

    /// Admins, and those who may see everything.
    #[must_use]
    pub fn sees_everything(&self) -> bool {
        matches!(self.caller.role, Role::ProxyAdmin | Role::ProxyAdminViewer)
    }

    #[must_use]
    pub fn user_id(&self) -> Option<&Arc<str>> {
        self.caller.user_id()
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.caller.identity.user.as_deref()
    }

    /// The virtual key the request came with.
    pub(super) fn key(&self) -> Option<&Key> {
        self.caller.identity.key.as_ref()
    }

    pub(super) fn key_hash(&self) -> Option<KeyHash> {
        self.key().map(|key| key.token)
    }

    /// The name for `created_by`, `updated_by` and the audit log.
    #[must_use]
    pub fn name(&self) -> String {
        let own = || match self.user_id() {
            Some(user) => user.to_string(),
            None if self.caller.method == AuthMethod::MasterKey => "default_user_id".to_owned(),
            None => self.key_hash().map(|hash| hash.to_string()).unwrap_or_default(),
        };
        self.changed_by.clone().unwrap_or_else(own)
    }
}
