//! Connections to a gRPC authoriser, with TLS where its address says so.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

/// Lists of headers of an answer beyond this are refused by the connection.
const MAX_HEADERS: u32 = 64 * 1024;

/// Where and how.
pub(super) struct Target {
    pub host: String,
    pub port: u16,
    pub tls: Option<TlsConnector>,
    pub timeout: Duration,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Target {
    /// A channel that connects when it is first used, and again whenever its connection broke. To be called on a
    /// runtime.
    pub(super) fn channel(&self) -> Result<Channel, String> {
        let shown = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let uri = |scheme: &str| {
            format!("{scheme}://{shown}:{}", self.port).parse::<Uri>().map_err(|error| error.to_string())
        };
        // TLS is the connector's business; the address of the endpoint says nothing of it, the origin does.
        let origin = uri(if self.tls.is_some() { "https" } else { "http" })?;
        let endpoint = Endpoint::from(uri("http")?)
            .origin(origin)
            .connect_timeout(self.timeout)
            .http2_max_header_list_size(MAX_HEADERS)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(5));
        let (host, port, tls) = (self.host.clone(), self.port, self.tls.clone());
        Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (host, tls) = (host.clone(), tls.clone());
            async move { connect(&host, port, tls).await.map(TokioIo::new) }
        })))
    }
}

async fn connect(host: &str, port: u16, tls: Option<TlsConnector>) -> std::io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(tls.connect(name, stream).await?))
}

/// What the authoriser's certificate must be signed by: these authorities, else those this machine trusts.
pub(super) fn tls(ca: Option<&[u8]>) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let mut config = match ca {
        Some(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        None => {
            let verifier = rustls_platform_verifier::Verifier::new(provider)
                .map_err(|error| format!("no certificates to trust are found: {error}; name a file with ca"))?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(roots)
}
