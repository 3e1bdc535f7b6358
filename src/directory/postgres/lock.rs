//! The lock that keeps a database to one gate with counters in memory: a session-level advisory lock on a connection of
//! its own. When that connection is lost the lock is taken again, and whoever holds it learns when that is not possible.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::engine::random_id;
use super::super::{DirectoryError, Result};
use super::connect::{Target, ask};
use super::{Place, errors, locks};

/// How often the connection is asked whether it lives, and how long an answer may take.
const HEARTBEAT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(3);
/// At start it is waited for this long: the server may not know yet that our predecessor is gone.
const PREDECESSOR: Duration = Duration::from_secs(2);
/// Once the database answers again, a lock that another holds is waited for this long: it may be our own connection, of
/// which the server does not know yet that it is gone.
const STOLEN: Duration = Duration::from_secs(5);

/// The lock, for as long as it lives.
#[derive(Debug)]
pub(in super::super) struct SessionLock {
    held: watch::Receiver<bool>,
    _end: DropGuard,
}

impl SessionLock {
    pub(in super::super) async fn take(place: &Place) -> Result<SessionLock> {
        // By its name our own old connection is told from another process's.
        let target = place.direct.named(&format!("tollward alone {}", random_id()?));
        let (told, held) = watch::channel(true);
        let cancel = CancellationToken::new();
        let (end, handle) = (cancel.clone(), place.driver.handle());
        let first = handle.spawn(async move {
            let until = Instant::now() + PREDECESSOR;
            let client = loop {
                match take(&target).await? {
                    None if Instant::now() < until => sleep(HEARTBEAT / 4).await,
                    taken => break taken,
                }
            };
            Ok::<_, DirectoryError>((target, client))
        });
        let (target, client) = first.await.map_err(errors::unavailable)??;
        let Some(client) = client else {
            return Err(DirectoryError::Unavailable(
                "another tollward serves this database with counters in memory; two would multiply every limit: stop \
                 the other, or set REDIS_URL so that both share their counters"
                    .to_owned(),
            ));
        };
        handle.spawn(async move {
            end.run_until_cancelled(keep(&target, client)).await;
            told.send_replace(false);
        });
        Ok(SessionLock { held, _end: cancel.drop_guard() })
    }

    /// Waits until another process has the lock.
    pub(in super::super) async fn lost(&self) {
        let mut held = self.held.clone();
        // The sender goes away with the driver, and with it every connection.
        let _ = held.wait_for(|held| !held).await;
    }
}

/// Connects and takes the lock; `None` where another has it.
async fn take(target: &Target) -> Result<Option<Client>> {
    let failed = |error: tokio_postgres::Error| errors::of(&error);
    let client = ask(target).await?;
    let (class, lock) = (locks::CLASS, locks::ALONE);
    // Our own old connection, where the server still has it.
    let end = format!(
        "SELECT pg_terminate_backend(held.pid) FROM pg_locks held JOIN pg_stat_activity a ON a.pid = held.pid \
         WHERE held.locktype = 'advisory' AND held.classid::BIGINT = {class} AND held.objid::BIGINT = {lock} \
         AND held.granted AND held.pid <> pg_backend_pid() \
         AND a.application_name = current_setting('application_name')"
    );
    answered(client.batch_execute(&end)).await?;
    let taken = format!("SELECT pg_try_advisory_lock({class}, {lock})");
    let row = answered(client.query_typed_one(&taken, &[])).await?;
    let taken: bool = row.try_get(0).map_err(failed)?;
    Ok(taken.then_some(client))
}

/// Keeps the lock; ends when another has it.
async fn keep(target: &Target, mut client: Client) {
    loop {
        while answered(client.batch_execute("SELECT 1")).await.is_ok() {
            sleep(HEARTBEAT).await;
        }
        tracing::warn!("the connection that keeps this directory to one gate is lost; it is taken again");
        let mut answered_at: Option<Instant> = None;
        client = loop {
            match take(target).await {
                Ok(Some(client)) => break client,
                Ok(None) => {
                    let since = *answered_at.get_or_insert_with(Instant::now);
                    if since.elapsed() > STOLEN {
                        return;
                    }
                }
                Err(_) => answered_at = None,
            }
            sleep(HEARTBEAT / 4).await;
        };
    }
}

async fn answered<T>(answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error| errors::of(&error)),
        Err(_) => Err(errors::unavailable("no answer in time")),
    }
}
