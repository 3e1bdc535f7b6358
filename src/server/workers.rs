//! The threads of the gRPC port: one current-thread runtime each, with a listener of its own. A connection stays where it
//! was accepted, so nothing on the path of a Check crosses a thread.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::connection::{self, Terms};
use crate::grpc::Decide;
use crate::grpc::process::Streams;
use crate::telemetry::Metrics;

/// Connections one process holds open on the gRPC port.
pub const MAX_CONNECTIONS: usize = 4_096;
/// How long streams of the meter may settle once the rest is over.
const SETTLE: Duration = Duration::from_secs(5);

/// What a thread serves with.
pub struct Work<D: Decide> {
    pub terms: Terms<D>,
    pub streams: Streams,
    pub metrics: Arc<Metrics>,
    /// Shared by all threads.
    pub slots: Arc<Semaphore>,
}

/// Starts one thread; the receiver ends when it has served its last connection.
pub fn spawn<D: Decide>(index: usize, listener: TcpListener, work: Work<D>) -> io::Result<oneshot::Receiver<()>> {
    let (done, finished) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("grpc-{index}")).spawn(move || {
        runtime.block_on(run(listener, work));
        // Nobody waits any more where the receiver is gone.
        let _ = done.send(());
    })?;
    Ok(finished)
}

async fn run<D: Decide>(listener: TcpListener, work: Work<D>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener of the gRPC port cannot be used");
            return;
        }
    };
    let shutdown = work.terms.shutdown.clone();
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.closing() => break,
        };
        match accepted {
            Ok((stream, peer)) => accept(stream, peer.ip().to_canonical(), &work, &connections),
            Err(error) => {
                // Out of descriptors, mostly: trying again at once would only burn the core.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = shutdown.ended() => {}
    }
    // Streams whose connection is gone settle by themselves; the rest is told to.
    if tokio::time::timeout(SETTLE, work.streams.finish()).await.is_err() {
        tracing::warn!("some streams of the meter were not settled in time; their holds expire as unsettled");
    }
}

fn accept<D: Decide>(stream: tokio::net::TcpStream, peer: std::net::IpAddr, work: &Work<D>, connections: &TaskTracker) {
    let allowed = &work.terms.listen.grpc_clients;
    let known = allowed.is_empty() || allowed.iter().any(|network: &IpNet| network.contains(&peer));
    let slot = if known { work.slots.clone().try_acquire_owned().ok() } else { None };
    let Some(slot) = slot else {
        work.metrics.connections_refused.inc();
        tracing::debug!(%peer, known, "a connection was turned away");
        return;
    };
    // Answers are small and written at once; waiting for more would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY cannot be set");
    }
    let (terms, metrics) = (work.terms.clone(), work.metrics.clone());
    connections.spawn(async move {
        metrics.connections.inc();
        if let Err(error) = connection::serve(stream, peer, terms).await {
            if !matches!(error, connection::ConnectionError::Http(_)) {
                metrics.connections_refused.inc();
            }
            tracing::debug!(%peer, %error, "a connection ended");
        }
        metrics.connections.dec();
        drop(slot);
    });
}
