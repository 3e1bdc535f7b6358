//! What the answers of calls bring along, whoever asked: room that was made, soft limits that were passed, holds that ended
//! by themselves; and what this replica has booked because of them.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::{Books, SoftLimitPassed};
use super::books::{self, Stream};
use super::message::{Malformed, Reader};
use super::places;
use super::rooms::Rooms;
use super::turns::News;
use crate::domain::{Account, CounterKey, Kind, Period, Record, Window};

/// Events that wait to be fetched; the oldest makes room for the newest.
const MAX_SOFT_EVENTS: usize = 4_096;

/// See the module.
pub(super) struct Shared {
    pub(super) books: Arc<dyn Books>,
    pub(super) rooms: Rooms,
    softs: Mutex<VecDeque<SoftLimitPassed>>,
    pub(super) stream: Stream,
    /// Accounts whose budgets must be loaded again; kept until every shard has heard of it.
    pub(super) again: Mutex<HashSet<Account>>,
    shards: u32,
}

impl Shared {
    pub(super) fn new(books: Arc<dyn Books>, shards: u32) -> Shared {
        Shared {
            books,
            rooms: Rooms::default(),
            softs: Mutex::default(),
            stream: Stream::default(),
            again: Mutex::default(),
            shards,
        }
    }

    pub(super) fn take_softs(&self) -> Vec<SoftLimitPassed> {
        std::mem::take(&mut *self.softs.lock()).into()
    }

    pub(super) fn hear(&self, shard: u32, news: News) {
        if let Err(error) = self.rooms.hear(news.wakes) {
            tracing::error!(%error, "who waits for room could not be told");
        }
        if let Err(error) = self.hear_softs(news.softs) {
            tracing::error!(%error, "a soft limit that was passed could not be told");
        }
        if let Err(error) = self.hear_events(shard, news.events) {
            tracing::error!(%error, "a hold that ended could not be booked by this replica; another will");
        }
    }

    fn hear_softs(&self, mut news: Reader) -> Result<(), Malformed> {
        for _ in 0..news.list()? {
            news.list()?;
            let name = news.text()?;
            let (soft_limit, spent) = (news.money()?, news.money()?);
            let Some((scope, id)) = places::budget_of(&name) else { continue };
            let mut period = Period::total();
            period.id = id.into();
            let counter = CounterKey { scope, kind: Kind::Spend, window: Window::Period(period) };
            let mut softs = self.softs.lock();
            if softs.len() >= MAX_SOFT_EVENTS {
                softs.pop_front();
            }
            softs.push_back(SoftLimitPassed { counter, soft_limit, spent });
        }
        Ok(())
    }

    fn hear_events(&self, shard: u32, mut news: Reader) -> Result<(), Malformed> {
        for _ in 0..news.list()? {
            let mut event = news.value()?;
            event.list()?;
            let record = books::read_expired(&mut event)?;
            let entry = event.text()?;
            self.load_elsewhere(&record, shard);
            self.book(record, shard, entry);
        }
        Ok(())
    }

    /// The other shards of a hold that ended by itself cannot know what was booked, nor when.
    pub(super) fn load_elsewhere(&self, record: &Record, home: u32) {
        let elsewhere = record.accounts.iter().filter(|account| places::shard_of(&account.scope, self.shards) != home);
        self.again.lock().extend(elsewhere.cloned());
    }

    /// Books what Redis has in its stream as well, until it is known to be written.
    pub(super) fn book(&self, record: Record, shard: u32, entry: String) {
        self.stream.note(&record, shard, entry);
        self.books.book(record);
    }
}
