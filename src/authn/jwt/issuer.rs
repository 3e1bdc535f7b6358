//! Issuers: whose tokens are taken, by which keys they are verified, and what they must be for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::mapping::Mapping;
use super::{Algorithm, KeyError, KeySettings, KeySources, PublicKey, Token, TokenError};
use crate::authn::claims;
use crate::authn::kept::Kept;
use crate::config::{self, General, JwtAuth};
use crate::domain::{Denial, ErrorType, Timestamp, Trace};

/// See the module.
pub struct Issuer {
    /// The `iss` that is demanded.
    name: Option<Arc<str>>,
    keys: Arc<KeySources>,
    /// One of them must be in `aud`; `None` where any will do.
    audience: Option<Vec<String>>,
    algorithms: Vec<Algorithm>,
    leeway: Duration,
    /// The `signer` that the header must name (load balancers of AWS).
    signer: Option<String>,
    pub(super) mapping: Mapping,
}

/// A token that was verified.
pub(super) struct Verified {
    pub claims: Map<String, Value>,
    pub key: Arc<PublicKey>,
    /// From then on it is refused.
    pub expires: Timestamp,
}

impl Issuer {
    /// One of `issuers`.
    pub(super) fn of(
        issuer: &config::Issuer,
        general: &General,
        kept: &Kept,
        signer: Option<String>,
    ) -> Result<Issuer, String> {
        let jwt = &general.litellm_jwtauth;
        let place = issuer
            .public_key
            .clone()
            .or_else(|| issuer.jwks_url.clone())
            .unwrap_or_else(|| format!("{}/.well-known/openid-configuration", issuer.issuer.trim_end_matches('/')));
        let name = Some(issuer.issuer.as_str()).filter(|name| !name.is_empty());
        let names = if issuer.algorithms.is_empty() { &jwt.algorithms } else { &issuer.algorithms };
        Ok(Issuer {
            name: name.map(Arc::from),
            keys: kept.keys(&[place], name, &settings(jwt))?,
            audience: (!issuer.disable_audience_validation).then(|| issuer.audience.0.clone()),
            algorithms: algorithms(names)?,
            leeway: Duration::from_secs(jwt.leeway),
            signer,
            mapping: mapping(jwt, general, Some(issuer))?,
        })
    }

    /// The issuers that have no entry of their own, where `jwt_public_key_url` says where their keys are.
    pub(super) fn others(general: &General, kept: &Kept) -> Result<Option<Issuer>, String> {
        let Some(urls) = &general.jwt_public_key_url else { return Ok(None) };
        let jwt = &general.litellm_jwtauth;
        let is_list = !urls.trim_start().starts_with("-----BEGIN") && !urls.trim_start().starts_with('{');
        let places: Vec<String> = if is_list {
            urls.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect()
        } else {
            vec![urls.clone()]
        };
        let audience = general.jwt_audience.0.clone();
        Ok(Some(Issuer {
            name: general.jwt_issuer.as_deref().map(Arc::from),
            keys: kept.keys(&places, general.jwt_issuer.as_deref(), &settings(jwt))?,
            audience: if audience.is_empty() && jwt.disable_audience_validation { None } else { Some(audience) },
            algorithms: algorithms(&jwt.algorithms)?,
            leeway: Duration::from_secs(jwt.leeway),
            signer: None,
            mapping: mapping(jwt, general, None)?,
        }))
    }

    pub(super) fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Whether a token that this key has verified needs no new verification.
    pub(super) fn is_current(&self, key: &PublicKey) -> bool {
        self.keys.is_current(key)
    }

    /// Verifies a token: its signature first, then whom it is from and for, and when it holds (RFC 7519, section 7.2).
    pub(super) async fn verify(&self, token: Token<'_>, now: Timestamp, trace: &mut Trace) -> Result<Verified, Denial> {
        let algorithm = token.algorithm();
        if !self.algorithms.contains(&algorithm) {
            return Err(refused("jwt.algorithm", "the algorithm of the token is not allowed"));
        }
        if self
            .signer
            .as_deref()
            .is_some_and(|signer| token.header().get("signer").and_then(Value::as_str) != Some(signer))
        {
            return Err(refused("jwt.signer", "the token was signed by another load balancer"));
        }
        let key = match self.keys.key(token.kid(), algorithm).await {
            Ok(key) => key,
            Err(KeyError::Unknown(why)) => return Err(refused("jwt.kid", why)),
            Err(KeyError::Unavailable) => return Err(unavailable()),
        };
        if !token.is_signed_by(&key) {
            return Err(refused("jwt.signature", "the signature of the token does not hold"));
        }
        trace.step(
            "jwt",
            format_args!("the signature holds: {algorithm}, key {:?}", key.kid().unwrap_or("without a name")),
        );
        let claims = token.into_claims().map_err(unreadable)?;
        if let Some(name) = &self.name
            && claims.get("iss").and_then(Value::as_str) != Some(name)
        {
            return Err(refused("jwt.issuer", "the token is from another issuer"));
        }
        if let Some(audience) = &self.audience {
            let named = claims.get("aud").map(claims::list).unwrap_or_default();
            if !named.iter().any(|aud| audience.iter().any(|own| own == aud)) {
                return Err(refused("jwt.audience", "the token is for another audience"));
            }
        }
        let expires = self.times(&claims, now)?;
        Ok(Verified { claims, key, expires })
    }

    /// `exp`, which must be there, `nbf` and `iat`; answers when the token ends.
    fn times(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Denial> {
        let leeway = i64::try_from(self.leeway.as_millis()).unwrap_or(i64::MAX);
        let moment = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => moment(value)
                .map(Some)
                .ok_or_else(|| refused("jwt.time", "a time in the token is no number of seconds since 1970")),
        };
        let Some(exp) = moment("exp")? else {
            return Err(refused("jwt.exp", "the token never expires (exp is missing), and such ones are not taken"));
        };
        let expires = exp.plus_millis(leeway);
        if now >= expires {
            let message = "Authentication Error: Token Expired; get a new one";
            return Err(Denial::new(ErrorType::ExpiredKey, "jwt.expired", message));
        }
        let latest = now.plus_millis(leeway);
        if moment("nbf")?.is_some_and(|nbf| nbf > latest) || moment("iat")?.is_some_and(|iat| iat > latest) {
            return Err(refused("jwt.not_yet", "the token is not valid yet"));
        }
        Ok(expires)
    }
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, perhaps with a fraction.
fn moment(value: &Value) -> Option<Timestamp> {
    let number = value.as_number()?;
    if let Some(seconds) = number.as_i64() {
        return seconds.checked_mul(1_000).map(Timestamp::millis);
    }
    let millis = number.as_f64()? * 1_000.0;
    // A float turned into an integer saturates; what is out of all bounds is refused before.
    #[allow(clippy::cast_possible_truncation)]
    (millis.abs() < 9e15).then(|| Timestamp::millis(millis as i64))
}

fn mapping(jwt: &JwtAuth, general: &General, issuer: Option<&config::Issuer>) -> Result<Mapping, String> {
    Mapping::new(jwt, &general.role_permissions, issuer).map_err(|(option, why)| format!("{option}: {why}"))
}

fn settings(jwt: &JwtAuth) -> KeySettings {
    KeySettings {
        ttl: Duration::from_secs(jwt.public_key_ttl),
        stale_ttl: Duration::from_secs(jwt.public_key_stale_ttl),
        ..KeySettings::default()
    }
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, String> {
    let read = |name: &String| Algorithm::parse(name).ok_or_else(|| format!("the algorithm {name} is not supported"));
    names.iter().map(read).collect()
}

/// 401: the fault of the token.
pub(super) fn refused(reason: &'static str, why: impl std::fmt::Display) -> Denial {
    Denial::new(ErrorType::AuthError, reason, format!("Authentication Error: {why}"))
}

pub(super) fn unreadable(error: TokenError) -> Denial {
    refused("jwt.malformed", error)
}

/// 503: it cannot be said whether the token is good.
fn unavailable() -> Denial {
    let message = "the keys of the identity provider cannot be fetched; try again in a moment";
    let denial = Denial::new(ErrorType::AuthProviderUnavailable, "jwt.keys_unavailable", message);
    Denial { retry_after: Some(Duration::from_secs(1)), ..denial }
}
