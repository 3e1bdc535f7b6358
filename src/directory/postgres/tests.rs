//! What is PostgreSQL's own: statements it can prepare, migrations of many at once, servers that die, hang or fall
//! silent, and changes that reach every replica in time.

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::super::testing::{audit, postgres};
use super::super::{Directory, DirectoryError, Mode, Result, SharedStore, Store};
use super::connect::ask;
use super::{Dialect, Place, PostgresStore, Statements, migrate};
use crate::config::{self, Config};
use crate::domain::{
    Account, HoldId, Key, KeyHash, Money, Parties, Period, Record, RecordStatus, Scope, ScopeKind, Secret, Timestamp,
    Usage, User,
};
use crate::real::postgres::Postgres;
use crate::real::wait::{eventually, eventually_blocking};

/// A call may take this much longer than its bound on a machine that is busy.
const SLACK: Duration = Duration::from_secs(5);

fn now() -> Timestamp {
    Timestamp::now()
}

fn settings(migrate: Mode) -> config::Directory {
    config::Directory { migrate, ..config::Directory::default() }
}

async fn open(url: &str) -> Result<PostgresStore> {
    postgres(url, &config::Directory::default()).await
}

fn place(url: &str) -> Place {
    Place::of(&config::Directory::default(), &Secret::new(url)).unwrap()
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

fn key(secret: &str) -> Key {
    Key::new(KeyHash::of(secret), now())
}

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let url = Postgres::shared().database();
    open(&url).await.unwrap();
    let client = ask(&place(&url).primary).await.unwrap();
    for text in Statements::load(Dialect::Postgres).texts() {
        client.prepare(&text).await.map_err(|error| format!("{text}: {}", super::errors::said(&error))).unwrap();
    }
}

#[tokio::test]
async fn ten_at_once_migrate_once() {
    let server = Postgres::shared();
    let url = server.database();
    let mut opening = JoinSet::new();
    for _ in 0..10 {
        let url = url.clone();
        opening.spawn(async move { open(&url).await.map(drop) });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
    let versions = server.execute(name_of(&url), "SELECT COUNT(*) FROM tollward_schema");
    assert_eq!(versions, migrate::all().len().to_string());
}

#[tokio::test]
async fn tables_that_are_behind_or_ahead_are_refused() {
    let server = Postgres::shared();
    let url = server.database();
    let behind = postgres(&url, &settings(Mode::Check)).await.err().map(|error| error.to_string()).unwrap();
    assert!(behind.contains("tollward migrate"), "{behind}");
    let found = super::migrate(&place(&url), Mode::Check).await.unwrap();
    assert_eq!((found.version, found.pending.len()), (0, migrate::all().len()));
    assert_eq!(super::migrate(&place(&url), Mode::Auto).await.unwrap().version, 0, "as it was found");
    postgres(&url, &settings(Mode::Check)).await.unwrap();
    for (change, why) in [
        ("UPDATE tollward_schema SET checksum = 'x' WHERE version = 1", "version 1 of its tables is not ours"),
        ("UPDATE tollward_schema SET version = 999 WHERE version = 1", "version 999"),
    ] {
        server.execute(name_of(&url), change);
        for mode in [Mode::Auto, Mode::Check] {
            let refused = postgres(&url, &settings(mode)).await.err().map(|error| error.to_string()).unwrap();
            assert!(refused.contains(why), "{refused}");
        }
    }
    postgres(&url, &settings(Mode::Off)).await.unwrap();
}

fn is_unavailable<T>(answer: &Result<T>) -> bool {
    matches!(answer, Err(DirectoryError::Unavailable(_)))
}

/// Asks until the store answers again.
async fn works_again(store: &PostgresStore) {
    eventually("the directory answers", || async {
        let found = store.key(&KeyHash::of("sk-a")).await.map_err(|error| error.to_string())?;
        found.map(drop).ok_or_else(|| "the key is gone".to_owned())
    })
    .await;
    let user = User { user_id: "u".into(), ..User::default() };
    store.put_user(&user, true, audit()).await.unwrap();
    store.delete_user("u", audit()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_or_hangs_is_unavailable_in_bounded_time_and_then_works_again() {
    let mut server = Postgres::start(&[]);
    let store = open(&server.database()).await.unwrap();
    store.create_key(&key("sk-a"), audit()).await.unwrap();
    let refuses = async |store: &PostgresStore| {
        let began = Instant::now();
        let (hash, user) = (KeyHash::of("sk-a"), User { user_id: "u".into(), ..User::default() });
        let (read, written) = tokio::join!(store.key(&hash), store.put_user(&user, true, audit()));
        assert!(is_unavailable(&read) && is_unavailable(&written), "{read:?} {written:?}");
        assert!(began.elapsed() < super::CALL + SLACK, "{:?}", began.elapsed());
    };
    server.stop();
    refuses(&store).await;
    server.run();
    works_again(&store).await;
    server.signal_all("STOP");
    refuses(&store).await;
    server.signal_all("CONT");
    // What was sent before it hung is done late, or not at all.
    eventually("the user of the refused call is gone", || async {
        match store.delete_user("u", audit()).await {
            Err(DirectoryError::NotFound { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    works_again(&store).await;
}

/// A proxy before the server that can fall silent: connections stay open, and nothing passes any more.
struct Proxy {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, hears) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut hears = hears.clone();
                passing.spawn(async move {
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let falls_silent = async { hears.wait_for(|silent| *silent).await.map(drop) };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = falls_silent => std::future::pending().await,
                    }
                });
            }
        });
        Proxy { address, silent, _accepting: AbortOnDropHandle::new(accepting) }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://tollward@{}/{database}", self.address)
    }
}

/// A directory that is watched, as a replica has it.
struct Replica {
    directory: Arc<Directory>,
    cancel: CancellationToken,
    _watching: AbortOnDropHandle<()>,
}

impl Replica {
    async fn start(url: &str, listen_url: Option<String>) -> Replica {
        let mut config = Config::default();
        config.directory.url = Some(Secret::new(url));
        config.directory.listen_url = listen_url.map(Secret::new);
        let directory = Directory::open(&config).await.unwrap();
        let cancel = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&directory).watch(cancel.clone()));
        Replica { directory, cancel, _watching: AbortOnDropHandle::new(watching) }
    }

    /// Waits until it knows the key and reads nothing again: the notification of its creation has come.
    async fn knows(&self, key: &KeyHash) {
        let last = Mutex::new((None, 0));
        eventually("nothing is read again", || async {
            let found = self.directory.identity(key, now()).await.map_err(|error| error.to_string())?;
            let found = found.ok_or_else(|| "it is not there".to_owned())?;
            let mut last = last.lock();
            let same = last.0.as_ref().is_some_and(|last| Arc::ptr_eq(last, &found));
            *last = (Some(found), if same { last.1 + 1 } else { 0 });
            if last.1 == 10 { Ok(()) } else { Err(format!("the same {} times", last.1)) }
        })
        .await;
    }

    /// Whether it takes the key for blocked.
    async fn is_blocked(&self, key: &KeyHash) -> bool {
        let identity = self.directory.identity(key, now()).await.unwrap().unwrap();
        identity.key.as_ref().unwrap().blocked
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// How long after a key was blocked `other` still took it for good.
async fn delay(one: &Replica, other: &Replica, secret: &str, before: impl Future<Output = ()>) -> Duration {
    let key = key(secret);
    one.directory.store().create_key(&key, audit()).await.unwrap();
    eventually("the key is known and the watch alive", || async {
        match other.directory.identity(&key.token, now()).await {
            Ok(Some(_)) if other.directory.is_watched() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(!other.is_blocked(&key.token).await);
    before.await;
    one.directory.store().update_key(&Key { blocked: true, ..key.clone() }, audit()).await.unwrap();
    let written = Instant::now();
    // Where a load takes long, what it answers is as old as its beginning.
    loop {
        let asked = written.elapsed();
        if other.is_blocked(&key.token).await {
            return asked;
        }
        tokio::task::yield_now().await;
    }
}

const IN_TIME: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_by_another_replica_within_100_ms() {
    let server = Postgres::shared();
    let url = server.database();
    let proxy = Proxy::before(server.port()).await;
    let one = Replica::start(&url, None).await;
    let (other, deaf) = (Replica::start(&url, None).await, Replica::start(&url, Some(proxy.url(name_of(&url)))).await);
    for n in 0..10 {
        let late = delay(&one, &other, &format!("sk-{n}"), async {}).await;
        assert!(late < IN_TIME, "{late:?}");
    }
    for n in 0..5 {
        // Its listening connection is cut just before.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'tollward watch' AND datname = current_database()";
        let cutting = async { assert!(!server.execute(name_of(&url), cut).is_empty()) };
        let late = delay(&one, &other, &format!("sk-cut-{n}"), cutting).await;
        assert!(late < IN_TIME, "{late:?}");
    }
    for n in 0..5 {
        // Its listening connection falls silent, and later comes back.
        let falls_silent = async { proxy.silent.send_modify(|silent| *silent = true) };
        let late = delay(&one, &deaf, &format!("sk-deaf-{n}"), falls_silent).await;
        assert!(late < IN_TIME, "{late:?}");
        proxy.silent.send_replace(false);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_path_asks_nothing_while_the_watch_is_alive() {
    let url = Postgres::shared().database();
    let replica = Replica::start(&url, None).await;
    replica.directory.store().create_key(&key("sk-a"), audit()).await.unwrap();
    replica.knows(&KeyHash::of("sk-a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_hangs_what_is_known_is_used_without_waiting_for_it() {
    let server = Postgres::start(&[]);
    let replica = Replica::start(&server.database(), None).await;
    replica.directory.store().create_key(&key("sk-a"), audit()).await.unwrap();
    let hash = KeyHash::of("sk-a");
    replica.knows(&hash).await;
    server.signal_all("STOP");
    for _ in 0..20 {
        let began = Instant::now();
        assert!(replica.directory.identity(&hash, now()).await.unwrap().is_some());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    let began = Instant::now();
    assert!(is_unavailable(&replica.directory.identity(&KeyHash::of("sk-stranger"), now()).await));
    assert!(began.elapsed() < super::CALL + SLACK);
    server.signal_all("CONT");
    eventually("strangers are strangers again", || async {
        match replica.directory.identity(&KeyHash::of("sk-stranger"), now()).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

fn record(number: u64, cost: i64, scopes: &[Scope]) -> Record {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Record {
        id: HoldId::new(id),
        sequence: 0,
        status: RecordStatus::Usage,
        admitted_at: now(),
        settled_at: now(),
        parties: Parties::default(),
        model: "m".into(),
        usage: Usage::default(),
        cost: Money::nanos(cost),
        price_version: "v".into(),
        estimated: false,
        accounts: scopes.iter().map(|scope| Account { scope: scope.clone(), period: Period::total() }).collect(),
    }
}

fn end_user(number: u64) -> Scope {
    Scope::new(ScopeKind::EndUser, &[&format!("e{number}\0")])
}

#[tokio::test]
async fn a_batch_written_twice_is_booked_once() {
    let store = open(&Postgres::shared().database()).await.unwrap();
    let records: Vec<Record> = (0..1_000)
        .map(|n| record(n, 7, &[Scope::global(), end_user(n % 100), Scope::key(&KeyHash::of("x"))]))
        .collect();
    assert_eq!(store.write_records(&records).await.unwrap(), vec![true; 1_000]);
    assert_eq!(store.write_records(&records).await.unwrap(), vec![false; 1_000]);
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, proof.total_nanodollars, proof.differences), (1_000, 7_000, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_several_replicas_never_deadlock_and_the_books_add_up() {
    let server = Postgres::shared();
    let url = server.database();
    let mut writing = JoinSet::new();
    for writer in 0..4u64 {
        let store: SharedStore = Arc::new(open(&url).await.unwrap());
        let books = Arc::clone(&store);
        writing.spawn(async move {
            for batch in 0..10 {
                // The same accounts, each time in another order; half of the records are the neighbour's too.
                let records = (0..50u64).map(|n| {
                    let number = ((writer / 2) * 10 + batch) * 100 + n;
                    let turned = (0..8).map(|scope| end_user((scope * (writer * 2 + 1) + n) % 8));
                    let key = Scope::key(&KeyHash::of(&format!("sk-{}", n % 4)));
                    record(number, 1, &turned.chain([Scope::global(), key]).collect::<Vec<_>>())
                });
                books.write_records(&records.collect::<Vec<_>>()).await.unwrap();
            }
        });
        writing.spawn(async move {
            // Entities come, move and go meanwhile.
            let mut last = key(&format!("sk-{writer}"));
            store.create_key(&last, audit()).await.unwrap();
            for round in 0..5 {
                let next = key(&format!("sk-{writer}-{round}"));
                store.rotate_key(&last.token, &next, None, audit()).await.unwrap();
                let user = User { user_id: format!("u{writer}").into(), ..User::default() };
                store.put_user(&user, true, audit()).await.unwrap();
                store.delete_user(&format!("u{writer}"), audit()).await.unwrap();
                last = next;
            }
        });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    let proof = open(&url).await.unwrap().verify().await.unwrap();
    assert_eq!(proof.differences, []);
    // Two pairs of writers wrote the same 500 records; the rotations moved sums and added none.
    assert_eq!(proof.total_nanodollars, 1_000);
    assert_eq!(
        server.execute(name_of(&url), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        "0"
    );
}

#[tokio::test]
async fn an_old_day_leaves_with_its_table() {
    let server = Postgres::shared();
    let url = server.database();
    let store = open(&url).await.unwrap();
    let day = now().as_millis().div_euclid(86_400_000);
    let old = |days: i64, number| Record {
        admitted_at: now().plus_millis(-days * 86_400_000),
        ..record(number, 5, &[Scope::global()])
    };
    store.write_records(&[old(0, 1), old(3, 2), old(100, 3)]).await.unwrap();
    let has =
        |day: i64| server.execute(name_of(&url), &format!("SELECT to_regclass('ledger_d{day}') IS NOT NULL")) == "t";
    assert!(has(day) && has(day + 1) && has(day - 3), "a table for each day, and tomorrow's beforehand");
    assert!(!has(day - 100), "what is far away goes to the default table");
    assert_eq!(store.trim_ledger(day - 1).await.unwrap(), 2);
    assert!(has(day) && !has(day - 3));
    assert_eq!(server.execute(name_of(&url), "SELECT COUNT(*) FROM ledger_default"), "0");
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, proof.differences), (1, Vec::new()));
    assert_eq!(server.execute(name_of(&url), "SELECT spend FROM ledger_checkpoint"), "10");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gate_with_counters_of_its_own_has_the_database_and_notices_when_it_is_lost() {
    let server = Postgres::shared();
    let url = server.database();
    let open = async || Replica::start(&url, None).await;
    let (one, other) = (open().await, open().await);
    let lock = one.directory.exclusive_lock().await.unwrap();
    let refused = other.directory.exclusive_lock().await.unwrap_err().to_string();
    assert!(refused.contains("REDIS_URL"), "{refused}");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tollward alone%' \
               AND datname = current_database()";
    // A cut connection is made again while nobody else comes.
    server.execute(name_of(&url), end);
    eventually_blocking("the lock is taken again", || {
        let held = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND granted \
                    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        if server.execute(name_of(&url), held) == "1" { Ok(()) } else { Err("not yet".to_owned()) }
    });
    // When somebody else comes first, it is lost.
    let thief = ask(&place(&url).direct).await.unwrap();
    server.execute(name_of(&url), end);
    let take = format!("SELECT pg_advisory_lock({}, {})", super::locks::CLASS, super::locks::ALONE);
    thief.batch_execute(&take).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), lock.lost()).await.unwrap();
    drop(thief);
    eventually("it is free", || async {
        other.directory.exclusive_lock().await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn lists_may_come_from_a_replica_and_what_decides_does_not() {
    let server = Postgres::shared();
    let (url, replica) = (server.database(), server.database());
    open(&replica).await.unwrap();
    let config = config::Directory { read_url: Some(Secret::new(replica)), ..config::Directory::default() };
    let store = postgres(&url, &config).await.unwrap();
    store.create_key(&key("sk-a"), audit()).await.unwrap();
    assert!(store.identity(&KeyHash::of("sk-a"), now()).await.unwrap().is_some());
    let filter = super::super::KeyFilter { limit: 10, ..Default::default() };
    assert_eq!(store.list_keys(&filter).await.unwrap().total, 0, "this replica lags for ever");
    let decides = super::super::KeyFilter { decides: true, ..filter };
    assert_eq!(store.list_keys(&decides).await.unwrap().total, 1);
}

#[tokio::test]
async fn a_pool_whose_connections_are_all_in_use_says_so() {
    let config = config::Directory { pool_size: 1, ..config::Directory::default() };
    let url = Postgres::shared().database();
    let store = postgres(&url, &config).await.unwrap();
    let held = store.primary.lease().await.unwrap();
    let refused = store.key(&KeyHash::of("sk-a")).await.unwrap_err().to_string();
    assert!(refused.contains("pool_size"), "{refused}");
    drop(held);
    store.key(&KeyHash::of("sk-a")).await.unwrap();
}

#[tokio::test]
async fn own_writes_are_seen_at_once() {
    let url = Postgres::shared().database();
    let generation = Arc::new(AtomicU64::new(0));
    let place = Arc::new(place(&url));
    let store = PostgresStore::open(&place, &config::Directory::default(), Arc::clone(&generation)).await.unwrap();
    store.create_key(&key("sk-a"), audit()).await.unwrap();
    assert_eq!(generation.load(Ordering::SeqCst), 1);
    store.write_records(&[record(1, 1, &[Scope::global()])]).await.unwrap();
    assert_eq!(generation.load(Ordering::SeqCst), 1, "the ledger's rows are cached by nobody");
}

/// Gives a server a certificate for its address; answers the certificate of who signed it.
fn certify(server: &Postgres) -> String {
    let key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let trusted = authority.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        // Written by the server itself, so that the file is its own.
        let file = server.folder().join("data").join(name);
        let lines = format!("SELECT unnest(string_to_array('{}', E'\\n'))", text.trim());
        server.execute("postgres", &format!("COPY ({lines}) TO '{}'", file.display()));
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
    server.execute("postgres", "ALTER SYSTEM SET ssl = on");
    server.execute("postgres", "SELECT pg_reload_conf()");
    trusted
}

#[tokio::test]
async fn a_connection_is_encrypted_and_the_server_proves_who_it_is() {
    let server = Postgres::start(&[]);
    let url = server.database();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let refused = open(&format!("{url}?sslmode=require")).await.err().map(|error| error.to_string()).unwrap();
    assert!(refused.contains("TLS"), "a server without TLS: {refused}");
    let trusted = file("trusted.pem", &certify(&server));
    let stranger = CertificateParams::new(vec!["x".to_owned()]).unwrap();
    let stranger = file("stranger.pem", &stranger.self_signed(&KeyPair::generate().unwrap()).unwrap().pem());
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for mode in ["require", "verify-ca", "verify-full", "prefer"] {
        let url = format!("{url}?sslmode={mode}&sslrootcert={trusted}");
        let asked = eventually("the server has its certificate", || async {
            let client = ask(&place(&url).primary).await.map_err(|error| error.to_string())?;
            let row = client.query_typed_one(encrypted, &[]).await.map_err(|error| error.to_string())?;
            if row.get::<_, bool>(0) { Ok(true) } else { Err("not encrypted yet".to_owned()) }
        });
        assert!(asked.await, "{mode}");
        open(&url).await.unwrap();
    }
    for (mode, root) in [("require", stranger.as_str()), ("verify-full", &stranger), ("require", "system")] {
        let refused = open(&format!("{url}?sslmode={mode}&sslrootcert={root}")).await.err();
        let said = refused.map(|error| error.to_string()).unwrap();
        assert!(said.contains("certificate"), "{mode}, {root}: {said}");
    }
    open(&format!("{url}?sslmode=disable")).await.unwrap();
}
