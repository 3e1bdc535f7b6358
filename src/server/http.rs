//! Serves an `axum` router on a port of its own: HTTP/1.1 and HTTP/2, with or without TLS, every wait and body bounded.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::certificates::Certificates;
use super::connection::HANDSHAKE;
use super::shutdown::Shutdown;

/// Bytes of a request's body, and how long one request may take.
const MAX_BODY: usize = 8 * 1024 * 1024;
const MAX_TIME: Duration = Duration::from_secs(60);
/// Connections open at once on one such port.
const MAX_CONNECTIONS: usize = 1_024;
/// Streams one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 128;

/// Serves until the listeners close, and then what is in flight. Handlers find the peer in
/// `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    certificates: Option<Arc<Certificates>>,
    shutdown: Shutdown,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = router
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, MAX_TIME));
    let (slots, connections) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.closing() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let router = router.clone().layer(axum::Extension(ConnectInfo(peer)));
        let (certificates, shutdown) = (certificates.clone(), shutdown.clone());
        connections.spawn(async move {
            let served = match certificates {
                None => connection(stream, router, shutdown).await,
                Some(certificates) => {
                    let handshake = TlsAcceptor::from(certificates.current()).accept(stream);
                    match tokio::time::timeout(HANDSHAKE, handshake).await {
                        Ok(Ok(stream)) => connection(stream, router, shutdown).await,
                        Ok(Err(error)) => Err(error.into()),
                        Err(elapsed) => Err(elapsed.into()),
                    }
                }
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection ended");
            }
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = shutdown.ended() => {}
    }
    Ok(())
}

async fn connection<S>(
    stream: S,
    router: Router,
    shutdown: Shutdown,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Some(Duration::from_secs(60)))
        .keep_alive_timeout(Duration::from_secs(20));
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    tokio::select! {
        ended = &mut connection => return ended,
        () = shutdown.closing() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.ended() => Ok(()),
    }
}
