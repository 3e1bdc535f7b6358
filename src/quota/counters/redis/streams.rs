//! What is booked in the streams of Redis and not known to be in the directory: dropped when it is written there, and taken
//! over where nobody writes it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::super::{CountersError, RecordName};
use super::RedisCounters;
use super::books::{Entry, read_entry};
use super::turns::unavailable;
use crate::domain::Record;

/// How often streams are searched for records that nobody writes.
const SEARCH: Duration = Duration::from_secs(5);
/// A record that stands in a stream for so long, and is not known to be waiting here, belongs to nobody.
pub(super) const ORPHANED: Duration = Duration::from_secs(30);
/// Entries read, or dropped again, at once.
const PAGE: usize = 500;

impl RedisCounters {
    /// Books what nobody writes: what a dead replica left in the streams, and what this one was never told that it booked.
    pub(super) async fn search(&self) {
        let mut unknown = HashSet::new();
        loop {
            tokio::time::sleep(SEARCH.min(self.orphaned)).await;
            self.drop_again().await;
            let before = std::mem::take(&mut unknown);
            for shard in 0..self.remote.turns.shards() {
                if self.remote.turns.is_down(shard) {
                    continue;
                }
                match self.orphans(shard, &before, &mut unknown).await {
                    Ok(0) => {}
                    Ok(found) => tracing::info!(found, "records that nobody else writes are booked by this replica"),
                    Err(error) => tracing::warn!(%error, "records that nobody writes could not be searched for"),
                }
            }
        }
    }

    /// Books the records of a shard that two searches have found, of which `before` is the first: one that is written and
    /// dropped here while its entry is read is unknown for a moment.
    async fn orphans(
        &self,
        shard: u32,
        before: &HashSet<RecordName>,
        unknown: &mut HashSet<RecordName>,
    ) -> Result<usize, CountersError> {
        let stream = &self.remote.shared.stream;
        // A replica that lives writes what it has booked, however long the directory does not let it. Of its own this one
        // has all but those whose answer was lost on its way here.
        let own = self.remote.turns.replica.as_bytes();
        let mut command = redis::cmd("ZRANGEBYSCORE");
        let since = self.remote.turns.server_millis() - self.orphaned.as_millis() as i64;
        command.arg(format!("{}replicas", self.remote.turns.prefix(shard))).arg(since).arg("+inf");
        let alive = Vec::<String>::from_redis_value(self.remote.turns.command(&command).await?);
        let alive = alive.map_err(|_| unavailable("the names of the replicas cannot be read"))?;
        let mut found = 0;
        for (entry, record) in self
            .entries(shard, Some(self.orphaned), |record, writer| {
                // What waits here is written from here.
                !stream.has(record) && (writer == own || !alive.iter().any(|name| name.as_bytes() == writer))
            })
            .await?
        {
            let name = (record.id, record.sequence);
            if !before.contains(&name) {
                unknown.insert(name);
            } else if !stream.has(&record) {
                self.remote.shared.load_elsewhere(&record, shard);
                self.remote.shared.book(record, entry.shard, entry.id);
                found += 1;
            }
        }
        Ok(found)
    }

    /// The records in the stream of a shard, oldest first; with `older`, only those that stand there for so long. `concerns` is
    /// asked about each record and the name of the replica that booked it.
    async fn entries(
        &self,
        shard: u32,
        older: Option<Duration>,
        concerns: impl Fn(&Record, &[u8]) -> bool,
    ) -> Result<Vec<(Entry, Record)>, CountersError> {
        let turns = &self.remote.turns;
        let end = match older {
            Some(age) => (turns.server_millis() - age.as_millis() as i64).max(0).to_string(),
            None => "+".to_owned(),
        };
        let (mut found, mut from) = (Vec::new(), "-".to_owned());
        loop {
            let mut command = redis::cmd("XRANGE");
            command.arg(format!("{}books", turns.prefix(shard))).arg(&from).arg(&end).arg("COUNT").arg(PAGE);
            let Value::Array(entries) = turns.command(&command).await? else { return Ok(found) };
            let count = entries.len();
            for entry in entries {
                let (id, fields) = <(String, Vec<Vec<u8>>)>::from_redis_value(entry)
                    .map_err(|_| unavailable("an entry of a stream cannot be read"))?;
                let [field, value, _, writer] =
                    <[Vec<u8>; 4]>::try_from(fields).map_err(|_| unavailable("an entry of a stream cannot be read"))?;
                match read_entry(&field, value) {
                    Ok(record) if concerns(&record, &writer) => {
                        found.push((Entry { shard, id: id.clone() }, record));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::error!(%error, id, "an entry of the stream of records cannot be read"),
                }
                from = format!("({id}");
            }
            if count < PAGE {
                return Ok(found);
            }
        }
    }

    /// Every record in the streams that is of concern.
    pub(super) async fn in_streams(
        &self,
        concerns: impl Fn(&Record) -> bool,
    ) -> Result<Vec<(Entry, Record)>, CountersError> {
        let shards =
            (0..self.remote.turns.shards()).map(|shard| self.entries(shard, None, |record, _| concerns(record)));
        let found = futures_util::future::join_all(shards).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// These records are in the directory: their entries are dropped. One that was there before, or whose entry is gone,
    /// tells that Redis has lost something: what is spent on its accounts is loaded again.
    pub(super) async fn drop_written(&self, records: &[Record], new: &[bool]) {
        let (entries, without) = self.remote.shared.stream.take(records);
        let mut lost: Vec<&Record> = without.into_iter().map(|at| &records[at]).collect();
        lost.extend(records.iter().zip(new).filter(|(_, new)| !**new).map(|(record, _)| record));
        for shard in 0..self.remote.turns.shards() {
            let here: Vec<&(Entry, usize)> = entries.iter().filter(|(entry, _)| entry.shard == shard).collect();
            if here.is_empty() {
                continue;
            }
            match self.drop_entries(shard, here.iter().map(|(entry, _)| entry)).await {
                Ok(dropped) if dropped == here.len() => {}
                // Not all of them were there; which, nobody knows.
                Ok(_) => lost.extend(here.iter().map(|(_, at)| &records[*at])),
                // Nobody knows what Redis still has when it answers again.
                Err(error) => {
                    tracing::debug!(%error, "entries of written records could not be dropped");
                    let name = |at: usize| (records[at].id, records[at].sequence);
                    self.remote.shared.stream.keep(here.iter().map(|(entry, at)| (name(*at), entry.clone())));
                    self.remote
                        .shared
                        .again
                        .lock()
                        .extend(here.iter().flat_map(|(_, at)| records[*at].accounts.iter().cloned()));
                }
            }
        }
        if lost.is_empty() {
            return;
        }
        tracing::warn!(records = lost.len(), "redis has lost records; what was spent is loaded again");
        self.remote.shared.again.lock().extend(lost.iter().flat_map(|record| record.accounts.iter().cloned()));
    }

    /// Drops the entries of written records about which Redis did not answer.
    async fn drop_again(&self) {
        let stream = &self.remote.shared.stream;
        let mut shards = HashMap::<u32, Vec<_>>::new();
        for (name, entry) in stream.take_undropped() {
            shards.entry(entry.shard).or_default().push((name, entry));
        }
        for (shard, entries) in shards {
            let mut entries = entries.into_iter().peekable();
            while entries.peek().is_some() {
                let some: Vec<_> = entries.by_ref().take(PAGE).collect();
                if let Err(error) = self.drop_entries(shard, some.iter().map(|(_, entry)| entry)).await {
                    tracing::debug!(%error, "entries of written records could not be dropped yet");
                    stream.keep(some.into_iter().chain(entries));
                    break;
                }
            }
        }
    }

    /// Drops entries of the stream of a shard; answers how many of them were there.
    async fn drop_entries(&self, shard: u32, entries: impl Iterator<Item = &Entry>) -> Result<usize, CountersError> {
        let mut command = redis::cmd("XDEL");
        command.arg(format!("{}books", self.remote.turns.prefix(shard)));
        for entry in entries {
            command.arg(&entry.id);
        }
        let dropped = usize::from_redis_value(self.remote.turns.command(&command).await?);
        dropped.map_err(|_| unavailable("the number of dropped entries cannot be read"))
    }
}
