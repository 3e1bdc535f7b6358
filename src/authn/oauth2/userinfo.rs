//! Userinfo (OpenID Connect Core 1.0, section 5.3) for opaque tokens: its answer is taken as the claims of a token.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::super::fetch::{Endpoint, Fetch};
use super::answers::{Answers, Lifetimes};
use super::mapping::{Good, Judged, until};
use super::refused;
use super::token_info::TokenInfo;
use crate::authn::Assertion;
use crate::domain::{Denial, Timestamp, Trace};

/// How long a refused token is remembered.
const NEGATIVE_TTL: Duration = Duration::from_secs(10);

/// What claims mean here; the assertion should keep none of them but in its grant. They never hold the token.
pub type ClaimsToAssertion = Arc<dyn Fn(Map<String, Value>) -> Result<Assertion, Denial> + Send + Sync>;

/// One userinfo endpoint and those of its answers that are still good.
pub struct Userinfo {
    endpoint: Arc<TokenInfo>,
    claims: ClaimsToAssertion,
    answers: Answers,
}

impl Userinfo {
    /// Answers are used for `ttl`, and never past an `exp` in them. A request takes at most `timeout`.
    ///
    /// # Errors
    /// The client for requests cannot be made.
    pub fn new(
        endpoint: Endpoint,
        timeout: Duration,
        ttl: Duration,
        claims: ClaimsToAssertion,
    ) -> Result<Self, String> {
        let answers =
            Answers::new(format!("userinfo at {endpoint}"), timeout, Lifetimes { good: ttl, bad: NEGATIVE_TTL });
        let endpoint = Arc::new(TokenInfo::new(Fetch::new(timeout)?, endpoint));
        Ok(Userinfo { endpoint, claims, answers })
    }

    /// Whose this token is.
    ///
    /// # Errors
    /// 401 where the endpoint refuses it, or what the mapping of claims says; 503 where it cannot be asked.
    pub async fn ask(&self, token: &str, now: Timestamp, trace: &mut Trace) -> Result<Arc<Assertion>, Denial> {
        let (endpoint, to_assertion) = (Arc::clone(&self.endpoint), Arc::clone(&self.claims));
        let asking = move |token| async move {
            let Some(claims) = endpoint.ask(&token).await? else { return Ok(Err(Box::new(refused()))) };
            let until = match until(&claims.members, now)? {
                Ok(until) => until,
                Err(denial) => return Ok(Judged::Err(denial)),
            };
            let bytes = claims.bytes;
            let assertion = to_assertion(claims.members).map_err(Box::new);
            Ok(assertion.map(|assertion| Good { assertion: Arc::new(assertion), until, bytes }))
        };
        self.answers.get(token, now, trace, asking).await
    }
}
