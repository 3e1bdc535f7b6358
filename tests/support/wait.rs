//! Waiting for something to become true: asked again and again, with an end.

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest wait for anything; a machine with two busy cores needs some of it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is an answer; panics with the last reason why not.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(reason) if Instant::now() > deadline => panic!("{what}: not within {PATIENCE:?}: {reason}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The same for a thread.
pub fn eventually_blocking<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(reason) if Instant::now() > deadline => panic!("{what}: not within {PATIENCE:?}: {reason}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
