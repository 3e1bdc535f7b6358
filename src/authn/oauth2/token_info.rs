//! An endpoint that tells whose token it is shown (RFC 6750, section 2.1): token info, and userinfo of OpenID Connect
//! Core 1.0, section 5.3.

use serde_json::Value;

use super::super::fetch::{Answer, Endpoint, Fetch};
use super::claims::Claims;
use super::failure::Failure;
use crate::domain::Secret;

pub(super) struct TokenInfo {
    fetch: Fetch,
    endpoint: Endpoint,
}

impl TokenInfo {
    pub fn new(fetch: Fetch, endpoint: Endpoint) -> TokenInfo {
        TokenInfo { fetch, endpoint }
    }

    /// What is said of the token; `None` where it is no good. `active` need not be there, and counts where it is.
    pub async fn ask(&self, token: &Secret) -> Result<Option<Claims>, Failure> {
        let authorization = Secret::new(format!("Bearer {}", token.expose()));
        let answer = self.fetch.get(&self.endpoint, &[("authorization", authorization.expose())]).await?;
        match answer.status {
            200..=299 => {
                let claims = Claims::read(&answer, token)?;
                let is_active = claims.members.get("active").is_none_or(|active| *active == Value::Bool(true));
                Ok(Some(claims).filter(|_| is_active))
            }
            401 | 403 => Ok(None),
            400 if is_invalid_token(&answer, token) => Ok(None),
            status => Err(Failure::Status(status)),
        }
    }
}

/// Some servers refuse a token with 400, and say so (the error code of RFC 6750, section 3.1).
fn is_invalid_token(answer: &Answer, token: &Secret) -> bool {
    let claims = Claims::read(answer, token);
    claims.is_ok_and(|claims| claims.members.get("error").and_then(Value::as_str) == Some("invalid_token"))
}
