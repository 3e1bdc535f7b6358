//! A port's certificate, read again when its files change. A change that cannot be used leaves the old one in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::shutdown::Shutdown;
use crate::config::ServerTls;
use crate::telemetry::Metrics;

/// How often files are compared with what is in force.
pub const POLL: Duration = Duration::from_secs(5);
/// Bytes a certificate file may have.
const MAX_FILE: u64 = 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, std::io::Error),
    #[error("{0} holds no {1} in PEM")]
    Pem(PathBuf, &'static str),
    #[error("the certificate in {0} cannot be used: {1}")]
    Unusable(PathBuf, String),
}

/// The certificate of one port.
#[derive(Debug)]
pub struct Certificates {
    files: ServerTls,
    protocols: Vec<Vec<u8>>,
    config: ArcSwap<ServerConfig>,
    /// The bytes in force, to see changes by (a mounted secret changes by a link, not by its time).
    contents: Mutex<Contents>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files; `protocols` is what ALPN offers, `h2` or `http/1.1`.
    pub fn load(files: &ServerTls, protocols: &[&str]) -> Result<Self, CertificateError> {
        let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let contents = Contents::read(files)?;
        let config = ArcSwap::from_pointee(contents.config(files, &protocols)?);
        Ok(Certificates { files: files.clone(), protocols, config, contents: Mutex::new(contents) })
    }

    /// The configuration for the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Reads the files again; whether they had changed. On an error the old certificate stays.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let contents = Contents::read(&self.files)?;
        let mut in_force = self.contents.lock();
        if *in_force == contents {
            return Ok(false);
        }
        self.config.store(Arc::new(contents.config(&self.files, &self.protocols)?));
        *in_force = contents;
        Ok(true)
    }

    /// Reloads every `interval` until the listeners close.
    pub async fn watch(self: Arc<Self>, interval: Duration, metrics: Arc<Metrics>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = shutdown.closing() => return,
            }
            let certificates = self.clone();
            match tokio::task::spawn_blocking(move || certificates.reload()).await {
                Ok(Ok(true)) => {
                    metrics.reload.tls_ok.inc();
                    tracing::info!(file = %self.files.cert.display(), "the certificate was replaced");
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    metrics.reload.tls_failed.inc();
                    tracing::warn!(%error, "the certificate was not replaced; the old one stays in force");
                }
                Err(error) => tracing::error!(%error, "reading the certificate broke off"),
            }
        }
    }
}

impl Contents {
    fn read(files: &ServerTls) -> Result<Self, CertificateError> {
        Ok(Contents {
            cert: read(&files.cert)?,
            key: read(&files.key)?.into(),
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn config(&self, files: &ServerTls, protocols: &[Vec<u8>]) -> Result<ServerConfig, CertificateError> {
        let chain = certificates(&files.cert, &self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|_| CertificateError::Pem(files.key.clone(), "private key"))?;
        let unusable = |error: String| CertificateError::Unusable(files.cert.clone(), error);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?;
        let builder = match (&files.client_ca, &self.client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path, pem)? {
                    roots
                        .add(authority)
                        .map_err(|error| CertificateError::Unusable(path.clone(), error.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| CertificateError::Unusable(path.clone(), error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(error.to_string()))?;
        config.alpn_protocols = protocols.to_vec();
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    use std::io::Read;
    let failed = |error| CertificateError::Read(path.to_owned(), error);
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let missing = || CertificateError::Pem(path.to_owned(), "certificate");
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| missing())?;
    if chain.is_empty() { Err(missing()) } else { Ok(chain) }
}
