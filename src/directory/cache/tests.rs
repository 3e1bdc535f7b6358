//! The cache against a clock that the test turns, and the directory against a second process's writes.

use futures_util::FutureExt as _;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::super::faulty::{Fault, FaultyStore};
use super::super::migrations::Mode;
use super::super::origin::Origin;
use super::super::sqlite::{SqliteStore, Watch};
use super::super::testing::{TempStore, audit};
use super::super::{DirectoryError, Result, Store};
use super::freshness::{Freshness, Lifetimes, Watchfulness};
use super::loading::{Loaded, LoadingCache};
use super::{Directory, forever};
use crate::config::Config;
use crate::domain::{
    AccessGroup, Account, HoldId, Key, KeyHash, Money, Parties, Period, Principal, Record, RecordStatus, Scope, Secret,
    SessionKey, Tag, Timestamp, Usage, User, UserSession,
};
use crate::uptime::{Uptime, uptime};

const LIFETIMES: Lifetimes = Lifetimes {
    present: Duration::from_secs(60),
    absent: Duration::from_secs(5),
    stale_if_error: Duration::from_secs(600),
};

/// A cache of numbers, its clock, and what its loads answer.
struct World {
    clock: Arc<AtomicU64>,
    freshness: Arc<Freshness>,
    cache: LoadingCache<u32, u32>,
    loads: AtomicU64,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(AtomicU64::new(1_000_000));
        let turned = Arc::clone(&clock);
        let clock_of_cache = Arc::new(move || turned.load(Ordering::SeqCst));
        let freshness = Arc::new(Freshness::new(LIFETIMES, Watchfulness::FILE, Arc::default(), clock_of_cache));
        World { clock, cache: LoadingCache::new(100, Arc::clone(&freshness)), freshness, loads: AtomicU64::new(0) }
    }

    fn pass(&self, seconds: u64) {
        self.clock.fetch_add(seconds * 1_000, Ordering::SeqCst);
    }

    async fn get(&self, answer: Result<Option<u32>>) -> Result<Option<u32>> {
        self.get_by(async move { answer }).await
    }

    async fn get_by(&self, answer: impl Future<Output = Result<Option<u32>>> + Send + 'static) -> Result<Option<u32>> {
        let answer = answer.boxed().shared();
        let load = |_| {
            self.loads.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            async move { answer.await.map(forever) }
        };
        let found = self.cache.get(&1, Timestamp::default(), |key| *key, load).await;
        found.map(|found| found.map(|value| *value))
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }
}

fn down<T>() -> Result<T> {
    Err(DirectoryError::Unavailable("down".to_owned()))
}

#[tokio::test]
async fn what_is_known_is_not_loaded_again_until_it_is_old() {
    let world = World::new();
    assert_eq!(world.get(Ok(Some(1))).await.unwrap(), Some(1));
    world.pass(59);
    assert_eq!(world.get(Ok(Some(2))).await.unwrap(), Some(1));
    world.pass(1);
    assert_eq!(world.get(Ok(Some(3))).await.unwrap(), Some(3));
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn what_is_absent_is_remembered_for_a_shorter_time() {
    let world = World::new();
    assert_eq!(world.get(Ok(None)).await.unwrap(), None);
    world.pass(4);
    assert_eq!(world.get(Ok(Some(1))).await.unwrap(), None);
    world.pass(1);
    assert_eq!(world.get(Ok(Some(1))).await.unwrap(), Some(1));
    world.freshness.invalidate();
    assert_eq!(world.get(Ok(None)).await.unwrap(), None, "what is gone is absent, not old");
    assert_eq!(world.get(Ok(Some(1))).await.unwrap(), None);
}

#[tokio::test]
async fn all_who_miss_at_once_share_one_load() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let misses = (0..20).map(|_| {
        let gate = Arc::clone(&gate);
        world.get_by(async move {
            gate.acquire().await.unwrap().forget();
            Ok(Some(7))
        })
    });
    let (found, ()) = tokio::join!(join_all(misses), async { gate.add_permits(1) });
    assert!(found.into_iter().all(|found| found.unwrap() == Some(7)));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_load_goes_on_when_the_one_who_began_it_goes_away() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let waits = |gate: Arc<Semaphore>| async move {
        gate.acquire().await.unwrap().forget();
        Ok(Some(7))
    };
    let mut leader = Box::pin(world.get_by(waits(Arc::clone(&gate))));
    let mut follower = Box::pin(world.get_by(waits(Arc::clone(&gate))));
    assert!(futures_util::poll!(&mut leader).is_pending());
    assert!(futures_util::poll!(&mut follower).is_pending());
    drop(leader);
    gate.add_permits(1);
    assert_eq!(follower.await.unwrap(), Some(7));
    assert_eq!(world.loads(), 1);
}

#[tokio::test]
async fn a_load_that_an_invalidation_overtook_is_not_kept() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let slow = {
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Some(1))
        }
    };
    let mut early = Box::pin(world.get_by(slow));
    assert!(futures_util::poll!(&mut early).is_pending());
    world.freshness.invalidate();
    assert_eq!(world.get(Ok(Some(2))).await.unwrap(), Some(2), "nobody joins a load that began before");
    gate.add_permits(1);
    assert_eq!(early.await.unwrap(), Some(1));
    assert_eq!(world.get(Ok(Some(3))).await.unwrap(), Some(3), "the late landing is not taken for new");
}

#[tokio::test]
async fn what_is_old_is_used_while_the_store_is_down_but_not_for_ever() {
    let world = World::new();
    world.get(Ok(Some(1))).await.unwrap();
    world.pass(600);
    assert_eq!(world.get(down()).await.unwrap(), Some(1));
    assert_eq!(world.get(down()).await.unwrap(), Some(1));
    assert_eq!(world.loads(), 2, "while it is down it is asked once a second");
    assert_eq!(world.cache.take_looked_up(), [0, 2, 2], "loaded and tried once each, old twice");
    world.pass(1);
    assert_eq!(world.get(Ok(Some(2))).await.unwrap(), Some(2), "and used again when it is back");
    assert_eq!(world.get(Ok(Some(3))).await.unwrap(), Some(2));
    assert_eq!(world.cache.take_looked_up(), [1, 1, 0]);
    world.pass(660);
    assert!(world.get(down()).await.is_err());
}

#[tokio::test]
async fn a_load_that_fails_while_everything_is_dropped_is_tried_once_more() {
    let world = World::new();
    let freshness = Arc::clone(&world.freshness);
    let found = world.get_by(async move {
        freshness.invalidate();
        down()
    });
    assert!(found.await.is_err());
    assert_eq!(world.loads(), 2);
}

#[tokio::test]
async fn a_store_that_is_down_is_asked_by_one_a_second_whatever_is_asked_for() {
    let world = World::new();
    let other: LoadingCache<u32, u32> = LoadingCache::new(100, Arc::clone(&world.freshness));
    let asked = AtomicU64::new(0);
    let get_other = |answer: Result<Option<u32>>| {
        let asked = &asked;
        let load = move |_| {
            asked.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            async move { answer.map(forever) }
        };
        other.get(&1, Timestamp::default(), |key| *key, load)
    };
    world.get(Ok(Some(1))).await.unwrap();
    get_other(Ok(Some(2))).await.unwrap();
    world.pass(60);
    assert_eq!(world.get(down()).await.unwrap(), Some(1));
    assert_eq!(*get_other(down()).await.unwrap().unwrap(), 2);
    assert_eq!((world.loads(), asked.load(Ordering::SeqCst)), (2, 1), "what failed for one failed for all");
    world.pass(1);
    let silent = || world.get_by(std::future::pending());
    let (one, two, three) = tokio::join!(silent(), silent(), get_other(down()));
    assert_eq!((one.unwrap(), two.unwrap(), *three.unwrap().unwrap()), (Some(1), Some(1), 2));
    assert_eq!((world.loads(), asked.load(Ordering::SeqCst)), (3, 1), "one asks again, and nobody else waits for it");
    world.pass(1);
    assert_eq!(*get_other(Ok(Some(3))).await.unwrap().unwrap(), 3);
    world.freshness.invalidate();
    assert_eq!(world.get(Ok(Some(4))).await.unwrap(), Some(4), "it is back");
}

#[tokio::test]
async fn what_was_invalidated_or_cannot_be_read_is_not_used_while_the_store_is_down() {
    let world = World::new();
    world.get(Ok(Some(1))).await.unwrap();
    world.freshness.invalidate();
    assert!(world.get(down()).await.is_err());
    let world = World::new();
    world.get(Ok(Some(1))).await.unwrap();
    world.pass(61);
    assert!(world.get(Err(DirectoryError::Corrupt("row".to_owned()))).await.is_err());
    let world = World::new();
    world.get(Ok(None)).await.unwrap();
    world.pass(6);
    assert!(world.get(down()).await.is_err(), "an absent key may exist by now");
}

#[tokio::test]
async fn while_nobody_watches_what_is_kept_is_read_again_after_a_second() {
    let world = World::new();
    world.freshness.seen();
    world.get(Ok(Some(1))).await.unwrap();
    assert_eq!(world.get(Ok(Some(2))).await.unwrap(), Some(1));
    world.pass(1);
    assert_eq!(world.get(Ok(Some(3))).await.unwrap(), Some(3));
    world.freshness.seen();
    world.pass(30);
    world.freshness.seen();
    assert_eq!(world.get(Ok(Some(4))).await.unwrap(), Some(3), "watched again");
}

#[tokio::test]
async fn what_ends_at_a_known_moment_is_not_used_after_it() {
    let world = World::new();
    let until = Timestamp::millis(1_000);
    let ends = |_| async move { Ok(Loaded { value: Some(Arc::new(1)), until: Some(until) }) };
    let gone = |_| async move { Ok(Loaded { value: None, until: None }) };
    assert!(world.cache.get(&1, Timestamp::millis(0), |key| *key, ends).await.unwrap().is_some());
    assert!(world.cache.get(&1, Timestamp::millis(999), |key| *key, gone).await.unwrap().is_some());
    assert!(world.cache.get(&1, Timestamp::millis(1_000), |key| *key, gone).await.unwrap().is_none());
}

/// A directory on a file, the store under it, and a second store on the same file: another process.
struct Two {
    temp: TempStore,
    faulty: Arc<FaultyStore>,
    directory: Arc<Directory>,
}

impl Two {
    async fn new() -> Two {
        Two::with_clock(uptime()).await
    }

    async fn with_clock(clock: Uptime) -> Two {
        let temp = TempStore::sqlite().await;
        let file = temp.folder.path().join("directory.db");
        let generation = Arc::new(AtomicU64::new(0));
        let own = SqliteStore::open(&file, Mode::Auto, Arc::clone(&generation)).await.unwrap();
        let faulty = FaultyStore::over(Arc::new(own));
        let store: super::SharedStore = Arc::clone(&faulty) as _;
        let freshness = Freshness::new(LIFETIMES, Watchfulness::FILE, generation, clock);
        let directory = Directory::over(store, 100, freshness);
        Two { temp, faulty, directory: Arc::new(Directory { origin: Some(Origin::File(file)), ..directory }) }
    }

    fn other(&self) -> &dyn Store {
        &*self.temp.store
    }
}

fn now() -> Timestamp {
    Timestamp::millis(1_000_000)
}

fn key(secret: &str) -> Key {
    Key::new(KeyHash::of(secret), now())
}

/// Asks until the answer is there.
async fn eventually<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    let asked = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
}

#[tokio::test]
async fn a_warm_path_asks_nothing() {
    let two = Two::new().await;
    two.other().create_key(&key("sk-a"), audit()).await.unwrap();
    let hash = KeyHash::of("sk-a");
    let first = two.directory.identity(&hash, now()).await.unwrap().unwrap();
    two.faulty.set(Fault::Before(DirectoryError::Unavailable("asked".to_owned())));
    let second = two.directory.identity(&hash, now()).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test]
async fn a_write_of_this_process_is_seen_at_once() {
    let two = Two::new().await;
    let (directory, hash) = (&two.directory, KeyHash::of("sk-a"));
    assert!(directory.identity(&hash, now()).await.unwrap().is_none());
    directory.store().create_key(&key("sk-a"), audit()).await.unwrap();
    assert!(directory.identity(&hash, now()).await.unwrap().is_some());
    directory.store().update_key(&Key { blocked: true, ..key("sk-a") }, audit()).await.unwrap();
    assert!(directory.identity(&hash, now()).await.unwrap().unwrap().key.as_ref().unwrap().blocked);
    directory.store().delete_key(&hash, audit()).await.unwrap();
    assert!(directory.identity(&hash, now()).await.unwrap().is_none());
    let tag = Tag { tag_name: "t".into(), ..Tag::default() };
    assert!(directory.registry().await.unwrap().tag("t").is_none());
    directory.store().put_tag(&tag, true, audit()).await.unwrap();
    assert!(directory.registry().await.unwrap().tag("t").is_some());
}

#[tokio::test]
async fn a_key_revoked_by_another_process_is_gone_within_the_poll() {
    let two = Two::new().await;
    let (cancel, hash) = (CancellationToken::new(), KeyHash::of("sk-a"));
    let watch = tokio::spawn(Arc::clone(&two.directory).watch(cancel.clone()));
    two.other().create_key(&key("sk-a"), audit()).await.unwrap();
    eventually(|| async { two.directory.identity(&hash, now()).await.unwrap().is_some() }).await;
    two.other().delete_key(&hash, audit()).await.unwrap();
    eventually(|| async { two.directory.identity(&hash, now()).await.unwrap().is_none() }).await;
    cancel.cancel();
    watch.await.unwrap();
}

#[tokio::test]
async fn the_watch_tells_a_written_row_from_a_written_record() {
    let two = Two::new().await;
    let (report, mut reports) = mpsc::unbounded_channel();
    let file = two.temp.folder.path().join("directory.db");
    let watch = Watch::begin(file, Duration::from_millis(1), move |seen| {
        let _ = report.send(seen.changed);
    });
    assert_eq!(reports.recv().await, Some(true), "nobody knows what was before the first look");
    let record = Record {
        id: HoldId::new([1; 16]),
        sequence: 0,
        status: RecordStatus::Adjustment,
        admitted_at: now(),
        settled_at: now(),
        parties: Parties::default(),
        model: "m".into(),
        usage: Usage::default(),
        cost: Money::nanos(1),
        price_version: "v".into(),
        estimated: false,
        accounts: vec![Account { scope: Scope::global(), period: Period::total() }],
    };
    two.other().write_records(&[record]).await.unwrap();
    while reports.try_recv().is_ok() {}
    for _ in 0..3 {
        assert_eq!(reports.recv().await, Some(false), "the ledger's rows are cached by nobody");
    }
    two.other().create_key(&key("sk-a"), audit()).await.unwrap();
    let seen = async { while reports.recv().await != Some(true) {} };
    tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
    watch.end().await;
}

#[tokio::test]
async fn a_cached_old_hash_ends_with_its_grace_period() {
    let two = Two::new().await;
    let old = KeyHash::of("sk-old");
    two.other().create_key(&key("sk-old"), audit()).await.unwrap();
    let revoke_at = now().plus_millis(500);
    two.other().rotate_key(&old, &key("sk-new"), Some(revoke_at), audit()).await.unwrap();
    for (at, works) in [(now(), true), (revoke_at.plus_millis(-1), true), (revoke_at, false)] {
        assert_eq!(two.directory.identity(&old, at).await.unwrap().is_some(), works, "{at}");
    }
}

#[tokio::test]
async fn a_group_is_found_by_its_id_and_its_name() {
    let two = Two::new().await;
    let group = AccessGroup { access_group_id: "id".into(), access_group_name: "name".into(), ..Default::default() };
    two.directory.store().put_access_group(&group, true, audit()).await.unwrap();
    let registry = two.directory.registry().await.unwrap();
    assert_eq!(registry.access_group("id"), Some(&group));
    assert_eq!(registry.access_group("name"), Some(&group));
    assert_eq!(registry.access_group("other"), None);
}

#[tokio::test]
async fn a_second_gate_on_the_same_directory_is_refused() {
    let two = Two::new().await;
    let lock = two.directory.exclusive_lock().await.unwrap();
    let refused = two.directory.exclusive_lock().await.unwrap_err().to_string();
    assert!(refused.contains("REDIS_URL"), "{refused}");
    drop(lock);
    assert!(two.directory.exclusive_lock().await.is_ok());
}

#[tokio::test]
async fn a_url_that_is_no_file_is_refused_without_being_repeated() {
    for url in ["mysql://user:hunter2@host/db", "sqlite://", "tollward.db", "sqlite://:memory:"] {
        let mut config = Config::default();
        config.directory.url = Some(Secret::new(url));
        let error = Directory::open(&config).await.unwrap_err().to_string();
        assert!(error.contains("sqlite://FILE") && !error.contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn the_configuration_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.db");
    let mut config = Config::default();
    config.general_settings.database_url = Some(Secret::new(format!("sqlite://{}", file.display())));
    let directory = Directory::open(&config).await.unwrap();
    assert_eq!(directory.store().setting_or_insert("a", "b").await.unwrap(), "b");
    assert!(file.exists());
}

fn session_key(kid: &str, period: i64) -> SessionKey {
    let (period_start, seed) = (Timestamp::millis(period), Secret::new("c2VlZA=="));
    SessionKey { kid: kid.into(), period_start, seed, created_at: now() }
}

#[tokio::test]
async fn a_session_key_that_is_not_known_is_looked_for_at_most_once_a_second() {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let turned = Arc::clone(&clock);
    let two = Two::with_clock(Arc::new(move || turned.load(Ordering::SeqCst))).await;
    let calls = || two.faulty.calls.load(Ordering::SeqCst);
    let is_known = async |kid: &str| two.directory.session_key(kid).await.map(|key| key.is_some());
    two.other().put_session_key(&session_key("a", 1), audit()).await.unwrap();
    for (kid, expected) in [("a", true), ("b", false), ("c", false), ("a", true)] {
        assert_eq!(is_known(kid).await.unwrap(), expected, "{kid}");
    }
    assert_eq!(calls(), 1);
    // Made by another replica, which nobody tells.
    two.other().put_session_key(&session_key("b", 2), audit()).await.unwrap();
    clock.fetch_add(999, Ordering::SeqCst);
    assert!(!is_known("b").await.unwrap());
    assert_eq!(calls(), 1);
    clock.fetch_add(1, Ordering::SeqCst);
    assert!(is_known("b").await.unwrap() && is_known("a").await.unwrap() && !is_known("c").await.unwrap());
    assert_eq!(calls(), 2);
    clock.fetch_add(1_000, Ordering::SeqCst);
    two.faulty.set(Fault::Before(DirectoryError::Unavailable("down".to_owned())));
    assert!(is_known("c").await.is_err(), "nobody can tell");
    assert!(is_known("a").await.unwrap());
}

#[tokio::test]
async fn a_session_is_asked_for_once_and_ends_in_time() {
    let two = Two::new().await;
    let user = User { user_id: "ada".into(), ..User::default() };
    two.other().put_user(&user, true, audit()).await.unwrap();
    two.other().put_session_key(&session_key("a", 1), audit()).await.unwrap();
    let session = UserSession {
        sid: "s".into(),
        user_id: "ada".into(),
        team_id: None,
        kid: "a".into(),
        issued_at: now(),
        expires_at: now().plus_millis(1_000),
        revoked_at: None,
    };
    two.other().put_session(&session, true, audit()).await.unwrap();
    assert_eq!(two.directory.session("s", now()).await.unwrap().as_deref(), Some(&session));
    two.faulty.set(Fault::Before(DirectoryError::Unavailable("asked".to_owned())));
    assert!(two.directory.session("s", now().plus_millis(999)).await.unwrap().is_some());
    two.faulty.set(Fault::None);
    assert!(two.directory.session("s", now().plus_millis(1_000)).await.unwrap().is_none());
}

#[tokio::test]
async fn who_has_a_name_too_long_to_be_booked_is_refused_and_not_looked_up() {
    let temp = TempStore::sqlite().await;
    let store = FaultyStore::over(Arc::clone(&temp.store));
    let freshness = Freshness::new(LIFETIMES, Watchfulness::FILE, Arc::default(), uptime());
    let directory = Directory::over(Arc::clone(&store) as _, 10, freshness);
    let long = "%".repeat(600);
    let end_user = directory.end_user(&long).await.unwrap().unwrap();
    assert!(end_user.dangling.is_some() && *end_user.user_id == *long);
    let principal = Principal { user_id: Some(long.into()), ..Principal::default() };
    assert!(directory.principal(&principal).await.unwrap().dangling.is_some());
    assert_eq!(store.calls.load(Ordering::SeqCst), 0);
    assert!(directory.end_user(&"e".repeat(1_024)).await.unwrap().is_none());
}
