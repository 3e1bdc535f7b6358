//! The user an assertion names, created where the rules say so.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::assertion::Assertion;
use super::super::virtual_key::unavailable;
use super::{Name, Resolver, created};
use crate::directory::DirectoryError;
use crate::domain::{Denial, ErrorType, Timestamp, User};

/// Refuses an address of another domain than the one that is allowed.
pub(super) fn check_domain(assertion: &Assertion) -> Result<(), Denial> {
    let Some(allowed) = &assertion.rules.allowed_email_domain else { return Ok(()) };
    // Software differs in which of two signs it takes for the one before the domain.
    let domain = assertion.user_email.as_deref().and_then(|email| email.split_once('@'));
    if domain.is_some_and(|(name, domain)| !name.is_empty() && domain.eq_ignore_ascii_case(allowed)) {
        return Ok(());
    }
    let message = format!("only users with an address of {allowed} may call");
    Err(Denial { status: 403, ..Denial::new(ErrorType::AuthError, "user.email_domain", message).param("user_email") })
}

impl Resolver {
    /// The id of the user: as the directory knows it, else as it is claimed.
    pub(super) async fn user(&self, assertion: &Assertion, now: Timestamp) -> Result<Option<Arc<str>>, Denial> {
        let (id, email) = (assertion.user_id.clone(), assertion.user_email.clone());
        // An address is an id of its own only where it is one: no id of another user looks like it.
        let by_email = || email.clone().filter(|email| email.contains('@'));
        let Some(claimed) = id.clone().or_else(by_email) else { return Ok(None) };
        let name = Name::User { id, email };
        let known = match self.directory.id_of(&name).await {
            Ok(known) => known,
            Err(DirectoryError::Ambiguous { .. }) => {
                let message = "Authentication Error: the address of this credential is several users', or another's; an \
                               administrator must mend that";
                return Err(Denial::new(ErrorType::AuthError, "user.ambiguous", message).param("user_email"));
            }
            Err(error) => return Err(unavailable(&error)),
        };
        if known.is_none() && assertion.rules.user_upsert {
            let user = new_user(&self.user_defaults, &claimed, assertion.user_email.as_ref(), now);
            let audit = created("users", &claimed, &user, now);
            super::put(self.directory.store().put_user(&user, true, audit).await)?;
        }
        Ok(Some(known.unwrap_or(claimed)))
    }
}

/// A user as `default_internal_user_params` says; what is no attribute of a user there counts for nothing.
fn new_user(defaults: &Map<String, Value>, id: &Arc<str>, email: Option<&Arc<str>>, now: Timestamp) -> User {
    let attributes = Value::Object(defaults.clone());
    let user = serde_json::from_value(attributes).unwrap_or_else(|error| {
        tracing::warn!(%error, "default_internal_user_params cannot be read; a new user has none of it");
        User::default()
    });
    User { user_id: Arc::clone(id), user_email: email.cloned(), created_at: now, updated_at: now, ..user }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{AuthMethod, Money, Role};

    #[test]
    fn a_new_user_begins_with_the_defaults() {
        let defaults = json!({"user_role": "internal_user_viewer", "max_budget": 2.5, "models": ["m"], "teams": ["t"]});
        let user = new_user(defaults.as_object().unwrap(), &"ada".into(), None, Timestamp::millis(1));
        assert_eq!((&*user.user_id, user.user_role), ("ada", Some(Role::InternalUserViewer)));
        assert_eq!(user.limits.max_budget, Some(Money::nanos(2_500_000_000)));
        assert_eq!(user.models, ["m"]);
    }

    #[test]
    fn only_addresses_of_the_allowed_domain_pass() {
        let allowed = |email: Option<&str>| {
            let rules = crate::authn::Rules {
                allowed_email_domain: Some("example.com".to_owned()),
                ..crate::authn::Rules::default()
            };
            let mut assertion = Assertion::new(AuthMethod::Jwt);
            assertion.rules = Arc::new(rules);
            assertion.user_email = email.map(Arc::from);
            check_domain(&assertion).map_err(|denial| (denial.status, denial.param))
        };
        let refused = Err((403, Some("user_email".into())));
        for (email, expected) in [
            (Some("ada@example.com"), Ok(())),
            (Some("ada@EXAMPLE.com"), Ok(())),
            (Some("ada@sub.example.com"), refused.clone()),
            (Some("ada@example.com@evil.org"), refused.clone()),
            (Some("ada@evil.org@example.com"), refused.clone()),
            (Some("@example.com"), refused.clone()),
            (Some("example.com"), refused.clone()),
            (None, refused.clone()),
        ] {
            assert_eq!(allowed(email), expected, "{email:?}");
        }
    }
}
