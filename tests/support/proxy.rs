//! A proxy in front of a TCP port that can fall silent: its connections stay open and nothing passes.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Proxy {
    pub port: u16,
    silent: watch::Sender<bool>,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// Begins to forward to a port of this machine; it ends with the runtime.
    pub async fn start(to: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (silent, heard) = watch::channel(false);
        let passed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&passed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (heard, counted) = (heard.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
                    let _ = (client.set_nodelay(true), server.set_nodelay(true));
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::join!(
                        forward(from_client, to_server, heard.clone(), Arc::default()),
                        forward(from_server, to_client, heard, counted),
                    );
                });
            }
        });
        Proxy { port, silent, passed }
    }

    /// Nothing passes any more, or everything again.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Answers of the server that passed.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut silent: watch::Receiver<bool>,
    passed: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if silent.wait_for(|silent| !silent).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        passed.fetch_add(1, Ordering::SeqCst);
    }
}
