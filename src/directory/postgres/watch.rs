//! The watch: a connection of its own listens for changes, and asks every 50 ms how many there were. So neither a lost
//! notification nor a connection that only seems alive keeps anything old: what was not answered lately is not trusted.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::super::Result;
use super::super::statements::VERSION;
use super::connect::Target;
use super::errors::{self, unavailable};
use super::{CHANNEL, Place};

/// A question was answered this lately, or nobody knows what happened since. With the next it bounds how long a revoked
/// key is accepted when the connection falls silent: 100 ms.
pub(in super::super) const LIVE_FOR: Duration = Duration::from_millis(75);
/// Entries are read again after this time while nobody knows.
pub(in super::super) const UNWATCHED_TTL: Duration = Duration::from_millis(25);
/// How often it asks.
const EVERY: Duration = Duration::from_millis(50);
/// A connection that does not answer by then is given up.
const ANSWER: Duration = Duration::from_secs(1);
/// Between two tries to connect; doubled up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What the watch saw.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Seen {
    pub changed: bool,
    /// When the question was asked that this answers; a notification answers none.
    pub asked: Option<Instant>,
}

/// Watches until it is cancelled.
pub(in super::super) async fn watch(
    place: &Place,
    cancel: &CancellationToken,
    report: impl FnMut(Seen) + Send + 'static,
) {
    let (target, cancel) = (place.direct.named("tollward watch"), cancel.clone());
    let watching = place.driver.handle().spawn(async move {
        cancel.run_until_cancelled(again_and_again(&target, report)).await;
    });
    // It ends when it is cancelled; a panic of it was logged.
    let _ = watching.await;
}

async fn again_and_again(target: &Target, mut report: impl FnMut(Seen)) {
    let mut pause = PAUSES.0;
    let mut was_lost = false;
    loop {
        let mut has_answered = false;
        let ended = listen(target, |seen| {
            has_answered = true;
            report(seen);
        });
        let error = match ended.await {
            Err(error) => error,
            Ok(never) => match never {},
        };
        if has_answered {
            (pause, was_lost) = (PAUSES.0, false);
        }
        if !std::mem::replace(&mut was_lost, true) {
            tracing::warn!(%error, "the watch on the directory sees nothing; cached rows are read again at every use");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn listen(target: &Target, mut report: impl FnMut(Seen)) -> Result<std::convert::Infallible> {
    let (client, mut connection) = target.connect().await?;
    let (announce, mut announced) = mpsc::unbounded_channel();
    let driving = tokio::spawn(async move {
        let mut messages = poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(change) = message
                && announce.send(change.payload().parse::<i64>().ok()).is_err()
            {
                return;
            }
        }
    });
    // It ends with the client too, but then nobody would wait for it.
    let _ends = AbortOnDrop(driving.abort_handle());
    answered(client.batch_execute(&format!("{} LISTEN {CHANNEL}", target.setup()))).await?;
    // Nobody knows what was before.
    let mut known = None;
    loop {
        let asked = Instant::now();
        let version = answered(version(&client)).await?;
        let changed = known != Some(version);
        known = Some(version);
        report(Seen { changed, asked: Some(asked) });
        let next = sleep_until((asked + EVERY).into());
        tokio::pin!(next);
        loop {
            let change = tokio::select! {
                () = &mut next => break,
                change = announced.recv() => change.ok_or_else(|| unavailable("the connection ended"))?,
            };
            // What the last answer counted already was announced late.
            if change.is_none() || change > known {
                known = change.or(known);
                report(Seen { changed: true, asked: None });
            }
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn version(client: &Client) -> std::result::Result<i64, tokio_postgres::Error> {
    client.query_typed_one(VERSION, &[]).await?.try_get(0)
}

async fn answered<T>(answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>) -> Result<T> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|error| errors::of(&error)),
        Err(_) => Err(unavailable("the connection has fallen silent")),
    }
}
