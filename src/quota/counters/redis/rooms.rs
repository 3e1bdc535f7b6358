//! Those who wait for room: woken by whatever replica gives something back on the counter that refused them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::message::{Malformed, Reader};

/// News are remembered this long for those who come to wait after them; longer than anybody waits.
const REMEMBERED: Duration = Duration::from_secs(5);
/// News that are remembered at most; past it they are forgotten, and whoever misses one waits in vain for as long as it
/// has patience.
const MAX_NEWS: usize = 16_384;

#[derive(Default)]
pub(super) struct Rooms {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last epoch heard of each counter, and when.
    news: HashMap<Box<str>, (u64, Instant), ahash::RandomState>,
    waiting: HashMap<Box<str>, Waiting, ahash::RandomState>,
    waiters: usize,
}

struct Waiting {
    notify: Arc<Notify>,
    count: usize,
}

/// A waiter's place; leaving it, however that comes, frees it.
struct Place<'r> {
    rooms: &'r Rooms,
    counter: &'r str,
    notify: Arc<Notify>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.rooms.state.lock();
        state.waiters -= 1;
        if let Some(waiting) = state.waiting.get_mut(self.counter) {
            waiting.count -= 1;
            if waiting.count == 0 {
                state.waiting.remove(self.counter);
            }
        }
    }
}

impl Rooms {
    /// Completes with `true` when there is news of the counter since `epoch`, with `false` after `patience`, or at once
    /// where `most` wait already.
    pub(super) async fn wait(&self, counter: &str, epoch: u64, patience: Duration, most: usize) -> bool {
        let place = {
            let mut state = self.state.lock();
            if state.is_news(counter, epoch) {
                return true;
            }
            if state.waiters >= most {
                return false;
            }
            state.waiters += 1;
            let waiting =
                state.waiting.entry(counter.into()).or_insert_with(|| Waiting { notify: Arc::default(), count: 0 });
            waiting.count += 1;
            Place { rooms: self, counter, notify: Arc::clone(&waiting.notify) }
        };
        // Made before the news are looked at again: what comes in between is seen by one of the two.
        let notified = place.notify.notified();
        let news = self.state.lock().is_news(counter, epoch);
        news || tokio::time::timeout(patience, notified).await.is_ok()
    }

    /// Takes the names and epochs of counters on which something was given back.
    pub(super) fn hear(&self, mut told: Reader) -> Result<(), Malformed> {
        let count = told.list()? / 2;
        if count == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut state = self.state.lock();
        for _ in 0..count {
            let (counter, epoch) = (told.text()?, told.count()?);
            if let Some(waiting) = state.waiting.get(&*counter) {
                waiting.notify.notify_waiters();
            }
            state.remember(counter.into(), epoch, now);
        }
        Ok(())
    }
}

impl State {
    fn is_news(&self, counter: &str, epoch: u64) -> bool {
        self.news.get(counter).is_some_and(|(heard, _)| *heard > epoch)
    }

    fn remember(&mut self, counter: Box<str>, epoch: u64, now: Instant) {
        if self.news.len() >= MAX_NEWS {
            self.news.retain(|_, (_, at)| now.duration_since(*at) < REMEMBERED);
            if self.news.len() >= MAX_NEWS {
                self.news.clear();
            }
        }
        let known = self.news.entry(counter).or_insert((epoch, now));
        *known = (known.0.max(epoch), now);
    }
}
