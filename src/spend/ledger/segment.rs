//! One file of the spool: a header, then entries, only ever appended to. A write that fails is cut off again, so that
//! the file never holds half an entry that later ones follow.

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::codec::MAGIC;

/// Where a segment's bytes go: a file, or in tests something that fails.
pub(super) trait Medium: Send {
    fn append(&mut self, bytes: &[u8]) -> Result<()>;
    fn sync(&mut self) -> Result<()>;
    fn cut(&mut self, length: u64) -> Result<()>;
}

impl Medium for File {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_all(bytes)
    }
    fn sync(&mut self) -> Result<()> {
        self.sync_data()
    }
    fn cut(&mut self, length: u64) -> Result<()> {
        self.set_len(length)
    }
}

/// Makes the medium of a new segment.
pub(super) type Create = Box<dyn Fn(&Path) -> Result<Box<dyn Medium>> + Send>;

/// A new file that is only appended to, readable by its owner alone.
pub(super) fn create_file(path: &Path) -> Result<Box<dyn Medium>> {
    let file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)?;
    // The name must outlive a power cut as well as the bytes.
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(Box::new(file))
}

/// The segment that is written.
pub(super) struct Segment {
    pub path: PathBuf,
    medium: Box<dyn Medium>,
    /// Bytes that are whole.
    length: u64,
    /// Whether something half-written may follow them.
    torn: bool,
    /// The place of the last record in it; 0 where it holds none.
    pub last_record: u64,
}

impl Segment {
    pub(super) fn begin(folder: &Path, number: u64, create: &Create) -> Result<Segment> {
        let path = folder.join(name(number));
        let mut segment = Segment { medium: create(&path)?, path, length: 0, torn: false, last_record: 0 };
        if let Err(error) = segment.append(MAGIC, true) {
            // Without it nothing refers to the file.
            let _ = std::fs::remove_file(&segment.path);
            return Err(error);
        }
        Ok(segment)
    }

    /// Appends whole entries: all of them or, where it fails, none.
    pub(super) fn append(&mut self, bytes: &[u8], sync: bool) -> Result<()> {
        if self.torn {
            self.medium.cut(self.length)?;
            self.torn = false;
        }
        let written = self.medium.append(bytes).and_then(|()| if sync { self.medium.sync() } else { Ok(()) });
        match written {
            Ok(()) => self.length += bytes.len() as u64,
            Err(error) => {
                self.torn = self.medium.cut(self.length).is_err();
                return Err(error);
            }
        }
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

/// Segments are numbered, so that their names sort as they were written.
pub(super) fn name(number: u64) -> String {
    format!("spool-{number:016}.log")
}

/// The number in a segment's name.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("spool-")?.strip_suffix(".log")?.parse().ok()
}
