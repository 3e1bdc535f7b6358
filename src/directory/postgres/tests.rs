//! What is PostgreSQL's own: statements it can prepare, migrations of many at once, servers that die, hang or fall
//! silent, and changes that reach every replica in time.

mod ledger;
mod watching;

use self::ledger::record;
use self::watching::Replica;
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
