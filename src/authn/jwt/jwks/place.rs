//! Where a document of keys stands, and how it is read once. Anything but a good document is an error: none of them
//! passes for an empty set.

use std::fmt;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::authn::claims::read_object;
use crate::authn::fetch::{Answer, Endpoint, Fetch, FetchError, MAX_BODY, check_url};
use crate::authn::jwt::{KeySet, KeySetError};

/// OpenID Connect Discovery, section 4, and RFC 8414, section 3.
const DISCOVERY: [&str; 2] = [".well-known/openid-configuration", ".well-known/oauth-authorization-server"];

pub(super) enum Place {
    Set(Endpoint),
    /// The key of one name.
    Key(Endpoint, String),
    Discovery(Endpoint, Option<String>),
    File(PathBuf),
}

/// Why a document was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is HTTP {0}")]
    Status(u16),
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error("the discovery document {0}")]
    Discovery(&'static str),
    #[error("the file cannot be read: {0}")]
    File(ErrorKind),
    /// There is no key of the name that was asked for.
    #[error("there is no key of this name")]
    Absent,
}

impl Place {
    pub(super) fn read(text: &str, issuer: Option<&str>) -> Result<Place, String> {
        if !text.contains("://") {
            return if text.is_empty() {
                Err("a source of keys is empty".to_owned())
            } else {
                Ok(Place::File(text.into()))
            };
        }
        let url = check_url(text)?;
        let is_discovery = DISCOVERY.iter().any(|path| text.contains(path));
        Ok(if is_discovery { Place::Discovery(url, issuer.map(str::to_owned)) } else { Place::Set(url) })
    }

    pub(super) async fn load(&self, fetch: &Fetch) -> Result<KeySet, LoadError> {
        match self {
            Place::Set(url) => Ok(KeySet::parse(&good(fetch.get(url, &[]).await?)?.body)?),
            Place::Key(url, kid) => {
                let answer = fetch.get(url, &[]).await?;
                if matches!(answer.status, 400 | 403 | 404 | 410) {
                    return Err(LoadError::Absent);
                }
                Ok(KeySet::parse_named(&good(answer)?.body, kid)?)
            }
            Place::Discovery(url, issuer) => {
                let document = good(fetch.get(url, &[]).await?)?;
                let jwks = discovered(&document.body, url, issuer.as_deref())?;
                Ok(KeySet::parse(&good(fetch.get(&jwks, &[]).await?)?.body)?)
            }
            Place::File(path) => {
                let failed = |error: std::io::Error| LoadError::File(error.kind());
                let file = tokio::fs::File::open(path).await.map_err(failed)?;
                let mut document = Vec::new();
                file.take(MAX_BODY as u64 + 1).read_to_end(&mut document).await.map_err(failed)?;
                if document.len() > MAX_BODY {
                    return Err(LoadError::File(ErrorKind::FileTooLarge));
                }
                Ok(KeySet::parse(&document)?)
            }
        }
    }
}

fn good(answer: Answer) -> Result<Answer, LoadError> {
    if answer.status == 200 { Ok(answer) } else { Err(LoadError::Status(answer.status)) }
}

/// The address of the keys. The document speaks for the issuer it names (OpenID Connect Discovery, section 4.3), and a
/// provider out in the network cannot send anybody to an address on this machine.
fn discovered(document: &[u8], from: &Endpoint, issuer: Option<&str>) -> Result<Endpoint, LoadError> {
    let document = read_object(document).map_err(|_| LoadError::Discovery("is not one JSON object"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if issuer.is_some_and(|issuer| text("issuer") != Some(issuer)) {
        return Err(LoadError::Discovery("is of another issuer"));
    }
    let jwks = text("jwks_uri").ok_or(LoadError::Discovery("names no jwks_uri"))?;
    let jwks = check_url(jwks).map_err(|_| LoadError::Discovery("names a jwks_uri that is not allowed"))?;
    if jwks.is_plain() && !from.is_plain() {
        return Err(LoadError::Discovery("names a jwks_uri without TLS"));
    }
    Ok(jwks)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Set(url) | Place::Key(url, _) | Place::Discovery(url, _) => url.fmt(f),
            Place::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discovery_document_leads_to_checked_addresses_of_its_own_issuer_only() {
        let remote = check_url("https://id.example.com/.well-known/openid-configuration").unwrap();
        let local = check_url("http://127.0.0.1:1/.well-known/openid-configuration").unwrap();
        let of = |issuer: &str, jwks: &str| format!(r#"{{"issuer": "{issuer}", "jwks_uri": "{jwks}"}}"#);
        let (issuer, keys) = ("https://id.example.com", "https://keys.example.com/jwks");
        let cases = [
            (&remote, of(issuer, keys), true),
            (&remote, of("https://id.example.com/", keys), false),
            (&remote, of("https://evil.example.com", keys), false),
            (&remote, format!(r#"{{"jwks_uri": "{keys}"}}"#), false),
            (&remote, format!(r#"{{"issuer": "{issuer}"}}"#), false),
            (&remote, format!(r#"{{"issuer": "{issuer}", "issuer": "x", "jwks_uri": "{keys}"}}"#), false),
            (&remote, of(issuer, "http://keys.example.com/jwks"), false),
            (&remote, of(issuer, "http://169.254.169.254/"), false),
            (&remote, of(issuer, "http://127.0.0.1:9001/"), false),
            (&remote, of(issuer, "https://u:p@keys.example.com/jwks"), false),
            (&remote, of(issuer, "file:///etc/passwd"), false),
            (&remote, of(issuer, "/jwks"), false),
            (&remote, "[]".to_owned(), false),
            (&local, of(issuer, "http://127.0.0.1:1/jwks"), true),
            (&local, of(issuer, "http://10.0.0.1/jwks"), false),
        ];
        for (from, document, expected) in cases {
            let found = discovered(document.as_bytes(), from, Some(issuer));
            assert_eq!(found.is_ok(), expected, "{document} from {from}");
        }
        assert!(discovered(of("https://any.example.com", keys).as_bytes(), &remote, None).is_ok());
    }
}
