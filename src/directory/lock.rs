//! Locks between processes. One keeps a directory to one gate, since a second one with counters of its own would multiply
//! every limit; the other keeps a spool to one.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::postgres::{Place, SessionLock};
use super::{DirectoryError, Result};

/// Held while this process uses the directory with counters in memory; released when dropped, also by a crash.
#[derive(Debug)]
pub struct ExclusiveLock(Held);

#[derive(Debug)]
enum Held {
    File { _file: File },
    Session(SessionLock),
}

impl ExclusiveLock {
    /// Locks the file beside `database`, `<database>.lock`. The lock file itself stays: removing it would let two
    /// processes lock two different files of the same name.
    pub(super) fn of_file(database: &Path) -> Result<Self> {
        let path = beside(database);
        match lock_file(&path)? {
            Some(file) => Ok(ExclusiveLock(Held::File { _file: file })),
            None => Err(DirectoryError::Unavailable(format!(
                "another tollward serves {} with counters in memory ({} is locked); two would multiply every limit: \
                 stop the other, or set REDIS_URL so that both share their counters",
                database.display(),
                path.display()
            ))),
        }
    }

    pub(super) async fn of_database(place: &Place) -> Result<Self> {
        Ok(ExclusiveLock(Held::Session(SessionLock::take(place).await?)))
    }

    /// Waits until the lock is lost to another process. One on a file is never.
    pub async fn lost(&self) {
        match &self.0 {
            Held::File { .. } => std::future::pending().await,
            Held::Session(lock) => lock.lost().await,
        }
    }
}

/// Held while this process uses a folder as its spool; released when dropped, also by a crash.
#[derive(Debug)]
pub struct SpoolLock {
    _file: File,
}

impl SpoolLock {
    /// Locks the folder, which is created where it is missing.
    pub fn take(folder: &Path) -> Result<Self> {
        let created = std::fs::create_dir_all(folder);
        created.map_err(|error| {
            DirectoryError::Unavailable(format!("cannot create the folder {}: {error}", folder.display()))
        })?;
        match lock_file(&folder.join("lock"))? {
            Some(file) => Ok(SpoolLock { _file: file }),
            None => Err(DirectoryError::Unavailable(format!(
                "another tollward keeps its records in {}; give each a folder of its own (ledger.spool)",
                folder.display()
            ))),
        }
    }
}

/// Locks a file that is made for it; `None` where another has it.
fn lock_file(path: &Path) -> Result<Option<File>> {
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|error| {
        DirectoryError::Unavailable(format!("cannot open the lock file {}: {error}", path.display()))
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(DirectoryError::Unavailable(format!("cannot lock {}: {error}", path.display())))
        }
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
