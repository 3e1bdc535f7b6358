//! OAuth2: tokens that only their authorization server can read. It is asked once about each, by introspection
//! (RFC 7662) or at an endpoint of token info, and its answer is used until it ends. A server that cannot be asked is
//! never a bad token: 503.

mod answers;
mod claims;
mod client;
mod failure;
mod introspection;
mod mapping;
mod options;
mod signer;
mod token_info;
mod userinfo;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

pub use userinfo::{ClaimsToAssertion, Userinfo};

use self::answers::{Answers, Lifetimes};
use self::introspection::Introspection;
use self::mapping::Mapping;
use self::options::Options;
use self::token_info::TokenInfo;
use super::jwt::{Overrides, is_jwt_shaped};
use super::{Ask, Assertion, Authenticator, Identified, Kept};
use crate::config::{General, OAuthMode};
use crate::domain::{Denial, ErrorType, Timestamp, Trace};

/// Knows what is neither a key of ours nor, where JWTs are read here, one of them.
pub struct OAuth2 {
    server: Arc<Server>,
    /// Where JWTs are read here they are left to that, but for those that these choose.
    leaves_jwts: Option<Overrides>,
}

impl OAuth2 {
    /// From the configuration; `None` where it is not enabled. Where JWTs are read here, what is shaped like one is not
    /// asked about unless `routing_overrides` say so. Answers of an earlier configuration stay where this one asks the same.
    ///
    /// # Errors
    /// A setting that cannot be used, by its name.
    pub fn of(general: &General, kept: &Kept) -> Result<Option<OAuth2>, String> {
        if !general.enable_oauth2_auth {
            return Ok(None);
        }
        let server = kept.oauth2.with(Options::of(general)?)?;
        let overrides = || Overrides::new(&general.litellm_jwtauth.routing_overrides);
        Ok(Some(OAuth2 { server, leaves_jwts: general.enable_jwt_auth.then(overrides) }))
    }

    /// Whose this token is, whatever its shape.
    ///
    /// # Errors
    /// 401 or 403 where the server says no, or says what is not enough; 503 where it cannot be asked.
    pub async fn ask(&self, token: &str, now: Timestamp, trace: &mut Trace) -> Result<Arc<Assertion>, Denial> {
        let server = &self.server;
        let asked = Arc::clone(server);
        let asking = move |token| async move {
            let said = match &asked.source {
                Source::Introspection(introspection) => introspection.ask(&token).await?,
                Source::TokenInfo(endpoint) => endpoint.ask(&token).await?,
            };
            match said {
                Some(claims) => asked.mapping.judge(claims, now),
                None => Ok(Err(Box::new(refused()))),
            }
        };
        let assertion = server.answers.get(token, now, trace, asking).await?;
        server.mapping.explain(&assertion, trace);
        Ok(assertion)
    }
}

#[async_trait]
impl Authenticator for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        let secret = ask.secret();
        let is_left = |overrides: &Overrides| is_jwt_shaped(secret) && !overrides.matches(secret);
        !secret.is_empty() && !secret.starts_with("sk-") && !self.leaves_jwts.as_ref().is_some_and(is_left)
    }

    fn at_hand(&self, ask: &Ask<'_>) -> Option<Identified> {
        self.server.answers.at_hand(ask.secret(), ask.now).map(Identified::Assertion)
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        self.ask(ask.secret(), ask.now, trace).await.map(Identified::Assertion)
    }
}

/// An authorization server, what its answers mean here, and those that are still good.
struct Server {
    options: Options,
    source: Source,
    mapping: Mapping,
    answers: Answers,
}

enum Source {
    Introspection(Introspection),
    TokenInfo(TokenInfo),
}

impl Server {
    fn new(options: Options) -> Result<Server, String> {
        let fetch = super::fetch::Fetch::new(options.timeout)?;
        let (source, name) = match options.mode {
            OAuthMode::Introspection => (Source::Introspection(Introspection::new(fetch, &options)?), "introspection"),
            OAuthMode::TokenInfo => (Source::TokenInfo(TokenInfo::new(fetch, options.endpoint.clone())), "token info"),
        };
        let mapping = Mapping::new(&options);
        let lifetimes = Lifetimes { good: options.cache_ttl, bad: options.negative_ttl };
        let answers = Answers::new(format!("{name} at {}", options.endpoint), options.timeout, lifetimes);
        Ok(Server { options, source, mapping, answers })
    }
}

/// The server of the configuration in force.
#[derive(Default)]
pub(super) struct KeptServer(Mutex<Option<Arc<Server>>>);

impl KeptServer {
    /// The one there is where nothing of the options changed, else a new one.
    fn with(&self, options: Options) -> Result<Arc<Server>, String> {
        let mut kept = self.0.lock();
        if let Some(server) = kept.as_ref().filter(|server| server.options == options) {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(Server::new(options)?);
        *kept = Some(Arc::clone(&server));
        Ok(server)
    }
}

/// The server does not know the token, or knows that it is over.
fn refused() -> Denial {
    Denial::new(
        ErrorType::AuthError,
        "credential.inactive_token",
        "Authentication Error: the identity provider does not accept this token; get a new one",
    )
}

#[cfg(test)]
mod tests;
