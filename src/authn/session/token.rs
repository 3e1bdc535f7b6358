//! The token of a session: `tollward_session_` and a JWS in its compact form (RFC 7515, section 7.1). The prefix tells it
//! from every other credential, and its `typ` from the tokens of every issuer (RFC 8725, section 3.11).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::keys::SigningKey;
use super::{not_ours, refused};
use crate::authn::jwt::{Algorithm, PublicKey, Token};
use crate::domain::{Denial, ErrorType, Secret, Timestamp, UserSession};

/// What every session token begins with.
pub const PREFIX: &str = "tollward_session_";
/// The media type of the JWS, which no issuer's token has.
const TYP: &str = "tollward-session+jwt";
const ISSUER: &str = "tollward";

/// What a verified token says.
#[derive(Debug)]
pub(super) struct Claims {
    pub sid: Arc<str>,
    pub user_id: Arc<str>,
    pub team_id: Option<Arc<str>>,
    pub kid: Arc<str>,
    pub expires_at: Timestamp,
}

impl Claims {
    /// The claims of a token that this key has signed for this audience, and that has not expired.
    pub(super) fn verified(
        token: &Token<'_>,
        key: &PublicKey,
        audience: &str,
        now: Timestamp,
    ) -> Result<Claims, Denial> {
        if !token.is_signed_by(key) {
            return Err(refused("session.signature", "the signature of the session token is wrong"));
        }
        let claims = token.claims().map_err(|_| not_ours())?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(ISSUER) {
            return Err(not_ours());
        }
        if text("aud") != Some(audience) {
            return Err(refused("session.audience", "the session token is for another audience"));
        }
        let expires_at = claims.get("exp").and_then(Value::as_i64).and_then(|seconds| seconds.checked_mul(1_000));
        let expires_at = Timestamp::millis(expires_at.ok_or_else(not_ours)?);
        if now >= expires_at {
            return Err(expired());
        }
        let (sid, user_id) = text("sid").zip(text("sub")).ok_or_else(not_ours)?;
        let (sid, user_id) = (Arc::from(sid), Arc::from(user_id));
        let kid = Arc::from(key.kid().ok_or_else(not_ours)?);
        Ok(Claims { sid, user_id, team_id: text("team").map(Arc::from), kid, expires_at })
    }

    /// Whether the row is this token's.
    pub(super) fn are_of(&self, session: &UserSession) -> bool {
        (&self.sid, &self.user_id, &self.team_id, &self.kid)
            == (&session.sid, &session.user_id, &session.team_id, &session.kid)
    }
}

/// The name of the key a token of ours is signed with; `None` where it is none of ours.
pub(super) fn key_name<'t>(token: &'t Token<'_>) -> Option<&'t str> {
    let is_ours = token.typ() == Some(TYP) && token.algorithm() == Algorithm::EdDsa;
    token.kid().filter(|_| is_ours)
}

/// The token of a session. Times in it are whole seconds (RFC 7519, section 2), as those of the row are.
pub(super) fn write(session: &UserSession, audience: &str, key: &SigningKey) -> Secret {
    let seconds = |at: Timestamp| at.as_millis().div_euclid(1_000);
    let header = json!({"alg": Algorithm::EdDsa.name(), "typ": TYP, "kid": session.kid});
    let mut claims = json!({
        "iss": ISSUER,
        "aud": audience,
        "sub": session.user_id,
        "sid": session.sid,
        "iat": seconds(session.issued_at),
        "exp": seconds(session.expires_at),
    });
    if let Some(team_id) = &session.team_id {
        claims["team"] = json!(team_id);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    Secret::new(format!("{PREFIX}{signed}.{signature}"))
}

pub(super) fn expired() -> Denial {
    Denial::new(ErrorType::ExpiredKey, "session.expired", "the session has expired; sign in again")
}

/// The id of the session that a token names, for those who revoke it: whoever signed it, and whether or not it is good.
pub(super) fn named(text: &str) -> Option<Arc<str>> {
    let token = Token::read(text.strip_prefix(PREFIX)?).ok()?;
    token.claims().ok()?.get("sid")?.as_str().map(Arc::from)
}
