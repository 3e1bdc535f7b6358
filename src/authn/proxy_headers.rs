//! Identity headers of a trusted proxy (`enable_oauth2_proxy_auth`). They are believed only where the peer of Envoy's own
//! connection is a listed proxy, by address or by certificate: no header tells who the peer is. Whoever else sends one is
//! refused, whatever credential comes with it, and none reaches the upstream.

mod names;
mod values;

use std::sync::Arc;

use async_trait::async_trait;

pub use names::IdentityHeaders;

use super::assertion::{Assertion, Named, RoleClaim, TeamClaim};
use super::{Ask, Authenticator, Identified};
use crate::config::{AddressList, General};
use crate::domain::{AuthMethod, Denial, ErrorType, Grant, PeerPattern, Trace};
use crate::request::HttpRequest;
use values::Told;

/// See the module.
#[derive(Debug)]
pub struct ProxyHeaders {
    headers: Arc<IdentityHeaders>,
    ranges: AddressList,
    principals: Vec<PeerPattern>,
}

impl ProxyHeaders {
    /// `None` where no proxy is trusted to say who calls.
    ///
    /// # Errors
    /// What cannot be read of the lists of proxies.
    pub fn new(general: &General) -> Result<Option<Self>, String> {
        if !general.enable_oauth2_proxy_auth {
            return Ok(None);
        }
        let principals = general.trusted_proxy_principals.iter().map(|text| PeerPattern::parse(text));
        Ok(Some(ProxyHeaders {
            headers: Arc::new(IdentityHeaders::of(&general.oauth2_config_mappings)),
            ranges: AddressList::parse(&general.trusted_proxy_ranges).map_err(|error| error.to_string())?,
            principals: principals.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        }))
    }

    /// The headers it reads, to be kept from the upstream.
    #[must_use]
    pub fn headers(&self) -> Arc<IdentityHeaders> {
        Arc::clone(&self.headers)
    }

    /// Whether the peer is a proxy that may say who calls: by the address or the certificate of its connection.
    fn trusts(&self, http: &HttpRequest<'_>) -> bool {
        let principal = http.source_principal;
        http.source.is_some_and(|peer| self.ranges.contains(peer))
            || (!principal.is_empty() && self.principals.iter().any(|pattern| pattern.fits(principal)))
    }
}

#[async_trait]
impl Authenticator for ProxyHeaders {
    fn name(&self) -> &'static str {
        "trusted_proxy"
    }

    /// Of a trusted proxy a header without a value says nothing; of anyone else its name alone is refused.
    fn knows(&self, ask: &Ask<'_>) -> bool {
        let http = ask.view.http;
        let mut found = http.headers.0.iter().filter(|(name, _)| self.headers.holds(name)).peekable();
        found.peek().is_some() && (!self.trusts(http) || found.any(|(_, value)| !value.trim_ascii().is_empty()))
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        let http = ask.view.http;
        if !self.trusts(http) {
            let name = http.headers.0.iter().map(|(name, _)| *name).find(|name| self.headers.holds(name));
            let message = format!(
                "Authentication Error: the header {} says who calls, and the peer is no proxy that may; do not send it",
                name.unwrap_or_default()
            );
            return Err(Denial::new(ErrorType::AuthError, "credential.untrusted_identity_header", message));
        }
        let told = values::read(&self.headers, &http.headers, trace).map_err(|fault| {
            let message = format!("Authentication Error: {fault}");
            Denial::new(ErrorType::AuthError, "credential.identity_header", message)
        })?;
        Ok(Identified::Assertion(Arc::new(assertion(&told))))
    }
}

fn assertion(told: &Told<'_>) -> Assertion {
    let owned = |text: Option<&str>| text.map(Arc::from);
    let team = owned(told.team_id).map(Named::Id).or_else(|| owned(told.team_alias).map(Named::Alias));
    let grant = Grant {
        models: told.models.iter().map(|models| models.iter().map(|&model| model.to_owned()).collect()).collect(),
        max_budget: told.max_budget,
        ..Grant::default()
    };
    Assertion {
        user_id: owned(told.user_id),
        user_email: owned(told.user_email),
        role: told.role.map_or(RoleClaim::None, RoleClaim::AtMost),
        teams: TeamClaim { one: team, ..TeamClaim::default() },
        organization: owned(told.org_id).map(Named::Id),
        grant: (grant != Grant::default()).then(|| Arc::new(grant)),
        ..Assertion::new(AuthMethod::TrustedProxy)
    }
}

#[cfg(test)]
mod tests;
