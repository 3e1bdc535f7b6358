//! JSON Web Tokens (RFC 7519, RFC 7515): reading them, the keys that verify them, and where those keys come from.

mod algorithm;
pub mod jwks;
pub mod keys;
pub mod token;

pub use algorithm::Algorithm;
pub use jwks::{KeyError, KeySettings, KeySource, KeySources};
pub use keys::{Fingerprint, Found, KeySet, KeySetError, PublicKey};
pub use token::{MAX_KID, MAX_TOKEN, Token, TokenError, is_jwt_shaped};

#[cfg(test)]
pub(crate) mod testing;
