//! Reading a spool back: every sound entry counts, a torn end is cut off, and a file damaged in the middle is kept
//! aside for people to look at.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Recovery;
use super::codec::{self, Entry, InFlight, MAGIC};
use super::{refused, segment};
use crate::domain::{HoldId, Record, Timestamp};

/// What was admitted before this long ago may have left the ledger (`ledger.keep` is two days at least), and the ledger
/// would not know it again: of that, what is written is not replayed. All else is replayed, for a database may have lost
/// its last moments.
const MAY_BE_TRIMMED_MILLIS: i64 = 86_400_000;

/// What the files of a spool hold.
#[derive(Default)]
pub(super) struct Replayed {
    folder: PathBuf,
    /// Records, each with its place.
    booked: Vec<(u64, Record)>,
    /// Up to this place they are in the directory.
    written: u64,
    in_flight: HashMap<HoldId, InFlight>,
    files: Vec<(PathBuf, Damage)>,
    /// Whether the file of refused records is damaged.
    refused_damage: bool,
    torn_bytes: u64,
    last_number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    None,
    /// The end is missing: a crash in the middle of a write.
    Torn,
    /// Something is unreadable and sound entries follow it, or the file was never the last.
    Middle,
}

/// Reads all segments in the order they were written. Changes nothing but that it creates the folder.
pub(super) fn read(folder: &Path) -> Result<Replayed> {
    fs::create_dir_all(folder)?;
    let mut segments = Vec::new();
    for file in fs::read_dir(folder)? {
        let file = file?;
        if let Some(number) = file.file_name().to_str().and_then(segment::number) {
            segments.push((number, file.path()));
        }
    }
    segments.sort();
    let mut replayed = Replayed { folder: folder.to_owned(), ..Replayed::default() };
    match fs::read(folder.join(refused::NAME)) {
        Ok(bytes) => replayed.refused_damage = replayed.take(&bytes) != Damage::None,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let last = segments.last().map(|(number, _)| *number);
    for (number, path) in segments {
        let bytes = fs::read(&path)?;
        let mut damage = replayed.take(&bytes);
        if damage == Damage::Torn && Some(number) != last {
            // It was closed whole, and lost its end later.
            damage = Damage::Middle;
        }
        replayed.files.push((path, damage));
        replayed.last_number = number;
    }
    Ok(replayed)
}

impl Replayed {
    /// Takes the entries of one file.
    fn take(&mut self, bytes: &[u8]) -> Damage {
        let Some(entries) = bytes.strip_prefix(MAGIC) else {
            let torn = MAGIC.starts_with(bytes);
            return if torn { Damage::Torn } else { self.take_after(bytes) };
        };
        let rest = self.take_whole(entries);
        if rest.is_empty() { Damage::None } else { self.take_after(rest) }
    }

    /// Takes entries as long as they are sound; answers what is left.
    fn take_whole<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        while let Some((entry, length)) = codec::read(bytes) {
            self.apply(entry);
            bytes = &bytes[length..];
        }
        bytes
    }

    /// Looks behind something unreadable for sound entries.
    fn take_after(&mut self, mut bytes: &[u8]) -> Damage {
        let mut damage = Damage::Torn;
        let mut unreadable = 0;
        while !bytes.is_empty() {
            bytes = &bytes[1..];
            unreadable += 1;
            let rest = self.take_whole(bytes);
            if rest.len() < bytes.len() {
                damage = Damage::Middle;
                bytes = rest;
            }
        }
        self.torn_bytes += unreadable;
        damage
    }

    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Booked(place, record) => {
                self.in_flight.remove(&record.id);
                self.booked.push((place, Record::clone(&record)));
            }
            Entry::Written(place) => self.written = self.written.max(place),
            Entry::Started(hold) => {
                self.in_flight.insert(hold.record.id, *hold);
            }
            Entry::Progressed(running) => {
                for (id, progress) in running {
                    if let Some(hold) = self.in_flight.get_mut(&id) {
                        hold.progress = progress;
                    }
                }
            }
        }
    }

    pub(super) fn recovery(&self) -> Recovery {
        Recovery {
            replayed: self.booked.len() as u64,
            unsettled: self.in_flight.len() as u64,
            torn_bytes: self.torn_bytes,
            ..Recovery::default()
        }
    }

    /// What was booked and may be missing in the directory, then what was in flight as it is booked now.
    pub(super) fn records(&self, now: Timestamp) -> Vec<Record> {
        let known_since = now.plus_millis(-MAY_BE_TRIMMED_MILLIS);
        let booked = self.booked.iter().filter(|(place, record)| {
            let is_written = *place <= self.written;
            !is_written || record.admitted_at >= known_since
        });
        let unsettled = self.in_flight.values().map(|hold| hold.unsettled(now));
        booked.map(|(_, record)| record.clone()).chain(unsettled).collect()
    }

    pub(super) fn next_segment(&self) -> u64 {
        self.last_number + 1
    }

    /// Removes the files, now that all they hold is in the directory, or `refused` there and kept; those damaged in the
    /// middle are kept under another name. Answers those names.
    pub(super) fn put_away(&self, refused: &[Arc<Record>]) -> Result<Vec<PathBuf>> {
        let mut aside = Vec::new();
        if self.refused_damage {
            let name = self.folder.join(format!("{}.corrupt", refused::NAME));
            fs::copy(self.folder.join(refused::NAME), &name)?;
            aside.push(name);
        }
        refused::keep(&self.folder, refused)?;
        for (path, damage) in &self.files {
            if *damage == Damage::Middle {
                let mut name = path.as_os_str().to_owned();
                name.push(".corrupt");
                fs::rename(path, &name)?;
                aside.push(name.into());
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(aside)
    }
}
