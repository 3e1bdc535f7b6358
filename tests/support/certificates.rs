//! Certificates of an authority of the test's own, and connections that show them.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority that signs certificates for servers and clients.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("certificates of our own");
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("certificates of our own");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("certificates of our own").pem();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, name: &str) -> Identity {
        self.issue(
            CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).expect("certificates of our own"),
        )
    }

    /// A workload's certificate, as SPIFFE has it: a URI and no other name.
    pub fn sign_uri(&self, uri: &str) -> Identity {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("certificates of our own");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("certificates of our own"))];
        self.issue(params)
    }

    fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("certificates of our own");
        let certificate = params.signed_by(&key, &self.issuer).expect("certificates of our own").pem();
        Identity { certificate, key: key.serialize_pem() }
    }

    /// A client that trusts this authority and shows that identity.
    pub fn client(&self, identity: Option<&Identity>, protocols: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("certificates of our own"))
            .expect("certificates of our own");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("certificates of our own");
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![
                    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("certificates of our own"),
                ];
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("certificates of our own");
                builder.with_client_auth_cert(chain, key).expect("certificates of our own")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands; a server that wants another client says so at the first read.
pub fn connect(port: u16, config: ClientConfig) -> std::io::Result<Tls> {
    let socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let name = ServerName::try_from("127.0.0.1").expect("certificates of our own");
    let mut stream =
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("certificates of our own"), socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}
