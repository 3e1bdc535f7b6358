//! Turns: what waits for a shard at the same moment travels in one call of the script. A lone message never waits for
//! company; what comes while calls are under way gathers for the next.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::oneshot;

use super::super::CountersError;
use super::super::clock::Clock;
use super::link::{Connection, Target, is_broken};
use super::message::{Malformed, Reader, Writer};
use super::outage::Health;
use super::script::SCRIPT;
use crate::domain::HoldId;

/// Messages in one call; a call of so many keeps Redis for less than a millisecond or two.
const MOST: usize = 128;
/// Calls under way for one shard and lane; more gather company.
const UNDER_WAY: usize = 2;
/// Connections: each thread uses its own as long as there are no more threads.
const LANES: usize = 16;
/// Messages that may wait for one shard in one lane.
const MAX_WAITING: usize = 65_536;
/// Calls without an answer after which a new connection is made.
const GIVE_UP_AFTER: usize = 8;
/// An answer that took longer tells nothing exact of the server's clock.
const PROMPT: Duration = Duration::from_millis(5);

/// What comes back beside the answers: holds that ended, room that was made, soft limits that were passed.
pub(super) struct News {
    pub(super) events: Reader,
    pub(super) wakes: Reader,
    pub(super) softs: Reader,
}

/// Takes what comes back beside the answers, before they are given.
pub(super) type Hear = Box<dyn Fn(u32, News) + Send + Sync>;

/// A message to the script; `script/` says what each holds.
pub(super) enum Message {
    /// An admission: what it has in common with others, which travels once a turn; its own part; and how many values say
    /// what its lines stand at.
    Admission {
        head: Vec<u8>,
        own: Vec<u8>,
        standings: usize,
    },
    Other(Vec<u8>),
}

impl From<Vec<u8>> for Message {
    fn from(message: Vec<u8>) -> Self {
        Message::Other(message)
    }
}

struct Job {
    message: Message,
    since: Instant,
    answer: oneshot::Sender<Result<Answer, CountersError>>,
}

/// What the script said to a message, and the server's time in ms then.
pub(super) struct Answer {
    pub(super) now: i64,
    pub(super) said: Reader,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    under_way: usize,
}

struct Lane {
    connection: Mutex<Option<Connection>>,
    /// One connects at a time.
    connecting: Arc<tokio::sync::Mutex<()>>,
    queues: Vec<Mutex<Queue>>,
    /// Calls one after the other that had no answer in time.
    given_up: AtomicUsize,
}

impl Lane {
    /// A call had no answer in time. A connection on which that goes on is given up too: its other end may be gone.
    fn gave_up(&self) {
        if self.given_up.fetch_add(1, Ordering::Relaxed) + 1 >= GIVE_UP_AFTER {
            self.given_up.store(0, Ordering::Relaxed);
            self.connection.lock().take();
        }
    }
}

pub(super) struct Turns {
    pub(super) target: Target,
    health: Vec<Health>,
    hash: String,
    prefixes: Vec<String>,
    timeout: Duration,
    clock: Option<Arc<dyn Clock>>,
    lanes: Vec<Lane>,
    hear: Hear,
    /// The server's time less ours, in ms.
    ahead: AtomicI64,
    /// The highest serial seen of each shard.
    serials: Vec<AtomicI64>,
    /// A name no other replica has.
    pub(super) replica: String,
    began: Instant,
}

const UNKNOWN: i64 = i64::MIN;

fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static LANE: Cell<usize> = const { Cell::new(usize::MAX) });
    LANE.with(|lane| {
        if lane.get() == usize::MAX {
            lane.set(NEXT.fetch_add(1, Ordering::Relaxed) % LANES);
        }
        lane.get()
    })
}

pub(super) fn unavailable(why: impl std::fmt::Display) -> CountersError {
    CountersError::Unavailable(format!("redis: {why}"))
}

/// What an error may say: its kind and code, never what was sent.
fn told(error: &RedisError) -> CountersError {
    match error.detail() {
        Some(detail) => unavailable(format!("{}: {detail}", error.category())),
        None => unavailable(error.category()),
    }
}

impl Turns {
    pub(super) fn new(
        target: Target,
        prefix: &str,
        shards: u32,
        timeout: Duration,
        clock: Option<Arc<dyn Clock>>,
        hear: Hear,
    ) -> Turns {
        let queues = || (0..shards).map(|_| Mutex::default()).collect();
        let lane = |_| Lane {
            connection: Mutex::new(None),
            connecting: Arc::default(),
            queues: queues(),
            given_up: AtomicUsize::new(0),
        };
        Turns {
            target,
            health: (0..shards).map(|_| Health::default()).collect(),
            hash: redis::Script::new(&SCRIPT).get_hash().to_owned(),
            prefixes: (0..shards).map(|shard| format!("{prefix}:{{{shard}}}:")).collect(),
            timeout,
            clock,
            lanes: (0..LANES).map(lane).collect(),
            hear,
            ahead: AtomicI64::new(UNKNOWN),
            serials: (0..shards).map(|_| AtomicI64::new(0)).collect(),
            replica: replica_name(),
            began: Instant::now(),
        }
    }

    pub(super) fn shards(&self) -> u32 {
        self.prefixes.len() as u32
    }

    pub(super) fn is_down(&self, shard: u32) -> bool {
        self.health[shard as usize].is_down()
    }

    pub(super) fn any_down(&self) -> bool {
        self.health.iter().any(Health::is_down)
    }

    fn failed(&self, shard: u32) {
        if self.health[shard as usize].failed() {
            tracing::warn!(shard, "redis does not answer");
        }
    }

    /// The pattern of the channels on which room is told.
    pub(super) fn rooms(&self) -> String {
        format!("{}{{*}}:room", self.prefixes[0].split('{').next().unwrap_or_default())
    }

    /// The server's clock in ms, as far as it is known; ours until then.
    pub(super) fn server_millis(&self) -> i64 {
        match self.ahead.load(Ordering::Relaxed) {
            UNKNOWN => crate::domain::Timestamp::now().as_millis(),
            ahead => ahead + self.local(),
        }
    }

    pub(super) fn prefix(&self, shard: u32) -> &str {
        &self.prefixes[shard as usize]
    }

    /// What the script says to one message, which travels with whatever else waits for the shard.
    pub(super) async fn ask(self: &Arc<Self>, shard: u32, message: Message) -> Result<Answer, CountersError> {
        let (answer, answered) = oneshot::channel();
        let lane = lane();
        {
            let mut queue = self.lanes[lane].queues[shard as usize].lock();
            if queue.jobs.len() >= MAX_WAITING {
                return Err(unavailable("too many messages wait"));
            }
            queue.jobs.push_back(Job { message, since: Instant::now(), answer });
            if queue.under_way < UNDER_WAY {
                queue.under_way += 1;
                tokio::spawn(Arc::clone(self).drive(lane, shard));
            }
        }
        // Whoever sends what waits answers it in time: each call has an end, and what waited too long is not sent.
        answered.await.unwrap_or_else(|_| Err(unavailable("the call was given up")))
    }

    /// Sends what waits, call after call, until nothing does.
    async fn drive(self: Arc<Self>, lane: usize, shard: u32) {
        loop {
            let jobs: Vec<Job> = {
                let mut queue = self.lanes[lane].queues[shard as usize].lock();
                // Nobody is there any more for some of them: nothing has happened, and nothing will.
                queue.jobs.retain(|job| !job.answer.is_closed());
                while queue.jobs.front().is_some_and(|job| job.since.elapsed() > self.timeout * 2) {
                    if let Some(late) = queue.jobs.pop_front() {
                        let _ = late.answer.send(Err(unavailable("too much waits for it")));
                    }
                }
                let count = queue.jobs.len().min(MOST);
                if count == 0 {
                    queue.under_way -= 1;
                    return;
                }
                queue.jobs.drain(..count).collect()
            };
            let answered = self.call(lane, shard, &write(&jobs)).await;
            match answered.and_then(|answer| self.read(shard, answer, &jobs)) {
                Ok(answers) => {
                    for (job, answer) in jobs.into_iter().zip(answers) {
                        // Whoever left has nothing to hear.
                        let _ = job.answer.send(Ok(answer));
                    }
                }
                Err(error) => {
                    // What waits behind it would wait in vain.
                    let behind = std::mem::take(&mut self.lanes[lane].queues[shard as usize].lock().jobs);
                    for job in jobs.into_iter().chain(behind) {
                        let _ = job.answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    fn local(&self) -> i64 {
        self.began.elapsed().as_millis() as i64
    }

    /// One call of the script, with an end in time; after it the server does nothing any more either.
    async fn call(self: &Arc<Self>, lane: usize, shard: u32, messages: &[u8]) -> Result<Bytes, CountersError> {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let stale_after = if ahead == UNKNOWN || self.clock.is_some() {
            0
        } else {
            ahead + self.local() + self.timeout.as_millis() as i64
        };
        let forced = self.clock.as_ref().map(|clock| clock.now().as_millis().to_string()).unwrap_or_default();
        let prefix = self.prefix(shard);
        let key = format!("{prefix}clock");
        let serial = self.serials[shard as usize].load(Ordering::Relaxed);
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command
                .arg(script)
                .arg(1)
                .arg(&key)
                .arg(prefix)
                .arg(messages)
                .arg(stale_after)
                .arg(&forced)
                .arg(serial)
                .arg(&self.replica);
            command
        };
        let calling = async {
            let mut connection = self.connection(lane).await?;
            match connection.query(&command("EVALSHA", &self.hash)).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    connection.query(&command("EVAL", &SCRIPT)).await
                }
                answered => answered,
            }
        };
        let sent = Instant::now();
        let answered = match tokio::time::timeout(self.timeout, calling).await {
            Ok(answered) => answered,
            Err(_) => {
                self.failed(shard);
                self.lanes[lane].gave_up();
                return Err(unavailable("no answer in time"));
            }
        };
        match answered {
            Ok(Value::BulkString(answer)) => {
                if self.health[shard as usize].answered() {
                    tracing::info!(shard, "redis answers again");
                }
                self.lanes[lane].given_up.store(0, Ordering::Relaxed);
                let answer = Bytes::from(answer);
                self.learn(&answer, sent.elapsed());
                Ok(answer)
            }
            Ok(_) => Err(unavailable("an answer that is not the script's")),
            Err(error) => {
                // Whatever it is (no memory, no rights, a script that fails), it does not count.
                self.failed(shard);
                if is_broken(&error) {
                    self.lanes[lane].connection.lock().take();
                }
                Err(told(&error))
            }
        }
    }

    /// Learns from an answer how far the server's clock is ahead of ours.
    fn learn(&self, answer: &Bytes, took: Duration) {
        let mut reader = Reader::new(answer.clone());
        let (Ok(_), Ok(now)) = (reader.list(), reader.int()) else { return };
        let seen = now - self.local();
        let known = self.ahead.load(Ordering::Relaxed);
        if took < PROMPT || known == UNKNOWN || seen > known {
            self.ahead.store(seen, Ordering::Relaxed);
        }
    }

    /// The connection of a lane. One that is made goes on being made when nobody waits for it any more.
    async fn connection(self: &Arc<Self>, lane: usize) -> Result<Connection, RedisError> {
        if let Some(connection) = &*self.lanes[lane].connection.lock() {
            return Ok(connection.clone());
        }
        // Where another connects already, this waits for it, and leaves with whoever gives up.
        let one = Arc::clone(&self.lanes[lane].connecting).lock_owned().await;
        if let Some(connection) = &*self.lanes[lane].connection.lock() {
            return Ok(connection.clone());
        }
        let turns = Arc::clone(self);
        let connecting = tokio::spawn(async move {
            let (lane, _one) = (&turns.lanes[lane], one);
            let connection = turns.target.connect().await?;
            *lane.connection.lock() = Some(connection.clone());
            Ok(connection)
        });
        connecting.await.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "connecting broke off"))))
    }

    /// Another command than the script, on the connection of this thread.
    pub(super) async fn command(self: &Arc<Self>, command: &redis::Cmd) -> Result<Value, CountersError> {
        let lane = lane();
        let asking = async { self.connection(lane).await?.query(command).await };
        match tokio::time::timeout(self.timeout * 2, asking).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if is_broken(&error) {
                    self.lanes[lane].connection.lock().take();
                }
                Err(told(&error))
            }
            Err(_) => Err(unavailable("no answer in time")),
        }
    }

    /// The answers in an answer; what comes beside them is heard first.
    fn read(&self, shard: u32, answer: Bytes, jobs: &[Job]) -> Result<Vec<Answer>, CountersError> {
        let mut reader = Reader::new(answer);
        let parts = reader.list().map_err(unavailable)?;
        let now = reader.int().map_err(unavailable)?;
        if parts == 1 {
            return Err(unavailable("it came to the call too late"));
        }
        let mut answers = Vec::with_capacity(jobs.len());
        let read = (|| {
            let mut left = reader.list()?;
            for job in jobs {
                let values = match job.message {
                    // It is admitted: what its lines stand at has no list around it.
                    Message::Admission { standings, .. } if !reader.is_list() => 1 + standings,
                    _ => 1,
                };
                left = left.checked_sub(values).ok_or(Malformed)?;
                answers.push(Answer { now, said: reader.values(values)? });
            }
            if left != 0 {
                return Err(Malformed);
            }
            let news = News { events: reader.value()?, wakes: reader.value()?, softs: reader.value()? };
            self.serials[shard as usize].fetch_max(reader.int()?, Ordering::Relaxed);
            Ok(news)
        })();
        (self.hear)(shard, read.map_err(unavailable)?);
        Ok(answers)
    }
}

/// What waits, as the script reads it: the heads of its admissions, then message after message.
fn write(jobs: &[Job]) -> Vec<u8> {
    let mut heads: HashMap<&[u8], i64, ahash::RandomState> = HashMap::default();
    let (mut head, mut rest) = (Writer::default(), Writer::with_capacity(jobs.len() * 320));
    for job in jobs {
        match &job.message {
            Message::Admission { head: common, own, .. } => {
                let next = heads.len() as i64 + 1;
                let number = *heads.entry(common).or_insert_with(|| {
                    head.raw(common);
                    next
                });
                rest.int(number).raw(own);
            }
            Message::Other(message) => {
                rest.raw(message);
            }
        }
    }
    let mut turn = Writer::default();
    turn.array(heads.len()).raw(&head.take()).raw(&rest.take());
    turn.take()
}

fn replica_name() -> String {
    let mut bytes = [0; 16];
    // Without randomness two replicas may share a name, and are taken for one.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    HoldId::new(bytes).hex()
}
