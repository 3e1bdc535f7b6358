//! Who calls: one list of authenticators, each of which knows one kind of credential. A credential that one of them
//! claims and refuses never falls through to another.

pub mod claims;
pub mod fetch;
pub mod jwt;
pub mod master_key;
pub mod virtual_key;

use async_trait::async_trait;

pub use master_key::MasterKey;
pub use virtual_key::VirtualKeys;

use crate::domain::{Caller, Denial, ErrorType, Secret, Timestamp};
use crate::request::Credential;

/// What one authenticator says of a credential.
#[derive(Debug)]
pub enum Outcome {
    /// Not of the kind this authenticator knows: the next one is asked.
    NotMine,
    Caller(Caller),
    Refused(Denial),
}

/// Knows one kind of credential.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The name that explanations and metrics show.
    fn name(&self) -> &'static str;

    async fn authenticate(&self, credential: &Credential<'_>, now: Timestamp) -> Outcome;
}

/// The list, in the order they are asked.
pub struct Authenticators(Vec<Box<dyn Authenticator>>);

impl Authenticators {
    #[must_use]
    pub fn new(list: Vec<Box<dyn Authenticator>>) -> Self {
        Authenticators(list)
    }

    /// The caller, and the name of the authenticator that knew it.
    pub async fn authenticate(
        &self,
        credential: &Credential<'_>,
        now: Timestamp,
    ) -> Result<(Caller, &'static str), Denial> {
        for authenticator in &self.0 {
            match authenticator.authenticate(credential, now).await {
                Outcome::NotMine => {}
                Outcome::Caller(caller) => return Ok((caller, authenticator.name())),
                Outcome::Refused(denial) => return Err(denial),
            }
        }
        let shown = Secret::masked(&credential.secret);
        Err(Denial::new(
            ErrorType::AuthError,
            "credential.unknown_kind",
            format!("Authentication Error: the credential {shown} is not a key of this gateway; keys begin with sk-"),
        ))
    }
}
