//! One connection of the gRPC port: handshake, HTTP/2 within bounds, and its end by age or by shutdown.

use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::answers::Answers;
use super::certificates::Certificates;
use super::cork;
use super::routes::Methods;
use super::shutdown::Shutdown;
use crate::config::Listen;
use crate::grpc::Decide;

/// How long a TLS handshake may take, and how long the first bytes of HTTP/2.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Bytes of HTTP/2's connection preface (RFC 9113, section 3.4).
const PREFACE: u8 = 24;
/// Window of a stream, and of a connection: bodies of 10 MiB come in checks.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What every connection of a port shares. Cheap to clone.
#[derive(Debug)]
pub struct Terms<D> {
    pub methods: Methods<D>,
    pub listen: Arc<Listen>,
    pub certificates: Option<Arc<Certificates>>,
    pub shutdown: Shutdown,
}

impl<D> Clone for Terms<D> {
    fn clone(&self) -> Self {
        Terms {
            methods: self.methods.clone(),
            listen: self.listen.clone(),
            certificates: self.certificates.clone(),
            shutdown: self.shutdown.clone(),
        }
    }
}

/// Why a connection ended otherwise than orderly.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("nothing was said in time")]
    Silent,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// Serves a connection to its end.
pub async fn serve<D: Decide>(stream: TcpStream, peer: IpAddr, terms: Terms<D>) -> Result<(), ConnectionError> {
    let Some(certificates) = &terms.certificates else { return serve_http(stream, peer, terms).await };
    let handshake = TlsAcceptor::from(certificates.current()).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE, handshake)
        .await
        .map_err(|_| ConnectionError::Silent)?
        .map_err(ConnectionError::Handshake)?;
    serve_http(stream, peer, terms).await
}

async fn serve_http<D, S>(stream: S, peer: IpAddr, terms: Terms<D>) -> Result<(), ConnectionError>
where
    D: Decide,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::new(AtomicU8::new(0));
    let (stream, cork) = cork::cork(Heard { stream, bytes: heard.clone() });
    let methods = terms.methods;
    // Boxed when it is first run: HTTP/2 moves an answer from hand to hand half a dozen times before.
    let service = service_fn(move |request| {
        let methods = methods.clone();
        async move { Ok::<_, std::convert::Infallible>(Box::pin(methods.call(request, peer)).await) }
    });
    let answers = Answers::default();
    let mut connection = pin!(builder(&terms.listen, answers.clone()).serve_connection(TokioIo::new(stream), service));

    tokio::select! {
        ended = cork.turn(connection.as_mut(), &answers) => return Ok(ended?),
        () = silence(&heard) => return Err(ConnectionError::Silent),
        () = tokio::time::sleep(age(terms.listen.max_connection_age())) => {}
        () = terms.shutdown.closing() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        ended = cork.turn(connection.as_mut(), &answers) => Ok(ended?),
        () = tokio::time::sleep(terms.listen.max_connection_age_grace.as_duration()) => Ok(()),
        () = terms.shutdown.ended() => Ok(()),
    }
}

fn builder(listen: &Listen, answers: Answers) -> http2::Builder<Answers> {
    let mut builder = http2::Builder::new(answers);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(listen.max_concurrent_streams)
        .max_header_list_size(listen.max_header_list_size)
        .max_pending_accept_reset_streams(listen.max_pending_accept_reset_streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Some(listen.keepalive_interval.as_duration()))
        .keep_alive_timeout(listen.keepalive_timeout.as_duration());
    builder
}

/// The age with up to a tenth more or less, so that connections opened together do not all end together.
fn age(mean: Duration) -> Duration {
    let random = ahash::RandomState::new().hash_one(0u8) % 2_001;
    mean.mul_f64(0.9 + random as f64 / 10_000.0)
}

/// Ends where the preface has not come in time; never where it has.
async fn silence(heard: &AtomicU8) {
    tokio::time::sleep(HANDSHAKE).await;
    if heard.load(Ordering::Relaxed) >= PREFACE {
        std::future::pending::<()>().await;
    }
}

/// A stream that counts its first bytes.
struct Heard<S> {
    stream: S,
    bytes: Arc<AtomicU8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let so_far = self.bytes.load(Ordering::Relaxed);
        if so_far < PREFACE {
            let new = u8::try_from(buffer.filled().len().saturating_sub(before)).unwrap_or(u8::MAX);
            self.bytes.store(so_far.saturating_add(new), Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
