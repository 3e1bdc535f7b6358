//! Records as the stream of a shard holds them: what was booked there and is not known to be in the directory, for
//! whoever takes over when the replica that booked it is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::super::{Books, CountersError, RecordName, Sum};
use super::RedisCounters;
use super::message::{Malformed, Reader};
use super::turns::unavailable;
use crate::domain::{Account, Hold, HoldId, Money, Progress, Record, RecordStatus, Timestamp};
use crate::quota::token;
use crate::spend::ledger;

/// Where a record stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub shard: u32,
    pub id: String,
}

impl Entry {
    /// When it was booked, by the clock of its shard.
    fn millis(&self) -> Option<i64> {
        self.id.split('-').next()?.parse().ok()
    }
}

/// The entries of this replica's own records that are not known to be written.
#[derive(Default)]
pub(super) struct Stream {
    entries: Mutex<HashMap<RecordName, Entry, ahash::RandomState>>,
    /// Those of them whose records are written, and that Redis could not be told to drop.
    undropped: Mutex<Vec<RecordName>>,
}

impl Stream {
    pub(super) fn note(&self, record: &Record, shard: u32, id: String) {
        self.entries.lock().insert((record.id, record.sequence), Entry { shard, id });
    }

    pub(super) fn has(&self, record: &Record) -> bool {
        self.entries.lock().contains_key(&(record.id, record.sequence))
    }

    /// Notes entries again that could not be dropped.
    pub(super) fn keep(&self, undropped: impl Iterator<Item = (RecordName, Entry)>) {
        let (mut entries, mut names) = (self.entries.lock(), self.undropped.lock());
        for (name, entry) in undropped {
            entries.insert(name, entry);
            names.push(name);
        }
    }

    /// The entries that could not be dropped, to try again.
    pub(super) fn take_undropped(&self) -> Vec<(RecordName, Entry)> {
        let mut entries = self.entries.lock();
        let names = std::mem::take(&mut *self.undropped.lock());
        names.into_iter().filter_map(|name| Some((name, entries.remove(&name)?))).collect()
    }

    /// The entries of these records, each with its record's place, and the places of those that have none.
    pub(super) fn take(&self, records: &[Record]) -> (Vec<(Entry, usize)>, Vec<usize>) {
        let mut entries = self.entries.lock();
        let (mut found, mut without) = (Vec::with_capacity(records.len()), Vec::new());
        for (at, record) in records.iter().enumerate() {
            match entries.remove(&(record.id, record.sequence)) {
                Some(entry) => found.push((entry, at)),
                None => without.push(at),
            }
        }
        (found, without)
    }
}

pub(super) fn to_bytes(record: &Record) -> Result<Vec<u8>, CountersError> {
    ledger::record_to_bytes(record).map_err(unavailable)
}

/// Makes a record the late correction of what was booked before.
pub(super) fn correct(record: &mut Record, before: Progress) {
    record.sequence = 1;
    record.cost -= before.cost;
    record.usage.input_tokens = record.usage.input_tokens.saturating_sub(before.input_tokens);
    record.usage.output_tokens = record.usage.output_tokens.saturating_sub(before.output_tokens);
}

/// The record of a hold that ended by itself: status, input, output, cost, moment, hold.
pub(super) fn read_expired(event: &mut Reader) -> Result<Record, Malformed> {
    let status = match &*event.bytes()? {
        b"unsettled" => RecordStatus::Unsettled,
        b"unmetered" => RecordStatus::Unmetered,
        _ => return Err(Malformed),
    };
    let (input_tokens, output_tokens) = (event.count()?, event.count()?);
    let (cost, at) = (Money::nanos(event.int()?), Timestamp::millis(event.int()?));
    let hold = token::read_hold(&event.bytes()?).ok_or(Malformed)?;
    Ok(hold.estimated(status, Progress { input_tokens, output_tokens, cost }, at))
}

/// A record from an entry of the stream: `r`, a record and what was booked before it, or `e`, a hold that ended.
pub(super) fn read_entry(field: &[u8], value: Vec<u8>) -> Result<Record, Malformed> {
    let mut reader = Reader::new(Bytes::from(value));
    match field {
        b"e" => {
            reader.list()?;
            read_expired(&mut reader)
        }
        b"r" => {
            reader.list()?;
            let mut record = ledger::record_from_bytes(&reader.bytes()?).ok_or(Malformed)?;
            let mut before = reader.value()?;
            if before.bool().is_err() {
                before.list()?;
                let before = Progress {
                    input_tokens: before.count()?,
                    output_tokens: before.count()?,
                    cost: Money::nanos(before.int()?),
                };
                correct(&mut record, before);
            }
            Ok(record)
        }
        _ => Err(Malformed),
    }
}

/// The books of counters that several replicas share: what an account has spent is what the directory has, and what any
/// replica has booked and not written.
pub struct SharedBooks {
    /// The ledger of this replica.
    pub books: Arc<dyn Books>,
    pub counters: Arc<RedisCounters>,
    pub unwritten: Arc<dyn Unwritten>,
}

/// What [`SharedBooks`] need to know of this replica's ledger and of the directory.
#[async_trait]
pub trait Unwritten: Send + Sync {
    /// This replica's records on an account that are not known to be written: hold, sequence, cost.
    fn pending_on(&self, account: &Account) -> Vec<(HoldId, u32, Money)>;
    /// What the directory has on an account.
    async fn written(&self, account: &Account) -> Result<Money, CountersError>;
    /// Which of these records the directory has.
    async fn has_written(&self, records: &[RecordName]) -> Result<Vec<bool>, CountersError>;
}

/// A record that was booked in one shard so long ago is told to no other one any more as if it had been booked just now: the
/// script takes a third of this.
const LATELY: Duration = Duration::from_secs(15);

/// How often an account is read before it is said to change too fast.
const READINGS: usize = 20;

#[async_trait]
impl Books for SharedBooks {
    fn book(&self, record: Record) {
        self.books.book(record);
    }

    /// Redis is the journal of what is in flight.
    fn started(&self, _: &Arc<Hold>, _: Progress) {}

    fn progressed(&self, _: &[(HoldId, Progress)]) {}

    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        Ok(self.sum(account).await?.spent)
    }

    async fn sum(&self, account: &Account) -> Result<Sum, CountersError> {
        // Where the directory does not answer nothing else is worth reading.
        self.unwritten.written(account).await?;
        let mut booked: HashMap<RecordName, Money, ahash::RandomState> = HashMap::default();
        let pending = self.unwritten.pending_on(account).into_iter().map(|(id, sequence, cost)| ((id, sequence), cost));
        booked.extend(pending);
        let streamed = self.counters.in_streams(|record| record.accounts.contains(account)).await?;
        let since = self.counters.remote.turns.server_millis() - LATELY.as_millis() as i64;
        let late = streamed.iter().filter(|(entry, _)| entry.millis().is_none_or(|millis| millis >= since));
        let lately = late.map(|(_, record)| (record.id, record.sequence)).collect();
        booked.extend(streamed.iter().map(|(_, record)| ((record.id, record.sequence), record.cost)));
        let (names, costs): (Vec<_>, Vec<_>) = booked.into_iter().unzip();
        if names.is_empty() {
            return Ok(Sum { spent: self.unwritten.written(account).await?, ..Sum::default() });
        }
        // Records only ever become written: where the same ones were before and after, the sum holds exactly those.
        let mut before = self.unwritten.has_written(&names).await?;
        for _ in 0..READINGS {
            let written = self.unwritten.written(account).await?;
            let after = self.unwritten.has_written(&names).await?;
            if before == after {
                let beside: Money =
                    costs.iter().zip(&after).filter(|(_, written)| !**written).map(|(cost, _)| *cost).sum();
                return Ok(Sum { spent: written + beside, counted: names.into_iter().collect(), lately });
            }
            before = after;
        }
        Err(unavailable("the books change faster than they can be read"))
    }

    async fn are_written(&self, records: &[RecordName]) -> Result<Vec<bool>, CountersError> {
        self.unwritten.has_written(records).await
    }

    fn is_writable(&self) -> bool {
        self.books.is_writable()
    }

    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        if self.books.knows(hold).await? {
            return Ok(true);
        }
        Ok(!self.counters.in_streams(|record| record.id == hold).await?.is_empty())
    }
}
