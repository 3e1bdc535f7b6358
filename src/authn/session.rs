//! Sessions of users who have signed in: tokens that this gate has signed itself, each with a row of the directory that
//! can be revoked. What the user may do is read from the directory on each request; a token says only who.

mod issue;
mod keys;
mod origin;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;

use async_trait::async_trait;

pub use issue::{ChangedBy, Issued, NewSession, SessionError, Sessions};
pub use token::PREFIX;

use self::origin::Origins;
use self::token::Claims;
use super::jwt::Token;
use super::remembered::Remembered;
use super::virtual_key::unavailable;
use super::{Ask, Assertion, Authenticator, Identified, Named};
use crate::config;
use crate::directory::Directory;
use crate::domain::{AuthMethod, Denial, ErrorType, Trace, UserSession};
use crate::request::CredentialSource;

/// How long the signature of a token is not checked again, in seconds.
const REMEMBER_SECONDS: u64 = 300;

/// Knows the tokens of sessions.
pub struct SessionTokens {
    directory: Arc<Directory>,
    audience: String,
    origins: Origins,
    remembered: Remembered<Known>,
}

/// A token whose signature is good.
struct Known {
    claims: Claims,
    assertion: Arc<Assertion>,
}

impl SessionTokens {
    #[must_use]
    pub fn new(config: &config::Session, directory: Arc<Directory>) -> Self {
        SessionTokens {
            directory,
            audience: config.audience.clone(),
            origins: Origins::new(&config.allowed_origins),
            remembered: Remembered::new(REMEMBER_SECONDS),
        }
    }

    /// Checks signature, audience and expiry.
    async fn verify(&self, text: &str, ask: &Ask<'_>) -> Result<Known, Denial> {
        let text = text.strip_prefix(PREFIX).unwrap_or_default();
        let token = Token::read(text).map_err(|error| refused("session.malformed", error.to_string()))?;
        let kid = token::key_name(&token).ok_or_else(not_ours)?;
        let key = self.directory.session_key(kid).await.map_err(|error| unavailable(&error))?;
        let key = key.as_ref().and_then(keys::public).ok_or_else(|| {
            refused("session.unknown_key", "the session token is signed by a key that is not in force; sign in again")
        })?;
        let claims = Claims::verified(&token, &key, &self.audience, ask.now)?;
        let mut assertion = Assertion::new(AuthMethod::Session);
        assertion.user_id = Some(Arc::clone(&claims.user_id));
        assertion.teams.one = claims.team_id.clone().map(Named::Id);
        Ok(Known { claims, assertion: Arc::new(assertion) })
    }

    /// The row of a token, which must say what the token says, and that it was not revoked.
    async fn live(&self, claims: &Claims, ask: &Ask<'_>) -> Result<Arc<UserSession>, Denial> {
        let found = self.directory.session(&claims.sid, ask.now).await.map_err(|error| unavailable(&error))?;
        let session = found.filter(|session| claims.are_of(session)).ok_or_else(|| {
            refused("session.unknown", "the session has ended: its user or its key is gone; sign in again")
        })?;
        if session.revoked_at.is_some() {
            return Err(refused("session.revoked", "the session was revoked; sign in again"));
        }
        if !session.is_live(ask.now) {
            return Err(token::expired());
        }
        Ok(session)
    }

    /// A team counts as long as the user is in it.
    async fn check_team(&self, session: &UserSession) -> Result<(), Denial> {
        let Some(team_id) = &session.team_id else { return Ok(()) };
        let teams = self.directory.memberships(&session.user_id).await.map_err(|error| unavailable(&error))?;
        if teams.iter().any(|member| member.team_id == *team_id) {
            return Ok(());
        }
        Err(refused("session.team", "the user of the session is no longer in its team; sign in again"))
    }
}

#[async_trait]
impl Authenticator for SessionTokens {
    fn name(&self) -> &'static str {
        "session"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        ask.secret().starts_with(PREFIX)
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        let is_cookie = |source: &CredentialSource<'_>| matches!(source, CredentialSource::Cookie(_));
        if ask.credential().is_some_and(|credential| is_cookie(&credential.source)) {
            self.origins.admit(ask.view)?;
        }
        let known = match self.remembered.get(ask.secret(), ask.now) {
            Some(known) => {
                trace.step("session", "verified before");
                known
            }
            None => {
                let known = self.verify(ask.secret(), ask).await?;
                let expires = known.claims.expires_at;
                self.remembered.insert(ask.secret(), known, ask.now, expires)
            }
        };
        let session = self.live(&known.found.claims, ask).await?;
        self.check_team(&session).await?;
        trace.step("session", format_args!("{} of {}", session.sid, session.user_id));
        Ok(Identified::Assertion(Arc::clone(&known.found.assertion)))
    }
}

fn refused(reason: &'static str, message: impl std::fmt::Display) -> Denial {
    Denial::new(ErrorType::AuthError, reason, format!("Authentication Error: {message}"))
}

fn not_ours() -> Denial {
    refused("session.malformed", "this is no session token of this gateway")
}
