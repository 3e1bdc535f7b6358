//! What an authoriser says, and why it may say nothing.

use std::sync::Arc;
use std::time::Duration;

use super::super::assertion::Assertion;
use crate::domain::{Denial, ErrorType};

/// The most characters of an authoriser's message that a client is shown.
const MAX_MESSAGE: usize = 300;

/// What an authoriser says of a request.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Named(Arc<Told>),
    /// It lets the request pass and does not say whose it is.
    Nobody,
    Refused(Arc<Refusal>),
}

/// A caller, and which part of the answer gave which field.
#[derive(Debug)]
pub(super) struct Told {
    pub assertion: Arc<Assertion>,
    pub fields: Vec<(&'static str, Source)>,
}

/// Where a field stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Metadata,
    Header(&'static str),
    Answer,
    Expression,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Metadata => f.write_str("the dynamic metadata"),
            Source::Header(name) => write!(f, "the header {name}"),
            Source::Answer => f.write_str("the answer"),
            Source::Expression => f.write_str("the expression"),
        }
    }
}

/// A request that the authoriser refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    kind: ErrorType,
    message: String,
    param: Option<&'static str>,
}

impl Refusal {
    /// Of a status: 401, 403 and 429 are kept, all others become 403. The message is the authoriser's own, cut off.
    pub(super) fn new(status: u16, message: &str) -> Self {
        let kind = match status {
            401 => ErrorType::AuthError,
            429 => ErrorType::RateLimit,
            _ => ErrorType::PermissionDenied,
        };
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let message: String = message.trim().chars().take(MAX_MESSAGE).map(plain).collect();
        let message = if message.is_empty() { "the request is refused by the authoriser".to_owned() } else { message };
        Refusal { kind, message, param: None }
    }

    pub(super) fn of_field(status: u16, field: &'static str, message: &str) -> Self {
        Refusal { param: Some(field), ..Refusal::new(status, message) }
    }

    pub(super) fn denial(&self) -> Denial {
        let denial = Denial::new(self.kind, "custom_auth.refused", self.message.clone());
        match self.param {
            Some(param) => denial.param(param),
            None => denial,
        }
    }
}

/// Why there is no verdict. Nothing of it is shown to clients.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("it failed too often and is asked once a second")]
    Open,
    /// So many questions are under way that this one did not get its turn. Nothing was asked.
    #[error("too many questions to it are under way")]
    Busy,
    /// So many questions wait for their turn that this one may not. Nothing was asked.
    #[error("too many questions to it are waiting")]
    Crowded,
    /// No answer, or one that tells of trouble of its own.
    #[error("{0}")]
    Failed(String),
    /// It answered that it cannot or will not judge this request.
    #[error("it does not judge the request: {0}")]
    Declined(String),
    /// It answered, and what it says cannot be used.
    #[error("its answer cannot be used: {0}")]
    Unusable(String),
}

impl Trouble {
    /// Whether the authoriser answered, though badly. What clients can bring about must not open the circuit breaker.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Trouble::Declined(_) | Trouble::Unusable(_))
    }

    pub(super) fn denial(&self) -> Denial {
        let message = "the authoriser that knows callers is unavailable; try again in a moment";
        // Counted apart: who sees it needs a faster authoriser, not one that is mended.
        let reason = if *self == Trouble::Crowded { "custom_auth.crowded" } else { "custom_auth.unavailable" };
        let mut denial = Denial::new(ErrorType::AuthProviderUnavailable, reason, message);
        denial.retry_after = Some(Duration::from_secs(1));
        denial
    }
}

/// Where its word is final and it names nobody.
pub(super) fn nobody() -> Denial {
    let message = "Authentication Error: the authoriser lets this request pass but does not say whose it is";
    Denial::new(ErrorType::AuthError, "custom_auth.nobody", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_statuses_are_kept() {
        for (status, expected) in [(401, 401), (403, 403), (429, 429), (200, 403), (302, 403), (404, 403), (0, 403)] {
            assert_eq!(Refusal::new(status, "no").denial().status, expected, "{status}");
        }
    }

    #[test]
    fn a_message_is_cut_off_and_holds_no_control_characters() {
        assert_eq!(Refusal::new(403, " a\r\nb\0 ").denial().message, "a  b ");
        assert_eq!(Refusal::new(403, &"é".repeat(1_000)).denial().message.chars().count(), MAX_MESSAGE);
        assert!(!Refusal::new(403, "").denial().message.is_empty());
    }
}
