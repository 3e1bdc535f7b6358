//! The spool: one thread appends what is booked to files, many entries and one fsync at a time. A file is dropped once
//! all its records are in the directory; requests still in flight are carried over to the next file first. A file that is
//! not dropped yet says which of its records are.

use std::collections::HashMap;
use std::io::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::codec::{self, Entry, InFlight};
use super::segment::{Create, Segment, create_file};
use crate::domain::{Hold, HoldId, Progress, Record};

/// A file this long is followed by a new one.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Entries that are written together at most.
const GROUP: usize = 4_096;
/// Requests whose progress is told in one entry at most.
const PROGRESS: usize = 10_000;
/// A disk that failed is tried again this often.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// What the thread is told. Never more than is booked or in flight, which the counters bound.
enum Message {
    Booked(u64, Arc<Record>),
    Started(Arc<Hold>, Progress),
    Progressed(Vec<(HoldId, Progress)>),
    /// So many records are in the directory, or in a file of their own since it refuses them.
    Written(u64),
}

/// The spool of a running ledger.
pub(super) struct Spool {
    folder: PathBuf,
    messages: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    writable: Arc<AtomicBool>,
}

impl Spool {
    /// Begins a new segment in `folder`.
    pub(super) fn begin(folder: &Path, number: u64) -> Result<Spool> {
        Spool::on(folder, number, Box::new(create_file))
    }

    pub(super) fn on(folder: &Path, number: u64, create: Create) -> Result<Spool> {
        let current = Segment::begin(folder, number, &create)?;
        let (messages, inbox) = channel();
        let writable = Arc::new(AtomicBool::new(true));
        let journal = Journal {
            folder: folder.to_owned(),
            create,
            number,
            current,
            old: Vec::new(),
            in_flight: HashMap::new(),
            backlog: Vec::new(),
            written: 0,
            marked: 0,
            writable: Arc::clone(&writable),
        };
        let thread = std::thread::Builder::new().name("ledger-spool".to_owned()).spawn(move || journal.run(&inbox))?;
        Ok(Spool {
            folder: folder.to_owned(),
            messages: Mutex::new(Some(messages)),
            thread: Mutex::new(Some(thread)),
            writable,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the last write succeeded.
    pub(super) fn is_writable(&self) -> bool {
        self.writable.load(Ordering::Acquire)
    }

    /// `place` counts the records booked since the ledger was opened.
    pub(super) fn booked(&self, place: u64, record: Arc<Record>) {
        self.tell(Message::Booked(place, record));
    }

    pub(super) fn started(&self, hold: Arc<Hold>, progress: Progress) {
        self.tell(Message::Started(hold, progress));
    }

    pub(super) fn progressed(&self, running: Vec<(HoldId, Progress)>) {
        self.tell(Message::Progressed(running));
    }

    /// All records up to this place are in the directory.
    pub(super) fn written(&self, place: u64) {
        self.tell(Message::Written(place));
    }

    fn tell(&self, message: Message) {
        let told = self.messages.lock().as_ref().is_some_and(|messages| messages.send(message).is_ok());
        if !told {
            // The thread is gone: what is booked now would not outlive a crash.
            self.writable.store(false, Ordering::Release);
        }
    }

    /// Ends the thread after all it was told is done.
    pub(super) fn end(&self) {
        self.messages.lock().take();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the thread owns.
struct Journal {
    folder: PathBuf,
    create: Create,
    number: u64,
    current: Segment,
    /// Closed segments and the place of the last record in each.
    old: Vec<(PathBuf, u64)>,
    in_flight: HashMap<HoldId, InFlight>,
    /// Entries that are not in a file yet.
    backlog: Vec<Entry>,
    /// How many records need no journal any more, and how many of those the journal says so of.
    written: u64,
    marked: u64,
    writable: Arc<AtomicBool>,
}

impl Journal {
    fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let first = if self.backlog.is_empty() && self.writable.load(Ordering::Relaxed) {
                inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                inbox.recv_timeout(RETRY_EVERY)
            };
            let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
            let more = first.into_iter().chain(inbox.try_iter().take(GROUP));
            more.for_each(|message| self.take(message));
            let wrote = self.write();
            self.tidy();
            self.report(&wrote);
            if ended {
                self.close();
                return;
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Booked(place, record) => {
                self.in_flight.remove(&record.id);
                self.backlog.push(Entry::Booked(place, record));
            }
            Message::Started(hold, progress) => {
                let hold = InFlight::new(&hold, progress);
                self.in_flight.insert(hold.record.id, hold.clone());
                self.backlog.push(Entry::Started(Box::new(hold)));
            }
            Message::Progressed(mut running) => {
                running.retain(|(id, progress)| match self.in_flight.get_mut(id) {
                    Some(hold) => {
                        hold.progress = *progress;
                        true
                    }
                    None => false,
                });
                let entries = running.chunks(PROGRESS).map(|some| Entry::Progressed(some.to_vec()));
                self.backlog.extend(entries);
            }
            Message::Written(place) => self.written = self.written.max(place),
        }
    }

    /// Appends the backlog, and how much is written; on failure all of it stays.
    fn write(&mut self) -> Result<()> {
        if !self.writable.load(Ordering::Relaxed) {
            self.forget_what_is_over();
        }
        let mark = (self.written > self.marked).then_some(Entry::Written(self.written));
        if self.backlog.is_empty() && mark.is_none() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        for entry in self.backlog.iter().chain(&mark) {
            if let Err(error) = codec::write(entry, &mut bytes) {
                // It is still booked from memory; to stop all others for it would help nobody.
                tracing::error!(%error, "an entry cannot be journalled");
            }
        }
        // Progress may be lost with the power: the request is then booked with what was known before. So may be what is
        // written: the directory knows it.
        let sync = self.backlog.iter().any(|entry| !matches!(entry, Entry::Progressed(_)));
        self.current.append(&bytes, sync)?;
        let place = |entry: &Entry| if let Entry::Booked(place, _) = entry { *place } else { 0 };
        let last = self.backlog.iter().map(place).max().unwrap_or(0);
        self.current.last_record = self.current.last_record.max(last);
        self.marked = self.written;
        self.backlog.clear();
        if self.current.length() >= SEGMENT_BYTES { self.rotate() } else { Ok(()) }
    }

    /// While the disk fails the backlog holds no more than is pending or in flight: records that the directory took
    /// meanwhile need no journal, nor do requests that ended, and progress is told again.
    fn forget_what_is_over(&mut self) {
        let (written, in_flight) = (self.written, &self.in_flight);
        self.backlog.retain_mut(|entry| match entry {
            Entry::Booked(place, _) => *place > written,
            Entry::Progressed(_) | Entry::Written(_) => false,
            Entry::Started(hold) => match in_flight.get(&hold.record.id) {
                Some(now) => {
                    hold.progress = now.progress;
                    true
                }
                None => false,
            },
        });
    }

    /// Begins a new segment with all that is in flight and how much is written, and closes the current one.
    fn rotate(&mut self) -> Result<()> {
        // A number is used once, also where its file could not be begun and may still be there.
        self.number += 1;
        let mut next = Segment::begin(&self.folder, self.number, &self.create)?;
        let mut bytes = Vec::new();
        for hold in self.in_flight.values() {
            codec::write(&Entry::Started(Box::new(hold.clone())), &mut bytes)?;
        }
        codec::write(&Entry::Written(self.marked), &mut bytes)?;
        if let Err(error) = next.append(&bytes, true) {
            let _ = std::fs::remove_file(&next.path);
            return Err(error);
        }
        let closed = std::mem::replace(&mut self.current, next);
        self.old.push((closed.path, closed.last_record));
        Ok(())
    }

    /// Drops closed segments whose records are all in the directory.
    fn tidy(&mut self) {
        let written = self.written;
        self.old.retain(|(path, last)| *last > written || std::fs::remove_file(path).is_err());
    }

    fn report(&self, wrote: &Result<()>) {
        let (ok, was) = (wrote.is_ok(), self.writable.load(Ordering::Relaxed));
        if let Err(error) = wrote
            && was
        {
            tracing::error!(%error, folder = %self.folder.display(), "the spool cannot be written; no more spend is admitted");
        }
        if ok && !was {
            tracing::info!(folder = %self.folder.display(), "the spool is written again");
        }
        self.writable.store(ok, Ordering::Release);
    }

    /// At the end nothing is left to keep where all is written and nothing is in flight.
    fn close(&mut self) {
        let done = self.backlog.is_empty() && self.current.last_record <= self.written && self.in_flight.is_empty();
        if done && self.old.is_empty() {
            let _ = std::fs::remove_file(&self.current.path);
        }
    }
}
