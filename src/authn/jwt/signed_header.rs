//! Tokens that a proxy puts into a header of its own, signed: Google's Identity-Aware Proxy, load balancers of AWS,
//! Cloudflare Access. They need no trust in the network, for a client cannot sign.

use std::sync::Arc;

use async_trait::async_trait;

use super::Token;
use super::authenticator::{Known, verify};
use super::issuer::{Issuer, refused, unreadable};
use crate::authn::kept::Kept;
use crate::authn::remembered::Remembered;
use crate::authn::{Ask, Authenticator, Identified};
use crate::config::{self, General, JwtAuth, SignedHeader, SignedHeaderKind};
use crate::domain::{Denial, Trace};

/// One such header.
pub struct SignedHeaders {
    header: String,
    issuer: Arc<Issuer>,
    remembered: Remembered<Known>,
    /// Load balancers of AWS pad what they encode.
    padded: bool,
}

impl SignedHeaders {
    /// One for each header of the configuration.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn of(list: &[SignedHeader], general: &General, kept: &Kept) -> Result<Vec<SignedHeaders>, String> {
        let one = |(index, entry): (usize, &SignedHeader)| {
            SignedHeaders::new(entry, &general.litellm_jwtauth, kept)
                .map_err(|why| format!("identity.signed_headers[{index}]: {why}"))
        };
        list.iter().enumerate().map(one).collect()
    }

    fn new(entry: &SignedHeader, jwt: &JwtAuth, kept: &Kept) -> Result<SignedHeaders, String> {
        let issuer = config::Issuer {
            issuer: entry.issuer().unwrap_or_default(),
            jwks_url: entry.keys(),
            audience: entry.audience.clone(),
            disable_audience_validation: entry.disable_audience_validation || entry.kind == SignedHeaderKind::AwsAlb,
            user_id_jwt_field: Some(entry.user_id_jwt_field.clone().unwrap_or_else(|| "sub".to_owned())),
            user_email_jwt_field: Some(entry.user_email_jwt_field.clone().unwrap_or_else(|| "email".to_owned())),
            team_id_jwt_field: entry.team_id_jwt_field.clone(),
            team_ids_jwt_field: entry.team_ids_jwt_field.clone(),
            ..config::Issuer::default()
        };
        // No scope, no role and no claim but those of the entry means anything here.
        let options = JwtAuth {
            admin_jwt_scope: String::new(),
            user_id_upsert: entry.user_id_upsert,
            user_allowed_email_domain: entry.user_allowed_email_domain.clone(),
            public_key_ttl: jwt.public_key_ttl,
            public_key_stale_ttl: jwt.public_key_stale_ttl,
            leeway: jwt.leeway,
            ..JwtAuth::default()
        };
        let general = General { litellm_jwtauth: options, ..General::default() };
        Ok(SignedHeaders {
            header: entry.name().unwrap_or_default(),
            issuer: Arc::new(Issuer::of(&issuer, &general, kept, entry.signer.clone())?),
            remembered: Remembered::new(jwt.token_cache_ttl),
            padded: entry.kind == SignedHeaderKind::AwsAlb,
        })
    }

    /// The name of the header, which is kept from the upstream.
    #[must_use]
    pub fn header(&self) -> &str {
        &self.header
    }
}

#[async_trait]
impl Authenticator for SignedHeaders {
    fn name(&self) -> &'static str {
        "signed_header"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        ask.view.http.headers.get(&self.header).is_some()
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        let mut values = ask.view.http.headers.all(&self.header);
        let (Some(first), None) = (values.next(), values.next()) else {
            return Err(refused("jwt.header", format_args!("the header {} stands there more than once", self.header)));
        };
        let text = std::str::from_utf8(first.trim_ascii())
            .map_err(|_| refused("jwt.header", format_args!("the header {} cannot be read", self.header)))?;
        trace.step("credential", format_args!("signed in the header {}", self.header));
        let known = self.remembered.get(text, ask.now);
        if let Some(known) = known.filter(|known| known.found.is_current()) {
            trace.step("jwt", "verified before");
            return Ok(Identified::Assertion(known.found.assertion()));
        }
        let read = if self.padded { Token::read_padded(text) } else { Token::read(text) };
        let token = read.map_err(unreadable)?;
        verify(&self.issuer, token, text, &self.remembered, ask.now, trace).await.map(Identified::Assertion)
    }
}
