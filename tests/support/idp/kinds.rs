//! What a test tells the identity provider: as which client it asks, how a token is signed, how an endpoint fails.

use serde::Serialize;
use serde_json::{Value, json};

/// A client the provider knows.
pub struct Client {
    pub id: &'static str,
    pub secret: &'static str,
    /// How it proves who it is (`token_endpoint_auth_method`).
    pub method: &'static str,
}

/// Proves who it is by HTTP Basic.
pub const GATEWAY: Client =
    Client { id: "gateway", secret: "the-secret-of-the-gateway", method: "client_secret_basic" };
/// Proves who it is in the body.
pub const POSTER: Client = Client { id: "poster", secret: "the-secret-of-the-poster", method: "client_secret_post" };
/// Signs assertions; [`super::Idp::client_key`] is its key.
pub const ASSERTER: Client = Client { id: "asserter", secret: "", method: "private_key_jwt" };
/// Has nothing to prove who it is with, and so gets no token for itself.
pub const PUBLIC: Client = Client { id: "public", secret: "", method: "none" };

/// How a token is signed.
#[derive(Clone, Debug, Serialize)]
pub struct Signing {
    /// RS, PS, ES 256 to 512, `EdDSA`; `none`; HS 256 to 512 with a `secret`.
    pub alg: &'static str,
    /// The key, also one that the provider shows no more; the newest for the algorithm where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Members of the header over what the algorithm and the key say; null removes one.
    pub header: Value,
    /// The payload in place of claims: what no JSON library would write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl Default for Signing {
    fn default() -> Self {
        Signing { alg: "RS256", kid: None, header: json!({}), text: None, secret: None }
    }
}

impl Signing {
    pub fn alg(alg: &'static str) -> Self {
        Signing { alg, ..Signing::default() }
    }
}

/// What an endpoint does in place of, or before, its answer.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    Status {
        status: u16,
    },
    /// The true answer, this much later.
    Delay {
        ms: u64,
    },
    /// The true answer, when [`super::Idp::clear_faults`] is called.
    Hang,
    /// A JSON document of this size, whose length is not declared.
    Oversized {
        bytes: usize,
    },
    Redirect {
        to: String,
    },
    /// Status 200 with what is no JSON.
    Garbage,
    /// The connection ends without an answer.
    Cut,
    /// The connection ends within the answer.
    CutShort,
}
