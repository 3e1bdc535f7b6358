//! Who asks: how the gate proves to an authorization server which of its clients it is.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::super::fetch::form_encode;
use super::failure::Failure;
use super::options::Options;
use super::signer::Signer;
use crate::config::OAuthClientAuth;
use crate::domain::{Secret, Timestamp};

/// RFC 7523, section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client of an authorization server.
pub(super) enum Client {
    /// Both in a header, each encoded as in forms (RFC 6749, section 2.3.1).
    Basic {
        authorization: Secret,
    },
    Post {
        id: String,
        secret: Secret,
    },
    PrivateKeyJwt {
        id: String,
        signer: Box<Signer>,
    },
    Public {
        id: String,
    },
}

/// What a request says to prove it.
pub(super) struct Proof<'a> {
    pub authorization: Option<&'a str>,
    pub fields: Vec<(&'static str, Cow<'a, str>)>,
}

impl Client {
    pub fn new(options: &Options) -> Result<Client, String> {
        let (id, secret) = (options.client_id.clone(), options.client_secret.0.clone());
        Ok(match options.client_auth {
            OAuthClientAuth::Basic => Client::Basic { authorization: basic(&id, &secret) },
            OAuthClientAuth::Post => Client::Post { id, secret },
            OAuthClientAuth::PrivateKeyJwt => Client::PrivateKeyJwt { signer: Box::new(Signer::new(options)?), id },
            OAuthClientAuth::None => Client::Public { id },
        })
    }

    /// For one request: assertions are good for one only.
    pub fn prove(&self) -> Result<Proof<'_>, Failure> {
        let (mut authorization, mut fields) = (None, Vec::new());
        match self {
            Client::Basic { authorization: value } => authorization = Some(value.expose()),
            Client::Post { id, secret } => {
                fields.push(("client_id", Cow::Borrowed(id.as_str())));
                fields.push(("client_secret", Cow::Borrowed(secret.expose())));
            }
            Client::PrivateKeyJwt { id, signer } => {
                fields.push(("client_id", Cow::Borrowed(id.as_str())));
                fields.push(("client_assertion_type", Cow::Borrowed(ASSERTION_TYPE)));
                fields.push(("client_assertion", Cow::Owned(signer.assertion(id, Timestamp::now())?)));
            }
            Client::Public { id } => fields.push(("client_id", Cow::Borrowed(id.as_str()))),
        }
        Ok(Proof { authorization, fields })
    }
}

fn basic(id: &str, secret: &Secret) -> Secret {
    let mut pair = Zeroizing::new(String::new());
    form_encode(id, &mut pair);
    pair.push(':');
    form_encode(secret.expose(), &mut pair);
    Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_and_secret_of_basic_are_encoded_as_in_forms() {
        let header = basic("https://gate.example:1", &Secret::new("a b:c+ä%"));
        let pair = STANDARD.decode(header.expose().strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "https%3A%2F%2Fgate.example%3A1:a+b%3Ac%2B%C3%A4%25");
    }
}
