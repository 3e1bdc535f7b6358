//! Records as the stream of a shard holds them: what was booked there and is not known to be in the directory, for
//! whoever takes over when the replica that booked it is gone.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::CountersError;
use super::message::{Malformed, Reader};
use super::turns::unavailable;
use crate::domain::{HoldId, Money, Progress, Record, RecordStatus, Timestamp, Usage};
use crate::quota::token;
use crate::spend::ledger;

/// Where a record stands in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub shard: u32,
    pub id: String,
}

/// The entries of this replica's own records that are not known to be written.
#[derive(Default)]
pub struct Stream {
    entries: Mutex<HashMap<(HoldId, u32), Entry, ahash::RandomState>>,
}

impl Stream {
    pub(super) fn note(&self, record: &Record, shard: u32, id: String) {
        self.entries.lock().insert((record.id, record.sequence), Entry { shard, id });
    }

    /// The entries of these records, which are written: nobody asks for them again.
    pub(super) fn take(&self, records: &[Record]) -> Vec<Entry> {
        let mut entries = self.entries.lock();
        records.iter().filter_map(|record| entries.remove(&(record.id, record.sequence))).collect()
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
    Ok(Record {
        id: hold.id,
        sequence: 0,
        status,
        admitted_at: hold.admitted_at,
        settled_at: at,
        parties: hold.binding.parties.clone(),
        model: hold.binding.model.clone(),
        usage: Usage { input_tokens, output_tokens, ..Usage::default() },
        cost,
        price_version: hold.price_version.clone(),
        estimated: true,
        accounts: hold.binding.accounts.clone(),
    })
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
