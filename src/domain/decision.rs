//! What the gate answers: allow with all that goes to the upstream and the client, or deny with all that the client is
//! told.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::fields::Fields;
use super::identity::Caller;
use super::ids::HoldId;
use super::memo::Memo;

/// The gate's answer.
#[derive(Clone, Debug)]
pub enum Decision {
    Allow(Box<Allow>),
    Deny(Box<Denial>),
}

/// A header name and value.
pub type Header = (Cow<'static, str>, String);

/// An admitted request.
#[derive(Clone, Debug)]
pub struct Allow {
    pub caller: Caller,
    /// What all requests like this one get. Besides it:
    pub standing: Arc<Standing>,
    /// Set on the request to the upstream, replacing the client's copies.
    pub upstream_headers: Fields,
    /// Removed from the request to the upstream: the credential, and client copies of our headers.
    pub remove_headers: Vec<Cow<'static, str>>,
    /// Removed from the query string (`key` of Google's API, where it was the credential).
    pub remove_query: Vec<Cow<'static, str>>,
    /// Set on the response to the client, replacing the upstream's.
    pub response_headers: Fields,
    /// The signed hold token and what access logs want, for Envoy's dynamic metadata.
    pub metadata: Fields,
    /// The hold to release if the Check is cancelled before it was answered.
    pub hold: Option<HoldId>,
    /// Why the request would have been refused, were what refuses it not in shadow mode. It tells of no identity then,
    /// and carries no provider key.
    pub shadow: Option<Box<Denial>>,
}

/// What requests of one caller for one model get alike, whichever of them it is: who calls, told to the upstream and to
/// access logs.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub upstream_headers: Fields,
    pub metadata: Fields,
    /// What the edge writes of it.
    pub(crate) written: Memo,
}

impl Allow {
    /// Whether a header of this name is set on the request to the upstream.
    #[must_use]
    pub fn sets(&self, name: &str) -> bool {
        self.upstream_headers.has(name) || self.standing.upstream_headers.has(name)
    }
}

/// A refused request.
#[derive(Clone, Debug)]
pub struct Denial {
    pub status: u16,
    pub kind: ErrorType,
    pub message: String,
    /// The parameter at fault: `model`, `key` …
    pub param: Option<Cow<'static, str>>,
    /// After how long a retry can succeed.
    pub retry_after: Option<Duration>,
    /// `x-should-retry: false` where a retry cannot help.
    pub should_retry: Option<bool>,
    /// Further response headers (rate-limit headers, CORS).
    pub headers: Vec<Header>,
    /// For metrics, logs and metadata: which check refused, e.g. `rate_limit.team.tokens`.
    pub reason: Cow<'static, str>,
    /// Who was refused, where that is known.
    pub caller: Option<Caller>,
}

impl Denial {
    #[must_use]
    pub fn new(kind: ErrorType, reason: &'static str, message: impl Into<String>) -> Self {
        Denial {
            status: kind.status(),
            kind,
            message: message.into(),
            param: None,
            retry_after: None,
            should_retry: None,
            headers: Vec::new(),
            reason: Cow::Borrowed(reason),
            caller: None,
        }
    }

    #[must_use]
    pub fn param(mut self, param: &'static str) -> Self {
        self.param = Some(Cow::Borrowed(param));
        self
    }

    /// The body: OpenAI's error shape, `code` as text like LiteLLM's.
    #[must_use]
    pub fn body(&self) -> String {
        serde_json::json!({"error": {
            "message": self.message,
            "type": self.kind.as_str(),
            "param": self.param.as_deref(),
            "code": self.status.to_string(),
        }})
        .to_string()
    }

    /// Whether this tells of trouble in our own house rather than of the request.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        self.status >= 500
    }
}

/// The `type` of an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    AuthError,
    TokenNotFound,
    ExpiredKey,
    KeyModelAccessDenied,
    TeamModelAccessDenied,
    UserModelAccessDenied,
    CustomerModelAccessDenied,
    OrgModelAccessDenied,
    ProjectModelAccessDenied,
    RouteAccessDenied,
    PermissionDenied,
    ModelCostMapMissing,
    BadRequest,
    RequestTooLarge,
    UnsupportedEncoding,
    RateLimit,
    BudgetExceeded,
    NoDbConnection,
    AuthProviderUnavailable,
    ServiceUnavailable,
    NotFound,
    TeamMemberPermission,
    Internal,
}

impl ErrorType {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorType::AuthError => "auth_error",
            ErrorType::TokenNotFound => "token_not_found_in_db",
            ErrorType::ExpiredKey => "expired_key",
            ErrorType::KeyModelAccessDenied => "key_model_access_denied",
            ErrorType::TeamModelAccessDenied => "team_model_access_denied",
            ErrorType::UserModelAccessDenied => "user_model_access_denied",
            ErrorType::CustomerModelAccessDenied => "customer_model_access_denied",
            ErrorType::OrgModelAccessDenied => "org_model_access_denied",
            ErrorType::ProjectModelAccessDenied => "project_model_access_denied",
            ErrorType::RouteAccessDenied => "route_access_denied",
            ErrorType::PermissionDenied => "permission_error",
            ErrorType::ModelCostMapMissing => "model_cost_map_missing",
            ErrorType::BadRequest | ErrorType::RequestTooLarge | ErrorType::UnsupportedEncoding => "bad_request_error",
            ErrorType::RateLimit => "rate_limit_error",
            ErrorType::BudgetExceeded => "budget_exceeded",
            ErrorType::NoDbConnection => "no_db_connection",
            ErrorType::AuthProviderUnavailable => "auth_provider_unavailable",
            ErrorType::ServiceUnavailable => "service_unavailable",
            ErrorType::NotFound => "not_found_error",
            ErrorType::TeamMemberPermission => "team_member_permission_error",
            ErrorType::Internal => "internal_server_error",
        }
    }

    /// The status this type is answered with unless configuration says otherwise.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            ErrorType::AuthError | ErrorType::TokenNotFound | ErrorType::ExpiredKey => 401,
            ErrorType::KeyModelAccessDenied
            | ErrorType::TeamModelAccessDenied
            | ErrorType::UserModelAccessDenied
            | ErrorType::CustomerModelAccessDenied
            | ErrorType::OrgModelAccessDenied
            | ErrorType::ProjectModelAccessDenied
            | ErrorType::RouteAccessDenied
            | ErrorType::PermissionDenied
            | ErrorType::TeamMemberPermission
            | ErrorType::ModelCostMapMissing => 403,
            ErrorType::BadRequest => 400,
            ErrorType::RequestTooLarge => 413,
            ErrorType::UnsupportedEncoding => 415,
            ErrorType::RateLimit | ErrorType::BudgetExceeded => 429,
            ErrorType::NoDbConnection | ErrorType::AuthProviderUnavailable | ErrorType::ServiceUnavailable => 503,
            ErrorType::NotFound => 404,
            ErrorType::Internal => 500,
        }
    }
}
