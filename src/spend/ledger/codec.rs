//! Entries of the spool as bytes: a length and a CRC-32 (both little-endian, four bytes), then JSON. Money is whole
//! nano-dollars, moments are milliseconds. No entry is zero bytes long, and JSON holds no zero byte, so an entry is
//! never mistaken for a part of another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::rows::{accounts_from_json, accounts_to_json};
use crate::domain::{Hold, HoldId, KeyHash, Money, Parties, Progress, Record, RecordStatus, Timestamp, Usage};

/// The first bytes of every segment: a name and a version.
pub(super) const MAGIC: &[u8; 8] = b"TWSPOOL1";
/// A longer entry is damage. The largest real one is a batch of renewals or a record of a caller with many tags.
pub(super) const MAX_ENTRY: usize = 16 << 20;
pub(super) const HEAD: usize = 8;

/// What the spool holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A record and its place: how many were booked since the ledger was opened, itself included.
    Booked(u64, Arc<Record>),
    Started(Box<InFlight>),
    Progressed(Vec<(HoldId, Progress)>),
    /// All records up to this place are in the directory.
    Written(u64),
}

/// What is needed of a hold to book it when its meter is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InFlight {
    /// The record to book, with the progress last seen.
    pub record: Record,
    /// What is booked where no progress was ever seen.
    pub estimate: Money,
    pub progress: Progress,
}

impl InFlight {
    pub(super) fn new(hold: &Hold, progress: Progress) -> Self {
        let record = hold.estimated(RecordStatus::Unsettled, Progress::default(), hold.admitted_at);
        InFlight { record, estimate: hold.estimate, progress }
    }

    /// The record of a request whose meter died: what was last seen, or the estimate where nothing was.
    pub(super) fn unsettled(&self, now: Timestamp) -> Record {
        let seen = self.progress != Progress::default();
        Record {
            settled_at: now,
            usage: Usage {
                input_tokens: self.progress.input_tokens,
                output_tokens: self.progress.output_tokens,
                ..Usage::default()
            },
            cost: if seen { self.progress.cost } else { self.estimate },
            ..self.record.clone()
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Stored {
    Booked {
        /// Without one, no mark tells whether it is written.
        #[serde(default = "after_any_mark")]
        place: u64,
        record: StoredRecord,
    },
    Started {
        record: StoredRecord,
        estimate: i64,
        progress: StoredProgress,
    },
    Progressed {
        holds: Vec<(HoldId, StoredProgress)>,
    },
    Written {
        place: u64,
    },
}

fn after_any_mark() -> u64 {
    u64::MAX
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    id: HoldId,
    sequence: u32,
    status: RecordStatus,
    admitted_at: i64,
    settled_at: i64,
    key: Option<KeyHash>,
    user_id: Option<Arc<str>>,
    team_id: Option<Arc<str>>,
    organization_id: Option<Arc<str>>,
    project_id: Option<Arc<str>>,
    end_user_id: Option<Arc<str>>,
    tags: Vec<Arc<str>>,
    model: Arc<str>,
    usage: Usage,
    cost: i64,
    price_version: Arc<str>,
    estimated: bool,
    accounts: Value,
}

/// Input tokens, output tokens, nano-dollars.
#[derive(Serialize, Deserialize)]
struct StoredProgress(u64, u64, i64);

impl From<&Record> for StoredRecord {
    fn from(record: &Record) -> Self {
        let parties = record.parties.clone();
        StoredRecord {
            id: record.id,
            sequence: record.sequence,
            status: record.status,
            admitted_at: record.admitted_at.as_millis(),
            settled_at: record.settled_at.as_millis(),
            key: parties.key,
            user_id: parties.user_id,
            team_id: parties.team_id,
            organization_id: parties.organization_id,
            project_id: parties.project_id,
            end_user_id: parties.end_user_id,
            tags: parties.tags,
            model: Arc::clone(&record.model),
            usage: record.usage.clone(),
            cost: record.cost.as_nanos(),
            price_version: Arc::clone(&record.price_version),
            estimated: record.estimated,
            accounts: accounts_to_json(&record.accounts),
        }
    }
}

impl StoredRecord {
    fn record(self) -> Option<Record> {
        Some(Record {
            id: self.id,
            sequence: self.sequence,
            status: self.status,
            admitted_at: Timestamp::millis(self.admitted_at),
            settled_at: Timestamp::millis(self.settled_at),
            parties: Parties {
                key: self.key,
                user_id: self.user_id,
                team_id: self.team_id,
                organization_id: self.organization_id,
                project_id: self.project_id,
                end_user_id: self.end_user_id,
                tags: self.tags,
            },
            model: self.model,
            usage: self.usage,
            cost: Money::nanos(self.cost),
            price_version: self.price_version,
            estimated: self.estimated,
            accounts: accounts_from_json(&self.accounts)?,
        })
    }
}

impl From<Progress> for StoredProgress {
    fn from(progress: Progress) -> Self {
        StoredProgress(progress.input_tokens, progress.output_tokens, progress.cost.as_nanos())
    }
}

impl From<StoredProgress> for Progress {
    fn from(StoredProgress(input_tokens, output_tokens, cost): StoredProgress) -> Self {
        Progress { input_tokens, output_tokens, cost: Money::nanos(cost) }
    }
}

/// Appends an entry to `bytes`; leaves them as they were where it cannot be written.
pub(super) fn write(entry: &Entry, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    let stored = match entry {
        Entry::Booked(place, record) => Stored::Booked { place: *place, record: (&**record).into() },
        Entry::Started(hold) => Stored::Started {
            record: (&hold.record).into(),
            estimate: hold.estimate.as_nanos(),
            progress: hold.progress.into(),
        },
        Entry::Progressed(holds) => {
            Stored::Progressed { holds: holds.iter().map(|(id, progress)| (*id, (*progress).into())).collect() }
        }
        Entry::Written(place) => Stored::Written { place: *place },
    };
    let payload = serde_json::to_vec(&stored)?;
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MAX_ENTRY);
    let length = length.ok_or_else(|| std::io::Error::other("an entry is too long"))?;
    bytes.reserve(HEAD + payload.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    Ok(())
}

/// Reads the entry at the start of `bytes` and tells its length; `None` where there is no whole and sound one.
pub(super) fn read(bytes: &[u8]) -> Option<(Entry, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|length| (1..=MAX_ENTRY).contains(length))?;
    let payload = rest.get(..length)?;
    if crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    let entry = match serde_json::from_slice(payload).ok()? {
        Stored::Booked { place, record } => Entry::Booked(place, Arc::new(record.record()?)),
        Stored::Started { record, estimate, progress } => Entry::Started(Box::new(InFlight {
            record: record.record()?,
            estimate: Money::nanos(estimate),
            progress: progress.into(),
        })),
        Stored::Progressed { holds } => {
            Entry::Progressed(holds.into_iter().map(|(id, progress)| (id, progress.into())).collect())
        }
        Stored::Written { place } => Entry::Written(place),
    };
    Some((entry, HEAD + length))
}

/// A record alone, as JSON.
pub(super) fn record_to_bytes(record: &Record) -> std::io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&StoredRecord::from(record))?)
}

/// Reads it back; `None` where it is none.
pub(super) fn record_from_bytes(bytes: &[u8]) -> Option<Record> {
    serde_json::from_slice::<StoredRecord>(bytes).ok()?.record()
}
