//! JSON Web Tokens (RFC 7519, RFC 7515): reading them, the keys that verify them, and where those keys come from.

mod algorithm;
mod authenticator;
mod issuer;
pub mod jwks;
pub mod keys;
mod mapping;
mod overrides;
mod roles;
mod signed_header;
pub mod token;
mod userinfo;

pub use algorithm::Algorithm;
pub use authenticator::Jwt;
pub use jwks::{KeyError, KeySettings, KeySource, KeySources};
pub use keys::{Fingerprint, Found, KeySet, KeySetError, PublicKey};
pub use overrides::Overrides;
pub use signed_header::SignedHeaders;
pub use token::{MAX_KID, MAX_TOKEN, Token, TokenError, is_jwt_shaped};
pub use userinfo::OpaqueTokens;

#[cfg(test)]
pub(crate) mod testing;
