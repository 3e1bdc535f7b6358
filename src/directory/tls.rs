//! TLS to databases: certificates are checked by the platform, or against the roots of a file that is named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres_rustls::MakeRustlsConnect;

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Roots(PathBuf, String),
    #[error("TLS: {0}")]
    Unusable(#[from] rustls::Error),
}

/// What connects with TLS. Without `roots`, whom the platform trusts is trusted.
pub(crate) fn connector(roots: Option<&Path>) -> Result<MakeRustlsConnect, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = match roots {
        None => builder.with_platform_verifier()?.with_no_client_auth(),
        Some(path) => builder.with_root_certificates(read(path)?).with_no_client_auth(),
    };
    Ok(MakeRustlsConnect::new(config))
}

fn read(path: &Path) -> Result<RootCertStore, TlsError> {
    let failed = |why: String| TlsError::Roots(path.to_owned(), why);
    let mut roots = RootCertStore::empty();
    let pem = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
    for certificate in pem {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("no certificate in it".to_owned())) } else { Ok(roots) }
}
