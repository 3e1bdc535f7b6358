//! A temporary folder that goes with the tests, however their process ends: a shell removes it when the pipe to the test
//! process closes. What lives as long as the process (a shared server) is never dropped, so a guard alone would leave it.

use std::path::Path;
use std::process::{Command, Stdio};

/// Removes `$0` at the end of the pipe. Whoever still writes into it is ending at this moment: a few attempts.
const KEEPER: &str = r#"trap '' INT TERM HUP; cat >/dev/null; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$0" 2>/dev/null && exit; sleep 0.2; done"#;

pub struct Folder {
    folder: tempfile::TempDir,
    /// Holds the pipe.
    keeper: std::process::Child,
}

impl Folder {
    pub fn new() -> Folder {
        Folder::keep(tempfile::TempDir::with_prefix("tollward-server-").expect("a folder"))
    }

    /// One in memory, where the system has such a place: what writes to it never waits for a disk.
    pub fn in_memory() -> Folder {
        let made = tempfile::TempDir::with_prefix_in("tollward-server-", "/dev/shm");
        made.map_or_else(|_| Folder::new(), Folder::keep)
    }

    fn keep(folder: tempfile::TempDir) -> Folder {
        let mut keeper = Command::new("sh");
        keeper.arg("-c").arg(KEEPER).arg(folder.path()).stdin(Stdio::piped());
        let keeper = keeper.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("sh starts");
        Folder { folder, keeper }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
