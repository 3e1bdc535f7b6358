//! Clients that call again and again, and what they saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::call::{Call, client};
use super::wait::eventually;

/// One call as its client saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the client calls for.
    pub who: &'static str,
    pub sent: Instant,
    pub answered: Instant,
    pub status: u16,
    /// `error.type` of a denial.
    pub kind: String,
    /// Seconds after which a refused client may come back.
    pub retry_after: Option<u64>,
}

/// Clients under way.
pub struct Traffic {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Traffic {
    pub fn new() -> Traffic {
        Traffic { seen: Arc::default(), stop: Arc::default(), clients: JoinSet::new() }
    }

    /// Adds clients that make this call one after the other, each on a connection of its own.
    pub fn add(&mut self, who: &'static str, clients: usize, call: &Call) {
        for _ in 0..clients {
            let call = call.clone().through(&client());
            let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
            self.clients.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let one = one(who, call.clone()).await;
                    seen.lock().push(one);
                }
            });
        }
    }

    /// What was answered until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits until so many answers of this kind, asked for after `since`, are there.
    pub async fn wait(&self, what: &str, since: Instant, count: usize, wanted: impl Fn(&Seen) -> bool) {
        eventually(what, || async {
            let seen = self.seen();
            let found = seen.iter().filter(|seen| seen.sent >= since && wanted(seen)).count();
            if found >= count { Ok(()) } else { Err(format!("{found} of {count}: {}", tally(seen.iter()))) }
        })
        .await;
    }

    /// Lets every client finish its call; all that was answered.
    pub async fn finish(self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        std::mem::take(&mut self.seen.lock())
    }
}

/// Makes one call.
pub async fn one(who: &'static str, call: Call) -> Seen {
    let sent = Instant::now();
    let answer = call.send().await;
    let retry_after = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
    Seen { who, sent, answered: Instant::now(), status: answer.status, kind: answer.kind(), retry_after }
}

/// Counts by caller, status and type of error, as text.
pub fn tally<'s>(seen: impl Iterator<Item = &'s Seen>) -> String {
    let mut counts: BTreeMap<(&str, u16, &str), usize> = BTreeMap::new();
    for seen in seen {
        *counts.entry((seen.who, seen.status, &seen.kind)).or_default() += 1;
    }
    let line = |((who, status, kind), count): (&(&str, u16, &str), &usize)| {
        format!("{who} {status}{}{kind} x {count}", if kind.is_empty() { "" } else { " " })
    };
    counts.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// How many passed.
pub fn passed(seen: &[Seen], who: &str) -> usize {
    seen.iter().filter(|seen| seen.who == who && seen.status == 200).count()
}
