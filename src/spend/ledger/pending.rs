//! What is booked and not written: what waits, what of it a batch is writing at this moment, and what the directory
//! refuses.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::directory::DirectoryError;
use crate::domain::{Account, HoldId, Money, Record, Scope};

/// The name of an account in memory.
type Place = (Scope, Arc<str>);

/// A record's name: its hold and sequence.
type Name = (HoldId, u32);

/// Records in the order they were booked. The first `writing` of them are in a batch.
#[derive(Default)]
pub(super) struct Pending {
    records: VecDeque<(Arc<Record>, Instant)>,
    /// Records that the directory refuses for what they hold. They are spent all the same.
    aside: HashMap<Name, Arc<Record>>,
    /// What is pending on each account, batch and refused records included, and how many records it comes from.
    accounts: HashMap<Place, (Money, u64)>,
    holds: HashMap<HoldId, u64>,
    writing: usize,
    /// Whether the batch may have been written although its writer was told it failed.
    unsure: bool,
    /// Counts batches that began or ended.
    batch: u64,
    written: u64,
    refused: Option<DirectoryError>,
}

/// Whether an account can be read.
pub(super) enum Sight {
    /// No batch touches it; `batch` names the moment.
    Clear { batch: u64 },
    /// A batch does, and its row may hold the batch or not.
    Blocked,
}

fn place(account: &Account) -> Place {
    (account.scope.clone(), Arc::clone(&account.period.id))
}

impl Pending {
    /// Takes a record; answers how many were booked before it since the ledger was opened, itself included.
    pub(super) fn push(&mut self, record: Arc<Record>, now: Instant) -> u64 {
        self.count(&record);
        self.records.push_back((record, now));
        self.booked()
    }

    /// Takes a record that the directory refuses; a second one of the same name does not count.
    pub(super) fn set_aside(&mut self, record: Arc<Record>) {
        self.count(&record);
        if let Some(known) = self.aside.insert((record.id, record.sequence), record) {
            self.forget(&known);
        }
    }

    /// The records that the directory refuses.
    pub(super) fn aside(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.aside.values()
    }

    /// Records that wait or are in a batch, and those that the directory refuses.
    pub(super) fn unwritten_records(&self) -> u64 {
        self.len() + self.aside.len() as u64
    }

    /// Records that wait or are in a batch.
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// Records that no batch has taken.
    pub(super) fn waiting(&self) -> usize {
        self.records.len() - self.writing
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        self.records.front().map(|(_, since)| *since)
    }

    /// How many were ever booked, and ever written or refused.
    pub(super) fn booked(&self) -> u64 {
        self.written + self.len()
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Why the last batch was refused, where it was.
    pub(super) fn refused(&self) -> Option<DirectoryError> {
        self.refused.clone()
    }

    /// Hold, sequence and cost of each record on an account.
    pub(super) fn on(&self, account: &Account) -> Vec<(HoldId, u32, Money)> {
        if !self.accounts.contains_key(&place(account)) {
            return Vec::new();
        }
        let records = self.records.iter().map(|(record, _)| record).chain(self.aside());
        let touching = records.filter(|record| record.accounts.contains(account));
        touching.map(|record| (record.id, record.sequence, record.cost)).collect()
    }

    pub(super) fn knows(&self, hold: HoldId) -> bool {
        self.holds.contains_key(&hold)
    }

    /// Takes the next batch. One that was refused without certainty is taken again as it was.
    pub(super) fn begin(&mut self, most: usize) -> Vec<Arc<Record>> {
        if !self.unsure {
            self.writing = self.records.len().min(most);
        }
        if self.writing > 0 {
            self.batch += 1;
        }
        self.records.iter().take(self.writing).map(|(record, _)| Arc::clone(record)).collect()
    }

    /// The batch has ended; where it was written, all but those of these names, which the directory refuses. Answers how
    /// many were ever written or refused, where that has grown.
    pub(super) fn end(&mut self, outcome: Result<HashSet<Name>, DirectoryError>) -> Option<u64> {
        self.batch += 1;
        match outcome {
            Ok(refused) => {
                for (record, _) in self.records.drain(..self.writing).collect::<Vec<_>>() {
                    self.forget(&record);
                    if refused.contains(&(record.id, record.sequence)) {
                        self.set_aside(record);
                    }
                    self.written += 1;
                }
                (self.writing, self.unsure, self.refused) = (0, false, None);
                Some(self.written)
            }
            Err(error) => {
                // A full disk wrote nothing. Any other trouble may have come after the commit: until the batch is
                // repeated, and found written or not, its accounts cannot be told.
                self.unsure = !matches!(error, DirectoryError::Full(_));
                if !self.unsure {
                    self.writing = 0;
                }
                self.refused = Some(error);
                None
            }
        }
    }

    fn count(&mut self, record: &Record) {
        for account in &record.accounts {
            let (sum, count) = self.accounts.entry(place(account)).or_default();
            *sum += record.cost;
            *count += 1;
        }
        *self.holds.entry(record.id).or_default() += 1;
    }

    fn forget(&mut self, record: &Record) {
        for account in &record.accounts {
            let place = place(account);
            if let Some((sum, count)) = self.accounts.get_mut(&place) {
                *sum -= record.cost;
                *count -= 1;
                if *count == 0 {
                    self.accounts.remove(&place);
                }
            }
        }
        if let Some(count) = self.holds.get_mut(&record.id) {
            *count -= 1;
            if *count == 0 {
                self.holds.remove(&record.id);
            }
        }
    }

    pub(super) fn sight(&self, account: &Account) -> Sight {
        let touches = |(record, _): &(Arc<Record>, Instant)| record.accounts.contains(account);
        if self.records.iter().take(self.writing).any(touches) {
            Sight::Blocked
        } else {
            Sight::Clear { batch: self.batch }
        }
    }

    /// What is pending on an account that was in clear sight at `batch`; `None` where a batch began or ended since.
    pub(super) fn unwritten(&self, account: &Account, batch: u64) -> Option<Money> {
        if self.batch != batch {
            return None;
        }
        Some(self.accounts.get(&place(account)).map_or(Money::ZERO, |(sum, _)| *sum))
    }
}
