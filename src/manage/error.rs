//! Why an operation was refused: a status, a type, a sentence that names what to change, and the parameter at fault.

use std::borrow::Cow;

use crate::directory::DirectoryError;
use crate::domain::ErrorType;

/// The `type` of a change that others were faster than.
const CHANGED: &str = "changed_meanwhile";

/// A refused or failed operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ManageError {
    pub status: u16,
    /// The `type` of the error body.
    pub kind: &'static str,
    pub message: String,
    pub param: Option<Cow<'static, str>>,
}

impl ManageError {
    fn of(kind: ErrorType, message: impl Into<String>) -> Self {
        ManageError { status: kind.status(), kind: kind.as_str(), message: message.into(), param: None }
    }

    /// 400: a value that cannot be.
    pub(crate) fn bad(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        ManageError { param: Some(param.into()), ..Self::of(ErrorType::BadRequest, message) }
    }

    /// 422: a value of the wrong type, or none where one must be.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let base = Self::of(ErrorType::BadRequest, message);
        ManageError { status: 422, kind: "validation_error", param: Some(param.into()), ..base }
    }

    /// 403: the caller may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::of(ErrorType::PermissionDenied, message)
    }

    /// 403: a team member may not do this to the team's keys.
    pub(crate) fn team_member(message: impl Into<String>) -> Self {
        Self::of(ErrorType::TeamMemberPermission, message)
    }

    /// 409: not while something else is as it is.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        ManageError { status: 409, ..Self::of(ErrorType::BadRequest, message) }
    }

    /// Whether a row that this was computed from was changed meanwhile: the same may be done on the rows that are there now.
    pub(super) fn is_outrun(&self) -> bool {
        self.kind == CHANGED
    }

    /// 404.
    pub(crate) fn not_found(param: &'static str, what: &str, name: &str) -> Self {
        let message = format!("{what} {name:?} does not exist");
        ManageError { param: Some(Cow::Borrowed(param)), ..Self::of(ErrorType::NotFound, message) }
    }

    /// 400: the user is a member already.
    pub(crate) fn already_member(user: &str, team: &str) -> Self {
        let message = format!("user {user:?} is in team {team:?} already");
        ManageError { kind: "team_member_already_in_team", ..Self::bad("member", message) }
    }

    /// Whether waiting may help: the trouble is ours, not the request's.
    #[must_use]
    pub fn is_infrastructure(&self) -> bool {
        self.status >= 500
    }

    /// The body: OpenAI's error shape, `code` as text like LiteLLM's.
    #[must_use]
    pub fn body(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status.to_string(),
        }})
    }
}

impl From<DirectoryError> for ManageError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Unavailable(_) => Self::of(ErrorType::NoDbConnection, "the directory does not answer"),
            DirectoryError::Full(_) => {
                Self::of(ErrorType::NoDbConnection, "the directory cannot write; nothing changed")
            }
            DirectoryError::Refused(_) => Self::of(
                ErrorType::BadRequest,
                "the database refuses a value, which is too long or too large; nothing changed",
            ),
            DirectoryError::Corrupt(_) => {
                Self::of(ErrorType::Internal, "the directory holds a row that cannot be read")
            }
            DirectoryError::Exists { .. } | DirectoryError::Ambiguous { .. } => {
                Self::of(ErrorType::BadRequest, error.to_string())
            }
            DirectoryError::Changed { .. } => ManageError { kind: CHANGED, ..Self::conflict(error.to_string()) },
            DirectoryError::NotFound { .. } => Self::of(ErrorType::NotFound, error.to_string()),
        }
    }
}
