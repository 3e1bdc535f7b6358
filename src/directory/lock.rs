//! The lock that keeps a directory to one gate: a second one with counters of its own would multiply every limit.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::{DirectoryError, Result};

/// Held while this process uses the directory with counters in memory; released when dropped, also by a crash.
#[derive(Debug)]
pub struct ExclusiveLock {
    _file: File,
}

impl ExclusiveLock {
    /// Locks the file beside `database`, `<database>.lock`. The lock file itself stays: removing it would let two
    /// processes lock two different files of the same name.
    pub(super) fn take(database: &Path) -> Result<Self> {
        let path = beside(database);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| {
            DirectoryError::Unavailable(format!("cannot open the lock file {}: {error}", path.display()))
        })?;
        match file.try_lock() {
            Ok(()) => Ok(ExclusiveLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::Unavailable(format!(
                "another tollward serves {} with counters in memory ({} is locked); two would multiply every limit: \
                 stop the other, or set REDIS_URL so that both share their counters",
                database.display(),
                path.display()
            ))),
            Err(TryLockError::Error(error)) => {
                Err(DirectoryError::Unavailable(format!("cannot lock {}: {error}", path.display())))
            }
        }
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
