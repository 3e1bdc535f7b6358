//! The watch: a thread with a connection of its own asks SQLite whether another connection wrote, and then whether it
//! wrote rows that are cached. The ledger's batches change neither.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::statements::VERSION;
use super::connection;

/// What one look found.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Seen {
    pub changed: bool,
}

/// A running watch.
pub(in super::super) struct Watch {
    stop: Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Watch {
    /// Looks every `every` and reports each look that succeeded; the first one counts as a change, since nobody knows
    /// what happened before.
    pub(in super::super) fn begin(file: PathBuf, every: Duration, report: impl FnMut(Seen) + Send + 'static) -> Watch {
        let (stop, stopping) = channel();
        let (done, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("directory-watch".to_owned());
        let begun = thread.spawn(move || {
            look(&file, every, &stopping, report);
            let _ = done.send(());
        });
        if let Err(error) = begun {
            tracing::error!(%error, "the watch on the directory cannot start; cached rows are read again every second");
        }
        Watch { stop, stopped }
    }

    /// Ends the thread and waits for it.
    pub(in super::super) async fn end(self) {
        drop(self.stop);
        let _ = self.stopped.await;
    }
}

/// What is remembered between two looks.
struct Looked {
    connection: Connection,
    data_version: i64,
    version: i64,
}

fn look(file: &std::path::Path, every: Duration, stopping: &Receiver<()>, mut report: impl FnMut(Seen)) {
    let mut looked: Option<Looked> = None;
    let mut was_lost = false;
    loop {
        let result = match &mut looked {
            None => first(file).map(|first| {
                looked = Some(first);
                Seen { changed: true }
            }),
            Some(looked) => again(looked),
        };
        match result {
            Ok(seen) => {
                was_lost = false;
                report(seen);
            }
            Err(error) => {
                looked = None;
                if !std::mem::replace(&mut was_lost, true) {
                    tracing::warn!(%error, "the watch on the directory sees nothing; cached rows are read again every second");
                }
            }
        }
        if stopping.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn first(file: &std::path::Path) -> rusqlite::Result<Looked> {
    let connection = connection::open_reader(file)
        .map_err(|error| rusqlite::Error::InvalidPath(PathBuf::from(format!("{}: {error}", file.display()))))?;
    let data_version = data_version(&connection)?;
    let version = version(&connection)?;
    Ok(Looked { connection, data_version, version })
}

fn again(looked: &mut Looked) -> rusqlite::Result<Seen> {
    let now = data_version(&looked.connection)?;
    if now == looked.data_version {
        return Ok(Seen { changed: false });
    }
    // Read before it is remembered: a failure in between is a change not yet seen.
    let version = version(&looked.connection)?;
    let changed = version != looked.version;
    (looked.data_version, looked.version) = (now, version);
    Ok(Seen { changed })
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(VERSION)?.query_row([], |row| row.get(0))
}
