//! From a URL to a connection: what libpq understands, and what URLs written for other programs carry along.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Connection, Error, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::{DirectoryError, Result};
use super::errors::unavailable;
use crate::domain::Secret;

/// How long connecting may take, a handshake included.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// A peer that has fallen silent is found out after about this time.
const SILENCE: Duration = Duration::from_secs(5);
/// A statement that is not in a transaction ends after a while, and the server finds out when we are gone.
const SETUP: &str = "SET statement_timeout = 4500; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
                     SET tcp_keepalives_count = 3;";

/// A place to connect to.
#[derive(Clone)]
pub(in super::super) struct Target {
    config: Config,
    tls: MakeRustlsConnect,
    prepared: bool,
    /// What a fresh connection is told before it is used: not with the startup message, of which poolers understand
    /// only a part. Nothing behind a pooler in transaction mode.
    setup: String,
}

type Stream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

impl Target {
    /// Reads a URL; `path` is its name in messages, and the URL itself is never repeated.
    pub(super) fn parse(url: &Secret, path: &'static str, prepared: bool) -> Result<Target> {
        let refuse = |why: String| DirectoryError::Unavailable(format!("{path}: {why}"));
        let read = Url::read(url.expose());
        let mut config = Config::from_str(&read.url).map_err(|error| {
            // The library names the parameter, and no value.
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            refuse(format!("this is no URL of PostgreSQL: {}", cause.unwrap_or_else(|| error.to_string())))
        })?;
        if config.get_hosts().is_empty() {
            return Err(refuse("no host is named".to_owned()));
        }
        let prepared = prepared && !read.pooled;
        let setup = match (prepared, &read.schema) {
            (true, schema) => {
                let path = schema.as_ref().map(|schema| format!("SET search_path = \"{schema}\";")).unwrap_or_default();
                format!("{SETUP}{path}")
            }
            (false, None) => String::new(),
            (false, Some(_)) => {
                return Err(refuse("schema= cannot be set through a pooler; set search_path for the role".to_owned()));
            }
        };
        if config.get_application_name().is_none() {
            config.application_name("tollward");
        }
        config.connect_timeout(CONNECT.min(config.get_connect_timeout().copied().unwrap_or(CONNECT)));
        config.keepalives_idle(SILENCE).keepalives_interval(Duration::from_secs(1)).keepalives_retries(3);
        config.tcp_user_timeout(SILENCE);
        let tls = tls(config.get_ssl_mode(), read.root.as_deref().map(Path::new)).map_err(refuse)?;
        Ok(Target { config, tls: MakeRustlsConnect::new(tls), prepared, setup })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn prepared(&self) -> bool {
        self.prepared
    }

    /// The same place under another name in `pg_stat_activity`.
    pub(super) fn named(&self, name: &str) -> Target {
        let mut named = self.clone();
        named.config.application_name(name);
        named
    }

    pub(super) fn setup(&self) -> &str {
        &self.setup
    }

    /// Connects in time; whoever calls sets it up and drives the connection.
    pub(super) async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>)> {
        // Boxed: a handshake's state is large, and seldom there.
        Box::pin(in_time(self.config.connect(self.tls.clone()))).await
    }

    /// Connects and sets up; a task of the present runtime drives the connection until it or its client ends.
    pub(super) async fn connect_alone(&self) -> std::result::Result<(Client, JoinHandle<()>), Error> {
        let (client, connection) = Box::pin(self.config.connect(self.tls.clone())).await?;
        let driving = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(error = super::errors::said(&error), "a connection to PostgreSQL ended");
            }
        });
        client.batch_execute(&self.setup).await?;
        Ok((client, driving))
    }
}

/// A URL with what is not for the server taken out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Url {
    url: String,
    /// A file with the certificates to trust.
    root: Option<String>,
    schema: Option<String>,
    /// The URL says that a pooler in transaction mode answers it.
    pooled: bool,
}

impl Url {
    fn read(url: &str) -> Url {
        let Some((place, query)) = url.split_once('?') else { return Url { url: url.to_owned(), ..Url::default() } };
        let mut read = Url::default();
        let mut kept = Vec::new();
        for part in query.split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (name, value) {
                // rustls always verifies the certificate and the name.
                ("sslmode", "verify-ca" | "verify-full") => kept.push("sslmode=require".to_owned()),
                ("sslmode", "allow") => kept.push("sslmode=prefer".to_owned()),
                ("sslrootcert", "system") => {}
                ("sslrootcert", file) => read.root = Some(file.replace("%2F", "/").replace("%2f", "/")),
                ("schema", schema) => read.schema = Some(schema.replace('"', "")),
                ("pgbouncer", on) => read.pooled = on == "true",
                // Of other programs' pools.
                ("connection_limit" | "pool_timeout" | "socket_timeout" | "statement_cache_size", _) => {}
                _ => kept.push(part.to_owned()),
            }
        }
        read.url = place.to_owned();
        if !kept.is_empty() {
            read.url = format!("{place}?{}", kept.join("&"));
        }
        read
    }
}

/// What a server's certificate must be signed by: the file's certificates, else what this machine trusts.
fn tls(mode: SslMode, root: Option<&Path>) -> std::result::Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if let Some(file) = root {
        let failed = |error: &dyn std::fmt::Display| format!("sslrootcert {}: {error}", file.display());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
            roots.add(certificate.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
        }
        if roots.is_empty() {
            return Err(failed(&"there is no certificate in it"));
        }
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    }
    let nobody = |builder: rustls::ConfigBuilder<ClientConfig, _>| {
        builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    if mode == SslMode::Disable {
        return Ok(nobody(builder));
    }
    match rustls_platform_verifier::Verifier::new(provider) {
        Ok(verifier) => {
            Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
        }
        // A server without TLS may still be reached; one with it is trusted by nobody.
        Err(_) if mode == SslMode::Prefer => Ok(nobody(builder)),
        Err(error) => Err(format!("no certificates to trust are found: {error}; name a file with sslrootcert=")),
    }
}

/// Connects for a few questions, on the present runtime.
pub(super) async fn ask(target: &Target) -> Result<Client> {
    // The task ends with its client.
    let (client, _) = in_time(target.connect_alone()).await?;
    Ok(client)
}

async fn in_time<T>(connecting: impl Future<Output = std::result::Result<T, Error>>) -> Result<T> {
    match tokio::time::timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| super::errors::of(&error)),
        Err(_) => Err(unavailable("PostgreSQL does not take a connection in time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_libpq_and_of_other_programs_are_understood() {
        let cases = [
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("postgres://u@h/d?sslmode=verify-full", "postgres://u@h/d?sslmode=require"),
            ("postgres://u@h/d?sslmode=disable&connection_limit=5&pool_timeout=3", "postgres://u@h/d?sslmode=disable"),
            ("postgres://u@h/d?connection_limit=5", "postgres://u@h/d"),
        ];
        for (url, expected) in cases {
            assert_eq!(Url::read(url).url, expected, "{url}");
        }
        let prisma = Url::read("postgresql://u@h/d?schema=public&pgbouncer=true&sslrootcert=%2Fca.pem");
        assert_eq!((prisma.schema.as_deref(), prisma.pooled), (Some("public"), true));
        assert_eq!(prisma.root.as_deref(), Some("/ca.pem"));
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_being_repeated() {
        for (url, why) in [
            ("postgres://user:hunter2@host/db?bogus=hunter2", "bogus"),
            ("postgres://user:hunter2@host:port/db", "port"),
            ("postgres:///db", "host"),
            ("postgres://user:hunter2@host/db?sslmode=perhaps", "sslmode"),
            ("postgres://user:hunter2@host/db?sslrootcert=/no/such/file", "/no/such/file"),
        ] {
            let error = Target::parse(&Secret::new(url), "directory.url", true).err().map(|error| error.to_string());
            let error = error.unwrap_or_default();
            assert!(error.contains("directory.url") && error.contains(why), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
