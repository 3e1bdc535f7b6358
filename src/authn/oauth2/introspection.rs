//! Introspection (RFC 7662, section 2): a form with the token, from a client that proves who it is.

use super::super::fetch::{Endpoint, Fetch};
use super::claims::Claims;
use super::client::Client;
use super::failure::Failure;
use super::options::Options;
use crate::domain::Secret;

pub(super) struct Introspection {
    fetch: Fetch,
    endpoint: Endpoint,
    client: Client,
}

impl Introspection {
    pub fn new(fetch: Fetch, options: &Options) -> Result<Introspection, String> {
        Ok(Introspection { fetch, endpoint: options.endpoint.clone(), client: Client::new(options)? })
    }

    /// What the server says of the token; `None` where it is no good (`active` is not `true`, or not there).
    pub async fn ask(&self, token: &Secret) -> Result<Option<Claims>, Failure> {
        let proof = self.client.prove()?;
        let mut fields = vec![("token", token.expose())];
        fields.extend(proof.fields.iter().map(|(name, value)| (*name, &**value)));
        let header = proof.authorization.map(|value| ("authorization", value));
        let answer = self.fetch.post_form(&self.endpoint, header.as_slice(), &fields).await?;
        match answer.status {
            200..=299 => {
                let claims = Claims::read(&answer, token)?;
                let is_active = claims.members.get("active").and_then(serde_json::Value::as_bool) == Some(true);
                Ok(Some(claims).filter(|_| is_active))
            }
            // A token that is no good is answered with 200: it is the client that is refused here.
            status @ (401 | 403) => Err(Failure::Client(status)),
            status => Err(Failure::Status(status)),
        }
    }
}
