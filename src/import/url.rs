//! The URL of a LiteLLM database as Prisma writes it: parameters for Prisma's own pool are passed over, `schema` and
//! the way TLS is wanted are read.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::ImportError;
use crate::domain::Secret;

const CONNECT: Duration = Duration::from_secs(10);

/// What Prisma and libpq know and nothing here needs.
const PASSED_OVER: [&str; 11] = [
    "connection_limit",
    "gssencmode",
    "pgbouncer",
    "pool_timeout",
    "single_use_connections",
    "socket_timeout",
    "sslaccept",
    "sslidentity",
    "sslpassword",
    "statement_cache_size",
    "client_encoding",
];

/// How to reach the database.
pub(super) struct Address {
    pub config: Config,
    pub schema: String,
    /// Certificates to trust instead of the platform's.
    pub roots: Option<PathBuf>,
}

impl Address {
    pub(super) fn parse(url: &Secret) -> Result<Address, ImportError> {
        let text = url.expose();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(ImportError::Url("it begins with postgres:// or postgresql://".to_owned()));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut address = Address { config: Config::new(), schema: "public".to_owned(), roots: None };
        let mut kept = Vec::new();
        let mut mode = SslMode::Prefer;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "schema" if !value.is_empty() => address.schema = decoded(value),
                // Prisma calls the file of trusted certificates `sslcert`.
                "sslrootcert" | "sslcert" if !value.is_empty() => address.roots = Some(decoded(value).into()),
                "sslmode" => mode = ssl_mode(value)?,
                name if PASSED_OVER.contains(&name) => {}
                _ => kept.push(pair),
            }
        }
        let plain = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        // What the parser says names options and never values.
        address.config = plain.parse().map_err(|error: tokio_postgres::Error| ImportError::Url(told(&error)))?;
        address.config.ssl_mode(mode).connect_timeout(CONNECT);
        if address.config.get_application_name().is_none() {
            address.config.application_name("tollward import");
        }
        Ok(address)
    }
}

/// Whatever asks for TLS gets certificates that are checked.
fn ssl_mode(value: &str) -> Result<SslMode, ImportError> {
    match value {
        "disable" => Ok(SslMode::Disable),
        "allow" | "prefer" => Ok(SslMode::Prefer),
        "require" | "verify-ca" | "verify-full" => Ok(SslMode::Require),
        _ => Err(ImportError::Url("sslmode is one of disable, prefer, require, verify-ca, verify-full".to_owned())),
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Text with `%xx` resolved; what is no escape stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, ImportError> {
        Address::parse(&Secret::new(url))
    }

    #[test]
    fn what_prisma_writes_is_understood() {
        let url = "postgresql://l:p%40ss@db:5433/litellm?schema=my%20own&connection_limit=10&pgbouncer=true\
                   &sslmode=verify-full&sslrootcert=/etc/ca.pem&connect_timeout=3";
        let address = parse(url).unwrap();
        assert_eq!(address.schema, "my own");
        assert_eq!(address.roots, Some("/etc/ca.pem".into()));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(address.config.get_password(), Some(&b"p@ss"[..]));
        assert_eq!(address.config.get_dbname(), Some("litellm"));
        assert_eq!(parse("postgres://h/d").unwrap().config.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for url in [
            "mysql://u:geheim@h/d",
            "postgres://u:geheim@h:port/d",
            "postgres://u:geheim@h/d?sslmode=geheim",
            "postgres://u:geheim@h/d?nonsense=geheim",
        ] {
            let error = parse(url).err().map(|error| error.to_string()).unwrap();
            assert!(!error.contains("geheim"), "{error}");
        }
    }
}
