//! The ledger in its embedded form: every change of spend is journalled in a spool at once, written to the directory
//! in batches, and booked exactly once whatever fails in between. What an account has spent is always its written row
//! plus what is still pending: a record is never counted in neither, and never in both.

mod codec;
mod pending;
mod refused;
mod replay;
mod segment;
mod spool;
#[cfg(test)]
mod tests;
mod writing;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use self::pending::{Pending, Sight};
use self::spool::Spool;
use crate::directory::{DirectoryError, SharedStore, Verification};
use crate::domain::{Account, Hold, HoldId, Money, Progress, Record, Timestamp};
use crate::quota::counters::{Books, CountersError};

/// Records wait this long for company, or for this many.
const BATCH_EVERY: Duration = Duration::from_millis(200);
const BATCH_RECORDS: usize = 1_000;
/// Past this many the gate takes no more requests that cost money.
const MAX_PENDING: u64 = 100_000;
/// While the directory refuses, it is asked again this often.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// How long a reader waits for the end of a batch that touches its account.
const PATIENCE: Duration = Duration::from_secs(3);

/// The ledger cannot be opened, or cannot write.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the spool {path}: {error}")]
    Spool { path: PathBuf, error: std::io::Error },
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Records are safe in the spool, and not in the directory yet.
    #[error("{0} records are still only in the spool")]
    Pending(u64),
}

/// What opening found in the spool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Records found in the spool, and how many of them the directory did not know.
    pub replayed: u64,
    pub written: u64,
    /// Requests that were in flight, and are now booked `unsettled`.
    pub unsettled: u64,
    /// Bytes cut off behind the last whole entry.
    pub torn_bytes: u64,
    /// Records that the directory refuses for what they hold. They stay in the spool, and are tried again.
    pub refused: u64,
    /// Files that were damaged in the middle; kept aside under these names.
    pub corrupt: Vec<PathBuf>,
}

/// Hears of records that are in the directory now, and whether each of them was new there.
pub type Written = Box<dyn Fn(&[Record], &[bool]) + Send + Sync>;

/// The embedded ledger.
pub struct Ledger {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the ledger and its writing task share.
struct Shared {
    store: SharedStore,
    pending: Mutex<Pending>,
    spool: Spool,
    /// Wakes the writing task: a full batch, a flush, or the end.
    wake: Notify,
    /// Counts batches that ended, so that readers and flushes can wait for one.
    batches: watch::Sender<u64>,
    /// How many wait for everything to be written at once.
    flushing: AtomicU64,
    /// The directory refused the last batch because its disk is full.
    full: AtomicBool,
    closing: AtomicBool,
    hears: OnceLock<Written>,
}

/// One who waits for everything to be written. Counted for as long as it waits, also where it goes away before the end:
/// the writing task hurries for whoever is counted.
struct Flushing<'c>(&'c AtomicU64);

impl<'c> Flushing<'c> {
    fn begin(count: &'c AtomicU64) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Flushing(count)
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Ledger {
    /// Opens the ledger over the directory at `spool`, a folder that is created where it is missing. Records found
    /// there that the directory does not know are written, and what was in flight is booked `unsettled` with its last
    /// progress. Starts a task on the present runtime, which must live as long as the ledger.
    pub async fn open(
        store: SharedStore,
        spool: &Path,
        now: Timestamp,
    ) -> Result<(Arc<Ledger>, Recovery), LedgerError> {
        let folder = spool.to_owned();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| LedgerError::Spool { path, error }
        };
        let read = {
            let folder = folder.clone();
            tokio::task::spawn_blocking(move || replay::read(&folder)).await
        };
        let replayed = read.map_err(std::io::Error::other).and_then(|read| read).map_err(failed(&folder))?;
        let mut recovery = replayed.recovery();
        let mut pending = Pending::default();
        for batch in replayed.records(now).chunks(BATCH_RECORDS) {
            for (record, outcome) in batch.iter().zip(writing::write(&*store, batch).await?) {
                match outcome {
                    Ok(is_new) => recovery.written += u64::from(is_new),
                    Err(_) => pending.set_aside(Arc::new(record.clone())),
                }
            }
        }
        recovery.refused = pending.unwritten_records();
        let next = replayed.next_segment();
        let begun = {
            let (folder, refused) = (folder.clone(), pending.aside().cloned().collect::<Vec<_>>());
            let begin = move || {
                let aside = replayed.put_away(&refused)?;
                Ok((Spool::begin(&folder, next)?, aside))
            };
            tokio::task::spawn_blocking(begin).await
        };
        let (spool, aside) = begun.map_err(std::io::Error::other).and_then(|begun| begun).map_err(failed(&folder))?;
        recovery.corrupt = aside;
        Ok((Ledger::over(store, spool, pending), recovery))
    }

    fn over(store: SharedStore, spool: Spool, pending: Pending) -> Arc<Ledger> {
        let shared = Arc::new(Shared {
            store,
            pending: Mutex::new(pending),
            spool,
            wake: Notify::new(),
            batches: watch::Sender::new(0),
            flushing: AtomicU64::new(0),
            full: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            hears: OnceLock::new(),
        });
        let writer = tokio::spawn(write_batches(Arc::clone(&shared)));
        Arc::new(Ledger { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Whether new requests that cost money may be admitted: the disks take what is booked, and not too much waits.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        !self.shared.full.load(Ordering::Acquire) && self.shared.spool.is_writable() && self.pending() <= MAX_PENDING
    }

    /// From now on `hears` is told of every batch that is written. Only the first to ask is.
    pub fn tell_written(&self, hears: Written) {
        // Whoever asked before stays the one.
        let _ = self.shared.hears.set(hears);
    }

    /// Records on this account that are not known to be in the directory: hold, sequence and cost.
    #[must_use]
    pub fn pending_on(&self, account: &Account) -> Vec<(HoldId, u32, Money)> {
        self.shared.pending.lock().on(account)
    }

    /// Records booked and not in the directory: those that wait, and those it refuses for what they hold.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared.pending.lock().unwritten_records()
    }

    /// How long the oldest record has been waiting that the directory has not refused.
    #[must_use]
    pub fn lag(&self) -> Duration {
        self.shared.pending.lock().oldest().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Waits until everything booked before is in the directory, but for what it refuses for what that holds. Fails when
    /// the directory takes nothing; the records stay in the spool then, and are tried again.
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let shared = &self.shared;
        let target = shared.pending.lock().booked();
        let _waiting = Flushing::begin(&shared.flushing);
        let mut batches = shared.batches.subscribe();
        loop {
            shared.wake.notify_one();
            let (written, left) = {
                let pending = shared.pending.lock();
                (pending.written(), pending.len())
            };
            if written >= target {
                return Ok(());
            }
            // A batch that ended without getting further was refused.
            let ended = tokio::time::timeout(PATIENCE, batches.changed()).await;
            let refused = shared.pending.lock().refused();
            match (ended, refused) {
                (Ok(Ok(())), Some(error)) => return Err(LedgerError::Directory(error)),
                (Ok(Ok(())), None) => {}
                _ => return Err(LedgerError::Pending(left)),
            }
        }
    }

    /// Writes what is pending and ends the threads. What could not be written stays in the spool for the next start.
    pub async fn shutdown(&self) -> Result<(), LedgerError> {
        let flushed = self.flush().await;
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // It ends by itself; a panic in it has been reported already.
            let _ = writer.await;
        }
        let shared = Arc::clone(&self.shared);
        let ended = tokio::task::spawn_blocking(move || shared.spool.end()).await;
        ended.map_err(|error| LedgerError::Spool {
            path: self.shared.spool.folder().to_owned(),
            error: std::io::Error::other(error),
        })?;
        flushed
    }

    /// Books a correction and waits until it is in the directory.
    pub async fn adjust(&self, record: Record) -> Result<(), LedgerError> {
        self.book(record);
        self.flush().await
    }

    /// Proves that the books add up, and counts what is pending.
    pub async fn verify(&self) -> Result<Verification, LedgerError> {
        let verification = self.shared.store.verify().await?;
        Ok(Verification { pending: self.pending(), ..verification })
    }
}

/// A record as bytes that [`record_from_bytes`] reads, for others than the spool that keep it until it is written.
pub fn record_to_bytes(record: &Record) -> std::io::Result<Vec<u8>> {
    codec::record_to_bytes(record)
}

/// `None` where the bytes are no record.
#[must_use]
pub fn record_from_bytes(bytes: &[u8]) -> Option<Record> {
    codec::record_from_bytes(bytes)
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // A ledger that was not shut down leaves its records in the spool, where the next start finds them.
        if let Some(writer) = self.writer.lock().take() {
            writer.abort();
        }
    }
}

#[async_trait]
impl Books for Ledger {
    fn book(&self, record: Record) {
        let full = {
            let mut pending = self.shared.pending.lock();
            let record = Arc::new(record);
            // Under the lock: the spool sees records in the order in which they are counted.
            let place = pending.push(Arc::clone(&record), Instant::now());
            self.shared.spool.booked(place, record);
            pending.waiting() >= BATCH_RECORDS
        };
        if full {
            self.shared.wake.notify_one();
        }
    }

    fn started(&self, hold: &Arc<Hold>, progress: Progress) {
        self.shared.spool.started(Arc::clone(hold), progress);
    }

    fn progressed(&self, running: &[(HoldId, Progress)]) {
        self.shared.spool.progressed(running.to_vec());
    }

    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        let unavailable = |why: &str| CountersError::Unavailable(format!("the ledger: {why}"));
        let mut batches = self.shared.batches.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            batches.borrow_and_update();
            let sight = self.shared.pending.lock().sight(account);
            if let Sight::Clear { batch } = sight {
                let row = self.shared.store.spent(account).await.map_err(|error| unavailable(&error.to_string()))?;
                // Nothing that touches the account was written while the row was read.
                if let Some(pending) = self.shared.pending.lock().unwritten(account, batch) {
                    return Ok(row + pending);
                }
                if tokio::time::Instant::now() < deadline {
                    continue;
                }
            }
            match tokio::time::timeout_at(deadline, batches.changed()).await {
                Ok(Ok(())) => {}
                _ => return Err(unavailable("a batch that touches this account has not ended")),
            }
        }
    }

    fn is_writable(&self) -> bool {
        Ledger::is_writable(self)
    }

    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        // Pending first: a record that moves to the directory in between is found there.
        if self.shared.pending.lock().knows(hold) {
            return Ok(true);
        }
        let known = self.shared.store.knows_record(hold).await;
        known.map_err(|error| CountersError::Unavailable(format!("the ledger: {error}")))
    }
}

impl Shared {
    /// Writes a batch, and tells who hears of it. Answers the names of records that the directory refuses, which are in a
    /// file of their own then.
    async fn write(&self, batch: &[Arc<Record>], records: &[Record]) -> Result<HashSet<(HoldId, u32)>, DirectoryError> {
        let outcomes = writing::write(&*self.store, records).await?;
        let refused: Vec<&Arc<Record>> =
            batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_err()).map(|(record, _)| record).collect();
        if refused.is_empty() {
            let new: Vec<bool> = outcomes.into_iter().flatten().collect();
            self.tell(records, &new);
            return Ok(HashSet::new());
        }
        let all: Vec<_> = self.pending.lock().aside().chain(refused.iter().copied()).cloned().collect();
        let folder = self.spool.folder().to_owned();
        let kept = tokio::task::spawn_blocking(move || refused::keep(&folder, &all)).await;
        kept.map_err(std::io::Error::other).and_then(|kept| kept).map_err(|error| {
            DirectoryError::Unavailable(format!("it refuses a record, which the spool cannot keep: {error}"))
        })?;
        let written =
            records.iter().zip(outcomes).filter_map(|(record, outcome)| Some((record.clone(), outcome.ok()?)));
        let (written, new): (Vec<Record>, Vec<bool>) = written.unzip();
        self.tell(&written, &new);
        Ok(refused.iter().map(|record| (record.id, record.sequence)).collect())
    }

    fn tell(&self, written: &[Record], new: &[bool]) {
        if let Some(hears) = self.hears.get() {
            hears(written, new);
        }
    }
}

/// Writes batch after batch until the ledger closes.
async fn write_batches(shared: Arc<Shared>) {
    let mut pause = BATCH_EVERY;
    loop {
        let hurry = shared.flushing.load(Ordering::Acquire) > 0 || shared.pending.lock().waiting() >= BATCH_RECORDS;
        if !(hurry && pause == BATCH_EVERY) {
            // Woken early by a full batch, a flush or the end; else it is time.
            let _ = tokio::time::timeout(pause, shared.wake.notified()).await;
        }
        let batch = shared.pending.lock().begin(BATCH_RECORDS);
        if batch.is_empty() {
            if shared.closing.load(Ordering::Acquire) {
                return;
            }
            if shared.flushing.load(Ordering::Acquire) > 0 {
                shared.batches.send_modify(|ended| *ended += 1);
                tokio::task::yield_now().await;
            }
            pause = BATCH_EVERY;
            continue;
        }
        let records = batch.iter().map(|record| Record::clone(record)).collect::<Vec<_>>();
        let outcome = shared.write(&batch, &records).await;
        let closing = shared.closing.load(Ordering::Acquire);
        pause = if outcome.is_ok() { BATCH_EVERY } else { RETRY_EVERY };
        shared.full.store(matches!(outcome, Err(DirectoryError::Full(_))), Ordering::Release);
        let failed = outcome.is_err();
        if let Err(error) = &outcome {
            tracing::warn!(%error, records = records.len(), "the directory takes no records; they wait in the spool");
        }
        let written = shared.pending.lock().end(outcome);
        if let Some(written) = written {
            shared.spool.written(written);
        }
        shared.batches.send_modify(|ended| *ended += 1);
        if failed && closing {
            return;
        }
    }
}
