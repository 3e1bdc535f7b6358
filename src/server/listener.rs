//! The ports as they are bound: a listener for each runtime of the gRPC port, one each for the others. Binding is apart
//! from serving, so that an address in use is an error at start-up.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Semaphore;

use super::certificates::{CertificateError, Certificates, POLL};
use super::connection::Terms;
use super::exposure::{self, Exposed};
use super::http;
use super::ops::Readiness;
use super::routes::{Methods, SERVICES};
use super::shutdown::Shutdown;
use super::workers::{self, MAX_CONNECTIONS, Work};
use crate::config::{Config, Listen};
use crate::domain::Secret;
use crate::grpc::Decide;
use crate::grpc::process::Streams;
use crate::telemetry::Metrics;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Why the ports cannot be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(transparent)]
    Exposed(#[from] Exposed),
    #[error("cannot listen on {name} {address}: {error}")]
    Bind { name: &'static str, address: SocketAddr, error: io::Error },
    #[error("{name}: {error}")]
    Certificate { name: &'static str, error: CertificateError },
    #[error("cannot start a thread of the gRPC port: {0}")]
    Thread(io::Error),
    #[error("the descriptors of our services cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("a thread of the gRPC port broke off")]
    Broken,
}

/// What the ports are served with.
pub struct Parts<D> {
    pub gate: Arc<D>,
    pub metrics: Arc<Metrics>,
    /// The management API.
    pub management: axum::Router,
    /// What `/metrics` asks for, if anything.
    pub metrics_key: Option<Secret>,
    /// What `/readyz` asks.
    pub readiness: Readiness,
    pub shutdown: Shutdown,
}

/// The ports, bound.
#[derive(Debug)]
pub struct Listeners {
    listen: Arc<Listen>,
    grpc: Vec<TcpListener>,
    http: TcpListener,
    ops: TcpListener,
    grpc_certificates: Option<Arc<Certificates>>,
    http_certificates: Option<Arc<Certificates>>,
}

impl Listeners {
    /// Binds all ports and reads their certificates; nothing is served yet.
    pub fn bind(config: &Config) -> Result<Self, ListenError> {
        exposure::check(config)?;
        let load = |name, files: &Option<crate::config::ServerTls>, protocols: &[&str]| {
            let certificates = files.as_ref().map(|files| Certificates::load(files, protocols)).transpose();
            certificates.map(|found| found.map(Arc::new)).map_err(|error| ListenError::Certificate { name, error })
        };
        let listen = &config.listen;
        let workers = match listen.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        Ok(Listeners {
            grpc_certificates: load("tls.grpc", &config.tls.grpc, &["h2"])?,
            http_certificates: load("tls.http", &config.tls.http, &["h2", "http/1.1"])?,
            grpc: bind_shared(listen.grpc, workers).map_err(|error| ListenError::Bind {
                name: "listen.grpc",
                address: listen.grpc,
                error,
            })?,
            http: bind(listen.http, false).map_err(|error| ListenError::Bind {
                name: "listen.http",
                address: listen.http,
                error,
            })?,
            ops: bind(listen.ops, false).map_err(|error| ListenError::Bind {
                name: "listen.ops",
                address: listen.ops,
                error,
            })?,
            listen: Arc::new(listen.clone()),
        })
    }

    /// Addresses as bound: gRPC, management, operations.
    pub fn addresses(&self) -> io::Result<[SocketAddr; 3]> {
        let grpc = self.grpc.first().ok_or(io::ErrorKind::NotConnected)?;
        Ok([grpc.local_addr()?, self.http.local_addr()?, self.ops.local_addr()?])
    }

    /// Serves until the shutdown has run: returns when the last connection is over, or when its time is.
    pub async fn run<D: Decide>(self, parts: Parts<D>) -> Result<(), ListenError> {
        let Parts { gate, metrics, management, metrics_key, readiness, shutdown } = parts;
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut workers = Vec::with_capacity(self.grpc.len());
        let mut reporters = Vec::with_capacity(self.grpc.len());
        for (index, listener) in self.grpc.into_iter().enumerate() {
            let streams = Streams::default();
            let (methods, reporter) = Methods::new(&gate, &metrics, streams.clone(), self.listen.max_message_size)?;
            for service in SERVICES {
                reporter.set_service_status(service, tonic_health::ServingStatus::Serving).await;
            }
            reporters.push(reporter);
            let terms = Terms {
                methods,
                listen: self.listen.clone(),
                certificates: self.grpc_certificates.clone(),
                shutdown: shutdown.clone(),
            };
            let work = Work { terms, streams, metrics: metrics.clone(), slots: slots.clone() };
            workers.push(workers::spawn(index, listener, work).map_err(ListenError::Thread)?);
        }

        let watch = |certificates: Option<Arc<Certificates>>| {
            let (metrics, shutdown) = (metrics.clone(), shutdown.clone());
            async move {
                if let Some(certificates) = certificates {
                    certificates.watch(POLL, metrics, shutdown).await;
                }
            }
        };
        let watches =
            futures_util::future::join(watch(self.grpc_certificates.clone()), watch(self.http_certificates.clone()));
        let fail_health = async {
            shutdown.draining().await;
            for reporter in &reporters {
                for service in SERVICES {
                    reporter.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
                }
            }
        };
        let management = http::serve(self.http, management, self.http_certificates.clone(), shutdown.clone());
        let ops = super::ops::router(metrics.clone(), metrics_key, readiness, shutdown.clone());
        let ops = http::serve(self.ops, ops, None, shutdown.clone());
        let grpc = async {
            let mut whole = Ok(());
            for finished in workers {
                whole = finished.await.map_err(|_| ListenError::Broken).and(whole);
            }
            whole
        };
        let (grpc, _, (), management, ops) = tokio::join!(grpc, watches, fail_health, management, ops);
        for (name, address, served) in
            [("listen.http", self.listen.http, management), ("listen.ops", self.listen.ops, ops)]
        {
            served.map_err(|error| ListenError::Bind { name, address, error })?;
        }
        grpc
    }
}

/// One listener for each runtime on the same address; the kernel spreads connections over them. An address that another
/// process listens on is refused, although `SO_REUSEPORT` would let it be shared.
fn bind_shared(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind(address, false)?;
    let address = first.local_addr()?;
    drop(first);
    (0..count.max(1)).map(|_| bind(address, true)).collect()
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
