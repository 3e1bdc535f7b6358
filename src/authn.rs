//! Who calls. A credential that a request shows is judged by the one authenticator whose kind it is, and its word is
//! final: what it refuses never falls through to another. What stands around a request (a proxy's identity headers, the
//! peer's certificate) is judged besides, and must name nobody else.
//!
//! The order: the master key and sessions, another authoriser (`custom_auth`), the credential by its shape, then what stands around
//! the request. All end in the same [`Caller`]. By shape: `sk-…` is a key of ours, three parts with dots between are a
//! JWT where JWTs are read, and all else is a token that an OAuth2 server is asked about, where one is.

pub mod assertion;
mod breaker;
pub mod claims;
pub mod custom;
mod digests;
pub mod fetch;
pub mod jwt;
mod kept;
pub mod master_key;
pub mod mtls;
pub mod oauth2;
mod outage;
pub mod proxy_headers;
mod remembered;
mod resolve;
pub mod session;
mod settled;
#[cfg(test)]
pub(crate) mod testing;
pub mod virtual_key;

use std::sync::Arc;

use async_trait::async_trait;

pub use assertion::{Assertion, Named, RoleClaim, Rules, TeamClaim};
pub use custom::Custom;
pub use jwt::{Jwt, OpaqueTokens, SignedHeaders};
pub use kept::Kept;
pub use master_key::MasterKey;
pub use mtls::Mtls;
pub use oauth2::OAuth2;
pub use proxy_headers::{IdentityHeaders, ProxyHeaders};
pub use resolve::Resolver;
pub use session::{SessionTokens, Sessions};
pub use virtual_key::VirtualKeys;

use crate::authz;
use crate::domain::{Caller, Denial, ErrorType, Secret, Timestamp, Trace};
use crate::request::{Credential, CredentialRead, RequestView};

/// What authenticators are shown.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub view: &'a RequestView<'a>,
    pub now: Timestamp,
}

impl<'a> Ask<'a> {
    /// The credential the request shows, where it can be read.
    #[must_use]
    pub fn credential(&self) -> Option<&'a Credential<'a>> {
        match &self.view.credential {
            CredentialRead::Found(credential) => Some(credential),
            CredentialRead::Missing | CredentialRead::Malformed { .. } => None,
        }
    }

    /// The text of the credential; empty where there is none.
    #[must_use]
    pub fn secret(&self) -> &'a str {
        self.credential().map_or("", |credential| &credential.secret)
    }
}

/// What an authenticator found.
#[derive(Debug)]
pub enum Identified {
    Caller(Caller),
    /// For the directory to resolve.
    Assertion(Arc<Assertion>),
}

/// Knows one kind of credential.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The name that explanations and metrics show.
    fn name(&self) -> &'static str;

    /// Whether what the request shows is of this kind. Cheap: asked of every authenticator, on every request.
    fn knows(&self, ask: &Ask<'_>) -> bool;

    /// Who calls, where that is known from before and needs no waiting. Asked only where [`Authenticator::knows`] says so.
    fn at_hand(&self, _ask: &Ask<'_>) -> Option<Identified> {
        None
    }

    /// Who calls. Asked only where [`Authenticator::knows`] says so; a refusal is final.
    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial>;
}

/// Every way to say who you are, in the order they are asked.
pub struct Authenticators {
    /// The operator is never locked out: no authoriser is asked about the master key. What stands around the request is
    /// judged for it too.
    pub master: Option<MasterKey>,
    /// An authoriser that is asked before all others.
    pub custom: Option<Custom>,
    /// Tokens of our own: nobody else is asked about them.
    pub session: Option<SessionTokens>,
    /// By the credential a request shows: the first that knows it.
    pub shown: Vec<Box<dyn Authenticator>>,
    /// By what stands around a request: all that know it, and they must agree.
    pub around: Vec<Box<dyn Authenticator>>,
    pub resolver: Resolver,
}

impl Authenticators {
    /// The caller of a request.
    ///
    /// # Errors
    /// 401 where nobody or two people are named, or a credential is bad; 503 where that cannot be told now.
    pub async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Caller, Denial> {
        let is_ours = || self.ours().any(|authenticator| authenticator.knows(ask));
        let custom = self.custom.as_ref().filter(|_| !is_ours());
        let Some(custom) = custom else { return self.by_gate(ask, trace).await };
        let unavailable = match custom.ask(ask, trace).await {
            Ok(Some(assertion)) => {
                let caller = self.resolver.resolve(&assertion, ask, trace).await?;
                trace.step("authn", format_args!("custom_auth knows it: role {}", caller.role.as_str()));
                return self.with_what_stands_around(Some(caller), ask, trace).await;
            }
            Ok(None) => None,
            Err(denial) if custom.is_final() => return Err(denial),
            Err(denial) => Some(denial).filter(Denial::is_infrastructure),
        };
        match (self.by_gate(ask, trace).await, unavailable) {
            // The authoriser might have known it: nobody can tell now.
            (Err(denial), Some(unavailable)) if denial.status == 401 => Err(unavailable),
            (found, _) => found,
        }
    }

    /// Those whose credentials are this gate's alone.
    fn ours(&self) -> impl Iterator<Item = &dyn Authenticator> {
        let master = self.master.iter().map(|master| master as &dyn Authenticator);
        master.chain(self.session.iter().map(|session| session as &dyn Authenticator))
    }

    /// The caller of a request, where its credential was seen before and nothing else says who calls: without waiting.
    /// Whoever is not at hand, or is to be explained, is asked for by [`Authenticators::authenticate`].
    #[must_use]
    pub fn at_hand(&self, ask: &Ask<'_>) -> Option<Caller> {
        let is_alone = self.custom.is_none() && !self.around.iter().any(|authenticator| authenticator.knows(ask));
        if !is_alone || ask.credential().is_none() {
            return None;
        }
        let mut all = self.ours().chain(self.shown.iter().map(|authenticator| &**authenticator));
        match all.find(|authenticator| authenticator.knows(ask))?.at_hand(ask)? {
            Identified::Caller(caller) => Some(caller),
            Identified::Assertion(assertion) => self.resolver.at_hand(&assertion, ask),
        }
    }

    /// The caller by the gate's own means.
    async fn by_gate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Caller, Denial> {
        let caller = self.by_credential(ask, trace).await?;
        self.with_what_stands_around(caller, ask, trace).await
    }

    async fn with_what_stands_around(
        &self,
        mut caller: Option<Caller>,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Caller, Denial> {
        for authenticator in &self.around {
            if !authenticator.knows(ask) {
                continue;
            }
            caller = self.besides(&**authenticator, caller, ask, trace).await?;
        }
        caller.ok_or_else(missing)
    }

    /// The caller with what stands around the request: the same user, held to the narrower of what both allow. What
    /// names nobody makes nobody a caller, and still narrows.
    async fn besides(
        &self,
        authenticator: &dyn Authenticator,
        caller: Option<Caller>,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Option<Caller>, Denial> {
        let found = self.identify(authenticator, ask, trace).await?;
        let assertion = match &found {
            Identified::Assertion(assertion) => Some(Arc::clone(assertion)),
            Identified::Caller(_) => None,
        };
        let narrow = |caller: Caller| match &assertion {
            Some(assertion) => self.resolver.narrow(caller, assertion),
            None => caller,
        };
        if assertion.as_ref().is_some_and(|assertion| !assertion.names_anyone()) {
            return Ok(caller.map(narrow));
        }
        let other = self.resolve(authenticator, found, ask, trace).await?;
        // Whoever stands behind a credential of nobody's must be in good standing too.
        authz::status(&other, ask.now)?;
        match caller {
            None => Ok(Some(other)),
            Some(caller) if agree(&caller, &other) => Ok(Some(narrow(caller))),
            Some(_) => Err(disagreement(authenticator.name())),
        }
    }

    async fn by_credential(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Option<Caller>, Denial> {
        match &ask.view.credential {
            CredentialRead::Found(credential) => {
                trace.step("credential", format_args!("found in {}", credential.source));
            }
            CredentialRead::Missing => return Ok(None),
            CredentialRead::Malformed { .. } => {
                return Err(Denial::new(
                    ErrorType::AuthError,
                    "credential.malformed",
                    "Authentication Error: malformed API key; send it as Authorization: Bearer sk-…",
                ));
            }
        }
        for authenticator in self.ours().chain(self.shown.iter().map(|authenticator| &**authenticator)) {
            if authenticator.knows(ask) {
                return self.ask(authenticator, ask, trace).await.map(Some);
            }
        }
        let shown = Secret::masked(ask.secret());
        Err(Denial::new(
            ErrorType::AuthError,
            "credential.unknown_kind",
            format!("Authentication Error: the credential {shown} is not a key of this gateway; keys begin with sk-"),
        ))
    }

    async fn ask(&self, authenticator: &dyn Authenticator, ask: &Ask<'_>, trace: &mut Trace) -> Result<Caller, Denial> {
        let found = self.identify(authenticator, ask, trace).await?;
        self.resolve(authenticator, found, ask, trace).await
    }

    async fn identify(
        &self,
        authenticator: &dyn Authenticator,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Identified, Denial> {
        let found = authenticator.authenticate(ask, trace).await;
        found.inspect_err(|_| trace.step("authn", format_args!("{} refuses it", authenticator.name())))
    }

    async fn resolve(
        &self,
        authenticator: &dyn Authenticator,
        found: Identified,
        ask: &Ask<'_>,
        trace: &mut Trace,
    ) -> Result<Caller, Denial> {
        let caller = match found {
            Identified::Caller(caller) => caller,
            Identified::Assertion(assertion) => self.resolver.resolve(&assertion, ask, trace).await?,
        };
        trace.step("authn", format_args!("{} knows it: role {}", authenticator.name(), caller.role.as_str()));
        Ok(caller)
    }
}

fn missing() -> Denial {
    Denial::new(
        ErrorType::AuthError,
        "credential.missing",
        "Authentication Error: no API key passed in; send Authorization: Bearer sk-…",
    )
}

/// Whether two callers can be one: they name no two users.
fn agree(one: &Caller, other: &Caller) -> bool {
    match (one.user_id(), other.user_id()) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

fn disagreement(name: &str) -> Denial {
    Denial::new(
        ErrorType::AuthError,
        "credential.disagree",
        format!("Authentication Error: the credential and {name} name different users; send one of them"),
    )
}
