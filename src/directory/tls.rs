//! TLS to PostgreSQL: whoever asks for it gets certificates that are checked.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What a server's certificate must be signed by: the file's certificates, else what this machine trusts.
pub(crate) fn connector(mode: SslMode, root: Option<&Path>) -> Result<MakeRustlsConnect, String> {
    config(mode, root).map(MakeRustlsConnect::new)
}

fn config(mode: SslMode, root: Option<&Path>) -> Result<ClientConfig, String> {
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
