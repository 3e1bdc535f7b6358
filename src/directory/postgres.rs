//! The shared directory: PostgreSQL. Everything has an end in time: waiting for a connection, a statement, a lock, an
//! answer. What did not end is `Unavailable`, a full disk is `Full`, and nothing is ever half-written.
//!
//! Two advisory locks order what writes. *Sums* is held by one transaction at a time, while it changes entities or adds
//! to sums, so nobody waits in a circle. *Days* is shared by all who write records, and taken alone by who makes or drops
//! the table of a day. *Days* is always taken before *sums*.

mod connect;
mod driver;
mod errors;
mod lock;
mod migrate;
mod pool;
mod session;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

pub(super) use self::connect::Target;
use self::driver::Driver;
pub(super) use self::lock::SessionLock;
pub(super) use self::migrate::migrate;
use self::pool::{Lease, Pool};
pub(super) use self::watch::{LIVE_FOR, Seen, UNWATCHED_TTL, watch};
use super::engine::{CALL, Doing, End, Engine, Reading, WHOLE_LEDGER, Writing, count_change, record_change};
use super::rows::Value;
use super::session::{Session, execute, one, texts};
use super::statements::{Dialect, Statements};
use super::{AuditEntry, DirectoryError, Result};
use crate::config;
use crate::domain::Timestamp;

/// Names of locks, the same for every version: `pg_advisory_lock` takes two numbers.
mod locks {
    /// "toll".
    pub const CLASS: i32 = 0x746F_6C6C;
    pub const MIGRATE: i32 = 1;
    pub const SUMS: i32 = 2;
    pub const DAYS: i32 = 3;
    pub const ALONE: i32 = 4;
}

/// Keeps the tables of the ledger from being dropped while its days are read: a table that is gone is gone for an older
/// snapshot too. Taking it takes no snapshot, so that the one it comes before sees what was dropped until then.
const KEEP_DAYS: &str = "LOCK TABLE ONLY ledger IN ACCESS SHARE MODE;";

/// On which every change is announced.
const CHANNEL: &str = "tollward_directory";

/// A transaction whose owner fell silent is ended by the server, so that its locks stop nobody for longer.
const IDLE_MILLIS: u64 = 5_000;
/// Making and dropping the table of a day gives way to who reads the ledger: it is tried again later.
const ROOM_MILLIS: u64 = 1_000;
/// After a table could not be made, it is not tried again for this time.
const ROOM_RETRY: Duration = Duration::from_secs(60);

/// Where the parts of the directory are, as the configuration says.
pub(super) struct Place {
    /// Everything, by way of a pooler where there is one.
    pub primary: Target,
    pub replica: Option<Target>,
    /// Connections of our own: listening and locks.
    pub direct: Target,
    pub driver: Driver,
}

impl Place {
    pub(super) fn of(config: &config::Directory, url: &crate::domain::Secret) -> Result<Place> {
        let prepared = config.prepared_statements == config::PreparedStatements::On;
        let primary = Target::parse(url, "directory.url", prepared)?;
        let replica = config.read_url.as_ref().map(|url| Target::parse(url, "directory.read_url", prepared));
        // A connection of our own may be behind the same pooler in session mode, which keeps to one server connection.
        let direct = match &config.listen_url {
            Some(url) => Target::parse(url, "directory.listen_url", true)?,
            None if primary.prepared() => primary.clone(),
            None => {
                return Err(DirectoryError::Unavailable(
                    "a pooler in transaction mode stands before directory.url: set directory.listen_url, which leads \
                     past it"
                        .to_owned(),
                ));
            }
        };
        Ok(Place { primary, replica: replica.transpose()?, direct, driver: Driver::begin()? })
    }
}

/// The directory in PostgreSQL.
pub(super) struct PostgresStore {
    /// Drives the connections of the pools.
    #[expect(dead_code, reason = "what drives the connections lives as long as they are used")]
    place: Arc<Place>,
    primary: Pool,
    replica: Option<Pool>,
    statements: Arc<Statements>,
    /// Counted up after every change, before its author is answered: what was cached before is old.
    generation: Arc<AtomicU64>,
    rooms: Mutex<Rooms>,
}

/// Days that have a table, and when one could last not be made.
#[derive(Default)]
struct Rooms {
    days: BTreeSet<i64>,
    failed_at: Option<Instant>,
}

impl PostgresStore {
    /// Connects, and brings the tables to our version as the configuration says.
    pub(super) async fn open(
        place: &Arc<Place>,
        config: &config::Directory,
        generation: Arc<AtomicU64>,
    ) -> Result<PostgresStore> {
        if config.migrate != config::Migrate::Off {
            let found = migrate(place, config.migrate).await?;
            if config.migrate == config::Migrate::Check {
                found.require_current().map_err(DirectoryError::Unavailable)?;
            }
        }
        let pool = |target: &Target| Pool::new(target, &place.driver, config.pool_size);
        let primary = pool(&place.primary)?;
        let replica = place.replica.as_ref().map(pool).transpose()?;
        let store = PostgresStore {
            place: Arc::clone(place),
            primary,
            replica,
            statements: Arc::new(Statements::load(Dialect::Postgres)),
            generation,
            rooms: Mutex::default(),
        };
        // Whatever is wrong with the URL is told now. A read replica may be down.
        within(CALL, store.primary.lease()).await?.finish();
        Ok(store)
    }

    /// Runs a job in a transaction that `begin` begins.
    async fn transact<T, J>(&self, bound: Duration, begin: &str, end: End, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        within(bound, async {
            let lease = self.primary.lease().await?;
            surrounded(lease, begin, end, &self.statements, job).await
        })
        .await
    }

    /// Makes the table of a day, where there is none. Nobody writes records at that moment, so nobody waits for another
    /// in a circle.
    async fn make_day(&self, day: i64) -> Result<()> {
        let name = format!("ledger_d{day}");
        let there = "SELECT CAST(to_regclass($1) AS TEXT)";
        // A day that began without one stays without: its table could not take over what lies elsewhere.
        let begun = "SELECT CAST(day AS TEXT) FROM ledger_default WHERE day = $1 LIMIT 1";
        for (text, value) in [(there, Value::Text(name.clone())), (begun, Value::Integer(day))] {
            let found = self.read(Reading::Row, move |session, _| {
                Box::pin(one(session, text, vec![value], |columns| columns.text()))
            });
            if found.await?.flatten().is_some() {
                return Ok(());
            }
        }
        let begin = format!("{} SET LOCAL lock_timeout = {ROOM_MILLIS};{}", begin(CALL), alone(locks::DAYS));
        let next = day + 1;
        let create =
            format!("CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger FOR VALUES FROM ({day}) TO ({next})");
        self.transact(CALL, &begin, End::Commit, move |session, _| {
            Box::pin(async move { execute(session, &create, Vec::new()).await })
        })
        .await?;
        Ok(())
    }
}

#[async_trait]
impl Engine for PostgresStore {
    async fn read<T, J>(&self, reading: Reading, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let bound = reading.bound();
        within(bound, async {
            match reading {
                Reading::Row => {
                    let lease = self.primary.lease().await?;
                    let done = job(&mut lease.session(), &self.statements).await?;
                    lease.finish();
                    Ok(done)
                }
                Reading::List | Reading::Report | Reading::Ledger => {
                    let replica = self.replica.as_ref().filter(|_| reading == Reading::Report);
                    let lease = replica.unwrap_or(&self.primary).lease().await?;
                    let snapshot = begin(bound).replacen("BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 1);
                    let keep = if reading == Reading::Ledger { KEEP_DAYS } else { "" };
                    surrounded(lease, &format!("{snapshot}{keep}"), End::Commit, &self.statements, job).await
                }
            }
        })
        .await
    }

    async fn change<T, J>(&self, audit: AuditEntry, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let begin = format!("{}{}", begin(CALL), alone(locks::SUMS));
        let changed = self.transact(CALL, &begin, End::Commit, move |session, statements| {
            Box::pin(async move {
                let changed = job(session, statements).await?;
                let version = record_change(session, statements, audit).await?;
                announce(session, version).await?;
                Ok(changed)
            })
        });
        let changed = changed.await;
        // Also where nobody knows whether it was committed.
        self.generation.fetch_add(1, Ordering::AcqRel);
        changed
    }

    async fn change_many<T, J>(&self, keep: bool, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let begin = format!("{}{}{}", begin(WHOLE_LEDGER), beside_others(locks::DAYS), alone(locks::SUMS));
        let changed = self.transact(WHOLE_LEDGER, &begin, End::of(keep), move |session, statements| {
            Box::pin(async move {
                let changed = job(session, statements).await?;
                let version = count_change(session, statements).await?;
                announce(session, version).await?;
                Ok(changed)
            })
        });
        let changed = changed.await;
        self.generation.fetch_add(1, Ordering::AcqRel);
        changed
    }

    async fn write<T, J>(&self, writing: Writing, job: J) -> Result<T>
    where
        T: Send + 'static,
        J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
    {
        let bound = writing.bound();
        let lock = match writing {
            Writing::Setting => String::new(),
            Writing::Batch => beside_others(locks::DAYS),
            Writing::Days => format!("SET LOCAL lock_timeout = {ROOM_MILLIS};{}", alone(locks::DAYS)),
        };
        self.transact(bound, &format!("{}{lock}", begin(bound)), End::Commit, job).await
    }

    async fn make_room(&self, days: &[i64]) {
        let today = super::rows::day_of(Timestamp::now());
        let wanted: Vec<i64> = {
            let rooms = self.rooms.lock();
            if rooms.failed_at.is_some_and(|at| at.elapsed() < ROOM_RETRY) {
                return;
            }
            // Tomorrow's before it begins, and of days far away none.
            let near = days.iter().copied().flat_map(|day| [day, day + 1]).filter(|day| (day - today).abs() <= 7);
            near.filter(|day| !rooms.days.contains(day)).collect()
        };
        for day in wanted {
            match self.make_day(day).await {
                Ok(()) => {
                    self.rooms.lock().days.insert(day);
                }
                Err(error) => {
                    tracing::info!(%error, day, "the ledger's table of a day is not there yet; its records go to the default one");
                    self.rooms.lock().failed_at = Some(Instant::now());
                    return;
                }
            }
        }
    }
}

/// Begins a transaction that ends in time whatever its owner does.
fn begin(bound: Duration) -> String {
    // The server gives up first, and can still say why.
    let statement = bound.mul_f32(0.9).as_millis();
    format!(
        "BEGIN; SET LOCAL statement_timeout = {statement}; \
         SET LOCAL idle_in_transaction_session_timeout = {IDLE_MILLIS};"
    )
}

/// Takes a lock until the transaction ends.
fn alone(lock: i32) -> String {
    format!("SELECT pg_advisory_xact_lock({}, {lock});", locks::CLASS)
}

/// The same beside others who take it this way.
fn beside_others(lock: i32) -> String {
    format!("SELECT pg_advisory_xact_lock_shared({}, {lock});", locks::CLASS)
}

/// Lets every process know of a change.
async fn announce(session: &mut dyn Session, version: i64) -> Result<()> {
    let announce = texts(&[CHANNEL, &version.to_string()]);
    session.each("SELECT pg_notify($1, $2)", announce, &mut |_| Ok(())).await
}

/// Runs a job in a transaction; nothing of it stays where it fails.
async fn surrounded<T, J>(lease: Lease, begin: &str, end: End, statements: &Statements, job: J) -> Result<T>
where
    T: Send + 'static,
    J: for<'s> FnOnce(&'s mut dyn Session, &'s Statements) -> Doing<'s, T> + Send + 'static,
{
    lease.batch(begin).await?;
    match job(&mut lease.session(), statements).await {
        Ok(done) => {
            lease.batch(end.statement()).await?;
            lease.finish();
            Ok(done)
        }
        Err(error) => {
            // Where even this fails, the connection is closed, and the server rolls back.
            if lease.batch("ROLLBACK").await.is_ok() {
                lease.finish();
            }
            Err(error)
        }
    }
}

async fn within<T>(bound: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(bound, call).await {
        Ok(done) => done,
        Err(_) => Err(DirectoryError::Unavailable(format!("no answer within {} seconds", bound.as_secs()))),
    }
}
