//! Opaque tokens of an issuer: what its userinfo endpoint says of the bearer is read like the claims of a signed token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::is_jwt_shaped;
use super::issuer::refused;
use super::mapping::Mapping;
use crate::authn::fetch::check_url;
use crate::authn::oauth2::Userinfo;
use crate::authn::{Ask, Assertion, Authenticator, Identified};
use crate::config::{General, Issuer};
use crate::domain::{AuthMethod, Denial, Trace};

/// Longest wait for the endpoint.
const TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub struct OpaqueTokens {
    userinfo: Userinfo,
}

impl OpaqueTokens {
    /// From the configuration; `None` where it is not enabled.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn of(general: &General) -> Result<Option<OpaqueTokens>, String> {
        let jwt = &general.litellm_jwtauth;
        let Some(endpoint) = jwt.oidc_userinfo_endpoint.as_ref().filter(|_| jwt.oidc_userinfo_enabled) else {
            return Ok(None);
        };
        let at = "general_settings.litellm_jwtauth";
        let endpoint = check_url(endpoint).map_err(|why| format!("{at}.oidc_userinfo_endpoint: {why}"))?;
        // An answer appoints no administrators: it is about who somebody is.
        let nobody = Issuer::default();
        let mapping = Mapping::new(jwt, &general.role_permissions, Some(&nobody));
        let mapping = mapping.map_err(|(option, why)| format!("{at}.{option}: {why}"))?;
        let issuer: Arc<str> = general.jwt_issuer.as_deref().unwrap_or_default().into();
        let read = Arc::new(move |claims: Map<String, Value>| {
            // OpenID Connect Core 1.0, section 5.3.2: `sub` is always there, and an error is no answer.
            if claims.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) || claims.contains_key("error") {
                return Err(refused("userinfo.no_subject", "the identity provider does not say whose token this is"));
            }
            let assertion = mapping.assertion(&issuer, claims)?;
            Ok(Assertion { method: AuthMethod::OAuth2, ..assertion })
        });
        let ttl = Duration::from_secs(jwt.oidc_userinfo_cache_ttl);
        Ok(Some(OpaqueTokens { userinfo: Userinfo::new(endpoint, TIMEOUT, ttl, read)? }))
    }
}

#[async_trait]
impl Authenticator for OpaqueTokens {
    fn name(&self) -> &'static str {
        "userinfo"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        let text = ask.secret();
        !text.is_empty() && !text.starts_with("sk-") && !is_jwt_shaped(text)
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        self.userinfo.ask(ask.secret(), ask.now, trace).await.map(Identified::Assertion)
    }
}
