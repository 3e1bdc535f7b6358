//! Loading a budget that Redis does not have, from the books, while it goes on being spent from: each record counts once,
//! whether the books had it when they were read, Redis has noted it since, or it is on its way from one shard to another.

use std::collections::HashSet;

use super::super::{Books, CountersError, RecordName, Unseeded};
use super::RedisCounters;
use super::message::{Malformed, Reader, Writer, join};
use super::places;
use super::remote::Remote;
use super::turns::unavailable;
use crate::domain::{HoldId, Money};

/// How often the books are read for one load: again where a record that Redis has noted became durable in between.
const READINGS: usize = 8;
/// Records that were booked lately and are not written; Redis looks for the holds of all of them.
const MOST: usize = 5_000;
/// How long the name of a record is: its hold and its sequence.
const RECORD_NAME: usize = 20;

/// What was spent on a budget since somebody began to load it.
type Noted = Vec<(RecordName, Money)>;

enum Answer {
    Loaded,
    /// The books were read without knowing of these.
    Noted(Noted),
    Missing,
}

impl RedisCounters {
    /// Loads a budget; `false` where it is still missing.
    pub(super) async fn load_from(&self, missing: &Unseeded, books: &dyn Books) -> Result<bool, CountersError> {
        let Some(account) = missing.account() else { return Ok(false) };
        // Records that are in every sum that is read from now on.
        let mut durable: HashSet<RecordName, ahash::RandomState> = HashSet::default();
        for _ in 0..READINGS {
            let sum = books.sum(&account).await?;
            if sum.lately.len() > MOST {
                return Err(unavailable("too many records wait to be written"));
            }
            let lately: Vec<u8> = sum.lately.iter().copied().flat_map(record_name).collect();
            let noted = match self.remote.load(missing, sum.spent, None, &lately).await? {
                Answer::Loaded => return Ok(true),
                Answer::Missing => return Ok(false),
                Answer::Noted(noted) => noted,
            };
            let is_in = |name: &RecordName| sum.counted.contains(name) || durable.contains(name);
            let (names, costs): (Vec<_>, Vec<_>) = noted.iter().copied().filter(|(name, _)| !is_in(name)).unzip();
            let written = if names.is_empty() { Vec::new() } else { books.are_written(&names).await? };
            if written.contains(&true) {
                // They may be in this sum or not.
                durable.extend(names.into_iter().zip(written).filter_map(|(name, written)| written.then_some(name)));
                continue;
            }
            // What is not durable now was not when the books were read; what is noted from here on was booked since.
            let spent = sum.spent + costs.into_iter().sum();
            let answer = self.remote.load(missing, spent, Some(noted.len()), &lately).await?;
            return Ok(matches!(answer, Answer::Loaded));
        }
        Err(unavailable("the books change faster than they can be read"))
    }
}

impl Remote {
    async fn load(
        &self,
        missing: &Unseeded,
        spent: Money,
        noted: Option<usize>,
        records: &[u8],
    ) -> Result<Answer, CountersError> {
        let shard = places::shard_of(&missing.counter.scope, self.turns.shards());
        let mut message = Writer::list(7);
        message.bytes("D").bytes(places::name(&missing.counter)).count(missing.generation).money(spent);
        message.int(noted.map_or(-1, |noted| noted as i64)).bytes(records);
        read(self.ask(shard, message.take()).await?.said).map_err(unavailable)
    }
}

fn read(mut said: Reader) -> Result<Answer, Malformed> {
    if !said.is_list() {
        return Ok(if said.bool()? { Answer::Loaded } else { Answer::Missing });
    }
    let noted = (0..said.list()?).map(|_| read_noted(&said.bytes()?)).collect::<Result<_, _>>()?;
    Ok(Answer::Noted(noted))
}

/// The name of a record, and what it costs as whole dollars and nanos, which are doubles.
fn read_noted(written: &[u8]) -> Result<(RecordName, Money), Malformed> {
    let (name, cost) = written.split_first_chunk::<RECORD_NAME>().ok_or(Malformed)?;
    let (hold, sequence) = name.split_first_chunk::<16>().ok_or(Malformed)?;
    let sequence = u32::from_be_bytes(sequence.try_into().map_err(|_| Malformed)?);
    let doubles = <&[u8; 16]>::try_from(cost).map_err(|_| Malformed)?;
    let (dollars, nanos) = doubles.split_at(8);
    let whole =
        |double: &[u8]| double.try_into().map(|double| f64::from_le_bytes(double) as i64).map_err(|_| Malformed);
    let cost = join(whole(dollars)?, whole(nanos)?);
    Ok(((HoldId::new(*hold), sequence), Money::nanos(cost)))
}

/// The name of a record as the script has it.
pub(super) fn record_name((hold, sequence): RecordName) -> [u8; RECORD_NAME] {
    let mut name = [0; RECORD_NAME];
    name[..16].copy_from_slice(hold.as_bytes());
    name[16..].copy_from_slice(&sequence.to_be_bytes());
    name
}
