//! What an answer means here: whether the token is good for this gate, and whom it names.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::claims::{ClaimPath, is_email_unverified, list, scalar, scopes};
use super::claims::Claims;
use super::failure::Failure;
use super::options::Options;
use crate::authn::{Assertion, Named, RoleClaim};
use crate::domain::{AuthMethod, Denial, ErrorType, Grant, Role, Timestamp, Trace};

/// A clock of the server's may be ahead of ours by this, in milliseconds, before a fresh token counts as one of the
/// future.
const NOT_BEFORE_LEEWAY: i64 = 30_000;

/// Members by which servers tell that an active token is none for access, and what they say then. A token bound to a
/// key (`DPoP`, RFC 9449) is no bearer token.
const OTHER_KINDS: [(&str, &[&str]); 3] = [
    ("token_type", &["dpop", "refresh_token"]),
    ("token_use", &["refresh_token", "refresh", "id"]),
    ("typ", &["refresh", "offline", "id"]),
];

/// Whom a good token names, and until when.
pub(super) struct Good {
    pub assertion: Arc<Assertion>,
    /// Its `exp`.
    pub until: Option<Timestamp>,
    /// What the answer was long.
    pub bytes: usize,
}

/// What is made of an answer: a denial where the token is good for the server and not for this gate.
pub(super) type Judged = Result<Good, Box<Denial>>;

pub(super) struct Mapping {
    user_id: ClaimPath,
    user_email: ClaimPath,
    user_role: ClaimPath,
    team_id: ClaimPath,
    organization_id: Option<ClaimPath>,
    audience: Vec<String>,
    required_scopes: Vec<String>,
    issuer: Option<String>,
}

impl Mapping {
    pub fn new(options: &Options) -> Mapping {
        Mapping {
            user_id: options.user_id.clone(),
            user_email: options.user_email.clone(),
            user_role: options.user_role.clone(),
            team_id: options.team_id.clone(),
            organization_id: options.organization_id.clone(),
            audience: options.audience.clone(),
            required_scopes: options.required_scopes.clone(),
            issuer: options.issuer.clone(),
        }
    }

    /// Judges what the server said of a token that it takes for good.
    ///
    /// # Errors
    /// The answer cannot be understood.
    pub fn judge(&self, claims: Claims, now: Timestamp) -> Result<Judged, Failure> {
        let until = match until(&claims.members, now)? {
            Ok(until) => until,
            Err(denial) => return Ok(Err(denial)),
        };
        let starts = time(&claims.members, "nbf")?;
        if starts.is_some_and(|starts| starts > now.plus_millis(NOT_BEFORE_LEEWAY)) {
            return Ok(Err(bad("credential.not_yet_valid", "the token is not valid yet")));
        }
        let bytes = claims.bytes;
        let assertion = self.check(&claims.members).and_then(|()| self.assertion(claims.members));
        Ok(assertion.map(|assertion| Good { assertion: Arc::new(assertion), until, bytes }))
    }

    /// That it is an access token of the issuer, for this gate, with the scopes it asks for.
    fn check(&self, claims: &Map<String, Value>) -> Result<(), Box<Denial>> {
        for (member, kinds) in OTHER_KINDS {
            let said = claims.get(member).and_then(Value::as_str).unwrap_or_default();
            if kinds.iter().any(|kind| said.eq_ignore_ascii_case(kind)) {
                return Err(bad("credential.no_access_token", "the token is not an access token of a bearer"));
            }
        }
        if claims.get("cnf").is_some_and(|confirmation| !confirmation.is_null()) {
            return Err(bad("credential.bound_token", "the token is bound to a key, which cannot be proved here"));
        }
        let issuer = claims.get("iss").and_then(Value::as_str);
        if self.issuer.is_some() && self.issuer.as_deref() != issuer {
            return Err(bad("credential.wrong_issuer", "the token is of another issuer"));
        }
        let audience = claims.get("aud").map(list).unwrap_or_default();
        if !self.audience.is_empty() && !audience.iter().any(|one| self.audience.iter().any(|ours| ours == one)) {
            return Err(bad("credential.wrong_audience", "the token is not meant for this gateway"));
        }
        let has = scopes(claims);
        if let Some(missing) = self.required_scopes.iter().find(|scope| !has.contains(&scope.as_str())) {
            let message = format!("the token lacks the scope {}", shown(missing));
            return Err(Box::new(Denial::new(ErrorType::PermissionDenied, "scope.missing", message).param("scope")));
        }
        Ok(())
    }

    fn assertion(&self, claims: Map<String, Value>) -> Result<Assertion, Box<Denial>> {
        let text = |path: &ClaimPath| path.get(&claims).and_then(scalar).map(Arc::<str>::from);
        let mut assertion = Assertion::new(AuthMethod::OAuth2);
        assertion.user_id = text(&self.user_id);
        assertion.user_email = text(&self.user_email).filter(|_| !is_email_unverified(&claims));
        assertion.teams.one = text(&self.team_id).map(Named::Id);
        assertion.organization = self.organization_id.as_ref().and_then(text).map(Named::Id);
        if let Some(role) = self.user_role.get(&claims) {
            assertion.role = RoleClaim::Is(self.role(role)?);
        }
        if !assertion.names_anyone() {
            let Mapping { user_id, user_email, team_id, .. } = self;
            let message = format!(
                "the answer about the token names nobody: it has neither {user_id}, {user_email} nor {team_id}"
            );
            return Err(bad("credential.names_nobody", &message));
        }
        assertion.grant = Some(Arc::new(Grant { claims, ..Grant::default() }));
        Ok(assertion)
    }

    /// A role that does not exist is refused: a slip of the pen must not become a grant.
    fn role(&self, value: &Value) -> Result<Role, Box<Denial>> {
        let name = scalar(value).unwrap_or(Cow::Borrowed(""));
        Role::parse(&name).ok_or_else(|| {
            let message = format!("the role {} that {} names does not exist", shown(&name), self.user_role);
            Box::new(Denial::new(ErrorType::PermissionDenied, "role.unknown", message).param("user_role"))
        })
    }

    /// Tells which field gave what.
    pub fn explain(&self, assertion: &Assertion, trace: &mut Trace) {
        if !trace.is_on() {
            return;
        }
        let mut say = |path: &ClaimPath, what: &str, value: &str| {
            trace.step("oauth2", format_args!("{path} says {what} {}", shown(value)));
        };
        if let Some(id) = &assertion.user_id {
            say(&self.user_id, "user", id);
        }
        if let Some(email) = &assertion.user_email {
            say(&self.user_email, "e-mail", email);
        }
        if let RoleClaim::Is(role) = assertion.role {
            say(&self.user_role, "role", role.as_str());
        }
        if let Some(Named::Id(id)) = &assertion.teams.one {
            say(&self.team_id, "team", id);
        }
        if let (Some(path), Some(Named::Id(id))) = (&self.organization_id, &assertion.organization) {
            say(path, "organization", id);
        }
    }
}

/// The end of a token, where it has one; a denial where that is past.
pub(super) fn until(
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<Result<Option<Timestamp>, Box<Denial>>, Failure> {
    let until = time(claims, "exp")?;
    if until.is_some_and(|until| until <= now) {
        let message = "Authentication Error: the token is expired; get a new one";
        return Ok(Err(Box::new(Denial::new(ErrorType::ExpiredKey, "credential.expired_token", message))));
    }
    Ok(Ok(until))
}

/// A time in seconds since 1970: a number, or its digits as a text.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Failure> {
    let seconds = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.parse::<u64>().ok().map(|seconds| seconds as f64),
        Some(_) => None,
    };
    let seconds = seconds.ok_or(Failure::NotATime(name))?;
    // Beyond all times it is the last or the first one.
    Ok(Some(Timestamp::millis((seconds * 1_000.0) as i64)))
}

fn bad(reason: &'static str, message: &str) -> Box<Denial> {
    Box::new(Denial::new(ErrorType::AuthError, reason, format!("Authentication Error: {message}")))
}

/// A text of the server's as people may see it.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests;
