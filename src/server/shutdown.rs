//! How the process ends: readiness fails, load balancers get time to notice, connections are told to go away, what is in
//! flight finishes, and only then is the rest cut off.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The three moments of an orderly end; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    closing: CancellationToken,
    ended: CancellationToken,
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Shutdown::default()
    }

    /// Whether the end has begun: `/readyz` fails from here on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Readiness fails; everything is still served.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Listeners close, and connections are told to go away.
    pub async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// The time for what was in flight is over.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Runs the end. `finished` is over when all listeners have returned; it is waited for at most `timeout`, then what
    /// is left is cut off.
    pub async fn run(&self, delay: Duration, timeout: Duration, finished: impl Future<Output = ()>) {
        self.draining.cancel();
        tokio::time::sleep(delay).await;
        self.closing.cancel();
        // Whether it is over in time or not, the next step is the same.
        let _ = tokio::time::timeout(timeout, finished).await;
        self.ended.cancel();
    }
}
