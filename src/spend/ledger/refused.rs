//! The file of records that the directory refuses for what they hold. It lies beside the segments of the spool and has
//! their form; every start tries its records again.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::codec::{self, Entry, MAGIC};
use crate::domain::Record;

pub(super) const NAME: &str = "refused.log";
/// No segment's mark says that such a record is written.
const PLACE: u64 = u64::MAX;

/// Makes the file hold these records and no others, or leaves it as it is where that fails. There is none where there are
/// no records.
pub(super) fn keep(folder: &Path, records: &[Arc<Record>]) -> Result<()> {
    let path = folder.join(NAME);
    if records.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let mut bytes = MAGIC.to_vec();
    for record in records {
        codec::write(&Entry::Booked(PLACE, Arc::clone(record)), &mut bytes)?;
    }
    let beside = folder.join("refused.new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    // The name must outlive a power cut as well as the bytes.
    File::open(folder)?.sync_all()
}
