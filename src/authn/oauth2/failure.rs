//! Why a provider could not be asked. None of it is the caller's fault: 503, and a retry may help.

use std::time::Duration;

use super::super::fetch::FetchError;
use super::claims::MAX_CLAIMS;
use crate::domain::{Denial, ErrorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("it answers with HTTP {0}")]
    Status(u16),
    /// For introspection: it is the gate itself that is refused.
    #[error("it refuses the gate with HTTP {0}: see oauth_client_id, oauth_client_secret and oauth_client_auth")]
    Client(u16),
    #[error("the answer is not one JSON object that says each thing once")]
    NotJson,
    #[error("the answer about one token is larger than {MAX_CLAIMS} bytes")]
    TooMuch,
    #[error("the member {0} of the answer is not a time")]
    NotATime(&'static str),
    #[error("too many tokens are asked about")]
    Busy,
    #[error("it failed again and again, and is left alone for a moment")]
    Resting,
    #[error("the client assertion cannot be signed")]
    Signing,
}

impl Failure {
    /// Whether it would be the same for every token: the server does not answer. One that asks for fewer questions
    /// (429) does.
    pub fn is_general(self) -> bool {
        match self {
            Failure::Fetch(FetchError::Unwritable)
            | Failure::TooMuch
            | Failure::NotATime(_)
            | Failure::Busy
            | Failure::Resting => false,
            Failure::Fetch(_) | Failure::Client(_) | Failure::NotJson | Failure::Signing => true,
            Failure::Status(status) => status >= 500,
        }
    }

    pub fn denial(self) -> Denial {
        let mut denial = Denial::new(
            ErrorType::AuthProviderUnavailable,
            "auth_provider.unavailable",
            "The identity provider cannot be asked about this token now; try again in a moment",
        );
        denial.retry_after = Some(Duration::from_secs(1));
        denial
    }
}
