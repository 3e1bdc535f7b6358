//! Starts the listeners with a gate that does what the path says, and speaks to them.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest as Http, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use parking_lot::Mutex;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::super::certificates::Certificates;
use super::super::ops::Readiness;
use super::super::{Listeners, Parts, Shutdown};
use crate::config::{Config, OnError, ServerTls};
use crate::domain::{
    Allow, AuthMethod, BudgetDuration, Caller, Decision, Denial, ErrorType, Fields, HoldId, Identity, Role,
};
use crate::grpc::{Decide, EdgeSettings, MeterSession};
use crate::request::HttpRequest;
use crate::telemetry::Metrics;

/// A gate that does what the path says: `/allow`, `/deny`, `/hang` (for ever), `/wait` (until told).
#[derive(Clone, Default)]
pub struct Gate {
    pub asked: Arc<Notify>,
    pub dropped: Arc<Notify>,
    pub go_on: Arc<Notify>,
    pub given_back: Arc<Notify>,
    released: Arc<AtomicUsize>,
    shadow: bool,
}

impl Gate {
    /// One that is in shadow mode, or is not.
    pub fn in_shadow(shadow: bool) -> Self {
        Gate { shadow, ..Gate::default() }
    }

    pub fn released(&self) -> usize {
        self.released.load(Ordering::SeqCst)
    }
}

struct TellDrop(Arc<Notify>);

impl Drop for TellDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Decide for Gate {
    async fn decide(&self, request: &HttpRequest<'_>) -> Decision {
        match request.path {
            "/deny" => return Decision::Deny(Box::new(Denial::new(ErrorType::PermissionDenied, "test", "no"))),
            "/hang" => {
                let _tell = TellDrop(self.dropped.clone());
                self.asked.notify_one();
                std::future::pending::<()>().await;
            }
            "/wait" => {
                self.asked.notify_one();
                self.go_on.notified().await;
            }
            _ => {}
        }
        let header = request.headers.get("x-long").unwrap_or_default().len();
        let body = request.body.unwrap_or_default().len();
        Decision::Allow(Box::new(Allow {
            caller: Caller::new(AuthMethod::Public, Role::InternalUser, Arc::new(Identity::default())),
            standing: Arc::default(),
            upstream_headers: [("x-seen", format!("{header} {body} {}", request.gateway))].into_iter().collect(),
            remove_headers: Vec::new(),
            remove_query: Vec::new(),
            response_headers: Fields::default(),
            metadata: Fields::default(),
            hold: Some(HoldId::new([1; 16])),
            shadow: None,
        }))
    }

    fn release(&self, _: HoldId) {
        self.released.fetch_add(1, Ordering::SeqCst);
        self.given_back.notify_one();
    }

    fn settings(&self) -> Arc<EdgeSettings> {
        Arc::new(EdgeSettings {
            on_error: OnError::ErrorResponse,
            shadow: self.shadow,
            log_denials: false,
            log_allows: false,
        })
    }

    fn meter(&self, _: &str, _: IpAddr) -> Option<Box<dyn MeterSession>> {
        None
    }
}

/// Ports of the system's choice, on loopback, one thread.
pub fn config() -> Config {
    let mut config = Config::default();
    for port in [&mut config.listen.grpc, &mut config.listen.http, &mut config.listen.ops] {
        port.set_port(0);
    }
    config.listen.workers = 2;
    config.listen.drain_timeout = BudgetDuration::seconds(1);
    config
}

/// Listeners that run.
pub struct Running {
    pub grpc: SocketAddr,
    pub ops: SocketAddr,
    pub gate: Gate,
    pub metrics: Arc<Metrics>,
    pub shutdown: Shutdown,
    delay: Duration,
    timeout: Duration,
    served: Arc<Mutex<Option<JoinHandle<()>>>>,
}

pub async fn serve(config: Config, gate: Gate) -> Running {
    let listeners = Listeners::bind(&config).unwrap();
    let [grpc, _, ops] = listeners.addresses().unwrap();
    let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
    let parts = Parts {
        metrics_key: None,
        gate: Arc::new(gate.clone()),
        metrics: metrics.clone(),
        management: axum::Router::new(),
        readiness: Readiness::new().part("directory", || Ok(())),
        shutdown: shutdown.clone(),
    };
    let served = tokio::spawn(async move { listeners.run(parts).await.unwrap() });
    Running {
        grpc,
        ops,
        gate,
        metrics,
        shutdown,
        delay: config.listen.drain_delay.as_duration(),
        timeout: config.listen.drain_timeout.as_duration(),
        served: Arc::new(Mutex::new(Some(served))),
    }
}

impl Running {
    pub fn begin_end(&self) -> JoinHandle<()> {
        let served = self.served.lock().take().unwrap();
        let (shutdown, delay, timeout) = (self.shutdown.clone(), self.delay, self.timeout);
        tokio::spawn(async move {
            let mut served = served;
            shutdown.run(delay, timeout, async { (&mut served).await.unwrap() }).await;
            if !served.is_finished() {
                served.await.unwrap();
            }
        })
    }

    pub async fn stop(&self) {
        self.begin_end().await.unwrap();
    }
}

pub fn check(path: &str, header: &str, body: usize) -> CheckRequest {
    let http = Http {
        path: path.into(),
        headers: [("x-long".into(), header.into())].into(),
        raw_body: vec![b'b'; body],
        ..Default::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http), ..Default::default() }),
            ..Default::default()
        }),
    }
}

pub async fn channel(running: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", running.grpc)).unwrap().connect().await.unwrap()
}

pub async fn client(running: &Running) -> AuthorizationClient<Channel> {
    AuthorizationClient::new(channel(running).await)
}

type Send = h2::client::SendRequest<Bytes>;

/// A bare HTTP/2 connection.
pub async fn h2(running: &Running) -> (Send, h2::client::Connection<TcpStream, Bytes>) {
    h2::client::handshake(TcpStream::connect(running.grpc).await.unwrap()).await.unwrap()
}

fn request() -> http::Request<()> {
    http::Request::post("http://tollward/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

fn framed(message: &CheckRequest) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed.into()
}

/// Sends a Check whose connection somebody else drives.
pub async fn ask(send: &mut Send, path: &str) -> h2::client::ResponseFuture {
    let (response, mut body) = send.send_request(request(), false).unwrap();
    body.send_data(framed(&check(path, "", 0)), true).unwrap();
    response
}

/// The gRPC status of a response, wherever it stands.
pub async fn status(response: impl Future<Output = Result<http::Response<h2::RecvStream>, h2::Error>>) -> Option<Code> {
    let response = response.await.unwrap();
    let code = |headers: &http::HeaderMap| headers.get("grpc-status").map(|code| Code::from_bytes(code.as_bytes()));
    if let Some(code) = code(response.headers()) {
        return Some(code);
    }
    let mut body = response.into_body();
    while body.data().await.is_some() {}
    code(&body.trailers().await.unwrap()?)
}

/// Sends bytes as the message of a Check.
pub async fn raw_check(running: &Running, bytes: Bytes) -> Option<Code> {
    let (mut send, connection) = h2(running).await;
    let driver = tokio::spawn(connection);
    let (response, mut body) = send.send_request(request(), false).unwrap();
    body.send_data(bytes, true).unwrap();
    let status = status(response).await;
    driver.abort();
    status
}

/// Asks with a window of nothing, so that the answer cannot be sent, and hangs up on its headers.
pub async fn check_without_taking_the_answer(running: &Running) {
    let stream = TcpStream::connect(running.grpc).await.unwrap();
    let (mut send, connection) =
        h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let (response, mut body) = send.send_request(request(), false).unwrap();
    body.send_data(framed(&check("/allow", "", 0)), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    body.send_reset(h2::Reason::CANCEL);
    // With its last handle the connection ends, once the reset has left.
    drop((response, body, send));
    driver.await.ok();
}

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

fn authority() -> Authority {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { issuer: rcgen::Issuer::new(params, key), pem }
}

impl Authority {
    /// A certificate for `localhost`: PEM of it and of its key, and its DER.
    fn issue(&self) -> (String, String, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem(), certificate.der().to_vec())
    }
}

/// Serves with mutual TLS; a stranger is refused, a client is served, a new certificate is shown after a reload, and a
/// broken one leaves the old in force.
pub async fn mutual_tls() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let authority = authority();
    let (cert, key, der) = authority.issue();
    std::fs::write(file("cert.pem"), cert).unwrap();
    std::fs::write(file("key.pem"), key).unwrap();
    std::fs::write(file("ca.pem"), &authority.pem).unwrap();
    let files = ServerTls { cert: file("cert.pem"), key: file("key.pem"), client_ca: Some(file("ca.pem")) };
    let certificates = Arc::new(Certificates::load(&files, &["h2"]).unwrap());

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = move || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
    };
    let (client_cert, client_key, _) = authority.issue();
    let mut known = builder()
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(client_cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(client_key.as_bytes()).unwrap(),
        )
        .unwrap();
    known.alpn_protocols = vec![b"h2".to_vec()];
    let known = Arc::new(known);
    let mut stranger = builder().with_no_client_auth();
    stranger.alpn_protocols = vec![b"h2".to_vec()];

    let mut config = config();
    config.tls.grpc = Some(files);
    let running = serve(config, Gate::default()).await;
    // Speaks as `client`; the code of a Check and the certificate the server showed.
    let address = running.grpc;
    let speak = |client: Arc<rustls::ClientConfig>| async move {
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(client).connect(name, stream).await.ok()?;
        let shown = stream.get_ref().1.peer_certificates()?.first()?.to_vec();
        let (mut send, connection) = h2::client::handshake(stream).await.ok()?;
        tokio::spawn(connection);
        let (response, mut body) = send.send_request(request(), false).ok()?;
        body.send_data(framed(&check("/allow", "", 0)), true).ok()?;
        let response = response.await.ok()?;
        Some((status(async { Ok(response) }).await?, shown))
    };
    assert_eq!(speak(known.clone()).await, Some((Code::Ok, der.clone())));
    assert_eq!(speak(Arc::new(stranger)).await, None);
    running.stop().await;

    // The certificate's own life, without waiting for the poll.
    let shown = |certificates: &Certificates| certificates.current();
    let before = shown(&certificates);
    assert!(!certificates.reload().unwrap(), "nothing changed");
    std::fs::write(file("cert.pem"), "not a certificate").unwrap();
    assert!(certificates.reload().is_err());
    assert!(Arc::ptr_eq(&before, &shown(&certificates)), "the old one stays in force");
    let (cert, key, _) = authority.issue();
    std::fs::write(file("cert.pem"), cert).unwrap();
    assert!(certificates.reload().is_err(), "a key of another certificate");
    std::fs::write(file("key.pem"), key).unwrap();
    assert!(certificates.reload().unwrap());
    assert!(!Arc::ptr_eq(&before, &shown(&certificates)));
}
