//! Signed tokens as credentials: verified once, remembered by their hash, and worth what their claims say.

use std::sync::Arc;

use async_trait::async_trait;

use super::issuer::{Issuer, unreadable};
use super::overrides::Overrides;
use super::{PublicKey, Token, is_jwt_shaped};
use crate::authn::kept::Kept;
use crate::authn::remembered::Remembered;
use crate::authn::{Ask, Assertion, Authenticator, Identified};
use crate::config::General;
use crate::domain::{Denial, Timestamp, Trace};

/// See the module.
pub struct Jwt {
    issuers: Vec<Arc<Issuer>>,
    /// For tokens of issuers that are not among them.
    others: Option<Arc<Issuer>>,
    remembered: Remembered<Known>,
    overrides: Overrides,
}

/// What a token was found to be: that holds while its key is in force.
pub(super) struct Known {
    assertion: Arc<Assertion>,
    issuer: Arc<Issuer>,
    key: Arc<PublicKey>,
}

impl Jwt {
    /// The issuers of a configuration.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn new(general: &General, kept: &Kept) -> Result<Jwt, String> {
        let jwt = &general.litellm_jwtauth;
        let issuers = jwt.issuers.iter().map(|issuer| Issuer::of(issuer, general, kept, None).map(Arc::new));
        Ok(Jwt {
            issuers: issuers.collect::<Result<_, _>>()?,
            others: Issuer::others(general, kept)?.map(Arc::new),
            remembered: Remembered::new(jwt.token_cache_ttl),
            overrides: Overrides::new(&jwt.routing_overrides),
        })
    }

    /// The issuer whose token this claims to be.
    fn issuer(&self, token: &Token<'_>) -> Result<&Arc<Issuer>, Denial> {
        let named = token.unverified_issuer().map_err(unreadable)?;
        let listed = self.issuers.iter().find(|issuer| issuer.name().map(|name| &**name) == named);
        listed
            .filter(|_| named.is_some())
            .or(self.others.as_ref())
            .ok_or_else(|| super::issuer::refused("jwt.issuer", "the token is from an issuer that is not known here"))
    }

    async fn token(&self, text: &str, ask: &Ask<'_>, trace: &mut Trace) -> Result<Arc<Assertion>, Denial> {
        let known = self.remembered.get(text, ask.now);
        if let Some(known) = known.filter(|known| known.found.is_current()) {
            trace.step("jwt", "verified before");
            return Ok(known.found.assertion());
        }
        let token = Token::read(text).map_err(unreadable)?;
        let issuer = self.issuer(&token)?;
        verify(issuer, token, text, &self.remembered, ask.now, trace).await
    }
}

impl Known {
    pub(super) fn is_current(&self) -> bool {
        self.issuer.is_current(&self.key)
    }

    pub(super) fn assertion(&self) -> Arc<Assertion> {
        Arc::clone(&self.assertion)
    }
}

pub(super) async fn verify(
    issuer: &Arc<Issuer>,
    token: Token<'_>,
    text: &str,
    remembered: &Remembered<Known>,
    now: Timestamp,
    trace: &mut Trace,
) -> Result<Arc<Assertion>, Denial> {
    let verified = issuer.verify(token, now, trace).await?;
    issuer.mapping.explain(&verified.claims, trace);
    let name = issuer.name().cloned().or_else(|| verified.claims.get("iss")?.as_str().map(Arc::from));
    let assertion = Arc::new(issuer.mapping.assertion(&name.unwrap_or_default(), verified.claims)?);
    let known = Known { assertion: Arc::clone(&assertion), issuer: Arc::clone(issuer), key: verified.key };
    remembered.insert(text, known, now, verified.expires);
    Ok(assertion)
}

#[async_trait]
impl Authenticator for Jwt {
    fn name(&self) -> &'static str {
        "jwt"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        let text = ask.secret();
        is_jwt_shaped(text) && !text.starts_with("sk-") && !self.overrides.matches(text)
    }

    fn at_hand(&self, ask: &Ask<'_>) -> Option<Identified> {
        let known = self.remembered.get(ask.secret(), ask.now)?;
        known.found.is_current().then(|| Identified::Assertion(known.found.assertion()))
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        self.token(ask.secret(), ask, trace).await.map(Identified::Assertion)
    }
}
