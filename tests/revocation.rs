//! A key that is blocked through one replica is dead at the others within 100 ms, whatever goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;
#[path = "support/wire.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use support::call::chat_body;
use support::fleet::name_of;
use support::postgres::Postgres;
use support::proxy::Proxy;
use support::redis::Redis;
use support::traffic::{Traffic, tally};
use support::{Fleet, Key, Stack, Value, eventually, json, say};
use tokio::sync::{Mutex, mpsc};
use tonic::transport::Channel;

/// A connection to one replica.
type Checker = AuthorizationClient<Channel>;

/// After this time nobody passes with a blocked key.
const BOUND: Duration = Duration::from_millis(100);
const TIMES: usize = 50;

/// One test at a time: each measures how soon something happens.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Asks one replica about a key until it is told to stop: when each question was sent, and its answer.
struct Watcher {
    stop: Arc<AtomicBool>,
    said: mpsc::UnboundedReceiver<(Instant, bool)>,
    asking: tokio::task::JoinHandle<()>,
}

impl Watcher {
    fn start(replica: &Checker, key: &Key) -> Watcher {
        let (mut replica, stop, key) = (replica.clone(), Arc::new(AtomicBool::new(false)), key.clone());
        let (tell, said) = mpsc::unbounded_channel();
        let stopped = Arc::clone(&stop);
        let asking = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                let sent = Instant::now();
                let passes = passes(&mut replica, &key).await;
                if tell.send((sent, passes)).is_err() {
                    return;
                }
            }
        });
        Watcher { stop, said, asking }
    }

    /// Waits until it has asked and was told that the key is good, so many times.
    async fn good(&mut self, times: usize) {
        let mut good = 0;
        while good < times {
            let (_, passes) = self.said.recv().await.expect("it asks");
            good += usize::from(passes);
        }
    }

    /// Waits until it was refused and has asked a while after the bound, and stops it: how long after `blocked` the last
    /// question was sent that passed; nothing where none did.
    async fn verdict(mut self, blocked: Instant) -> Duration {
        let mut last_passed = Duration::ZERO;
        loop {
            let (sent, passes) = self.said.recv().await.expect("it asks");
            let after = sent.saturating_duration_since(blocked);
            if passes {
                last_passed = after;
            }
            if !passes && after > BOUND * 3 / 2 {
                self.stop.store(true, Ordering::Relaxed);
                self.asking.await.expect("it ends");
                return last_passed;
            }
        }
    }
}

/// Whether a replica lets this key pass; who is refused is told that the key is bad.
async fn passes(replica: &mut Checker, key: &Key) -> bool {
    let secret = format!("Bearer {}", key.secret);
    let headers = [("authorization", secret.as_str()), ("content-type", "application/json")];
    let body = chat_body("gpt-4o-mini").to_string();
    let question = wire::check_request("/v1/chat/completions", &headers, &body);
    let answer = replica.check(question).await.expect("Check answers").into_inner();
    let passes = answer.status.as_ref().is_none_or(|status| status.code == 0);
    if !passes {
        assert_eq!(wire::denied(&answer), 401, "{answer:?}");
    }
    passes
}

/// Blocks fresh keys through the first replica, again and again, while the others are asked about them; `before` comes
/// just before each is blocked, `after` when all is seen.
async fn revoke(name: &str, fleet: &Fleet, keys: Vec<Key>, before: impl Fn(), after: impl AsyncFn()) {
    let mut others = Vec::new();
    for replica in &fleet.replicas[1..] {
        others.push(Checker::new(wire::channel(replica.ports.grpc).await));
    }
    let stale = || {
        let of = |replica: &Stack| replica.metric("tollward_directory_cache_total{result=\"stale\"}");
        fleet.replicas.iter().map(of).sum::<f64>()
    };
    let (mut passed, mut late, mut known) = (Vec::new(), 0, stale());
    for key in keys {
        let mut watchers: Vec<Watcher> = others.iter().map(|replica| Watcher::start(replica, &key)).collect();
        for watcher in &mut watchers {
            watcher.good(3).await;
        }
        before();
        fleet.front().manage("POST", "/key/block", json!({"key": key.token})).await;
        let blocked = Instant::now();
        for watcher in watchers {
            let last_passed = watcher.verdict(blocked).await;
            if last_passed > BOUND {
                late += 1;
                // Only a directory that does not answer may delay it, and that shows.
                eventually(
                    &format!("{name}: it passed {last_passed:?} after the block, and PostgreSQL was silent"),
                    || {
                        let now = stale();
                        std::future::ready(if now > known { Ok(()) } else { Err("it was not".to_owned()) })
                    },
                )
                .await;
                known = stale();
            }
            passed.push(last_passed);
        }
        after().await;
    }
    passed.sort();
    let at = |part: f64| passed[((passed.len() as f64 - 1.0) * part).round() as usize];
    let (median, p99, worst, count) = (at(0.5), at(0.99), at(1.0), passed.len());
    say(format_args!(
        "{name}: the last call that passed was sent (median, p99, worst of {count}) {median:?}, {p99:?}, {worst:?} after the \
         block; {late} while PostgreSQL was silent"
    ));
    assert_eq!(count, TIMES * others.len());
}

async fn keys(fleet: &Fleet) -> Vec<Key> {
    let mut keys = Vec::new();
    for _ in 0..TIMES {
        keys.push(fleet.front().plain_key().await);
    }
    keys
}

fn fleet(directory: &str, config: &Value) -> Fleet {
    Fleet::start(3, directory, &Redis::shared().url(), config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_by_the_other_replicas() {
    let _alone = ALONE.lock().await;
    let fleet = fleet(&Postgres::shared().database(), &json!({}));
    revoke("at rest", &fleet, keys(&fleet).await, || (), async || ()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_under_load() {
    let _alone = ALONE.lock().await;
    let fleet = fleet(&Postgres::shared().database(), &json!({}));
    let mut traffic = Traffic::new();
    let busy = fleet.front().key(json!({"rpm_limit": 1_000_000, "max_budget": 1_000.0})).await;
    traffic.add("busy", 8, &fleet.front().chat(&busy));
    traffic.wait("load flows", Instant::now(), 50, |seen| seen.status == 200).await;
    revoke("under load", &fleet, keys(&fleet).await, || (), async || ()).await;
    let seen = traffic.finish().await;
    say(format_args!("the load: {}", tally(seen.iter())));
    assert!(seen.iter().all(|seen| seen.status == 200), "{}", tally(seen.iter()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_when_the_listening_connection_is_half_open() {
    let _alone = ALONE.lock().await;
    let postgres = Postgres::shared();
    let directory = postgres.database();
    let proxy = Proxy::start(postgres.port()).await;
    let listen = format!("postgres://tollward@127.0.0.1:{}/{}", proxy.port, name_of(&directory));
    let fleet = fleet(&directory, &json!({"directory": {"listen_url": listen}}));
    let recovered = async || {
        proxy.silence(false);
        let passed = proxy.passed();
        eventually("the watches are answered again", || {
            let passed = proxy.passed() - passed;
            std::future::ready(if passed >= 12 { Ok(()) } else { Err(format!("{passed} answers")) })
        })
        .await;
    };
    revoke("half-open", &fleet, keys(&fleet).await, || proxy.silence(true), recovered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_whatever_a_lagging_read_replica_says() {
    let _alone = ALONE.lock().await;
    let postgres = Postgres::shared();
    let directory = postgres.database();
    let mut first = Fleet::start(1, &directory, &Redis::shared().url(), &json!({}));
    let keys = keys(&first).await;
    first.replicas[0].stop_tollward();
    // A copy in which nothing is blocked, now or later.
    let (name, copy) = (name_of(&directory), format!("{}_copy", name_of(&directory)));
    eventually("nobody uses the database", || {
        let users = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'");
        let users = postgres.execute("postgres", &users);
        std::future::ready(if users == "0" { Ok(()) } else { Err(users) })
    })
    .await;
    postgres.execute("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {name}"));
    let fleet = fleet(&directory, &json!({"directory": {"read_url": postgres.url(&copy)}}));
    revoke("beside a lagging read replica", &fleet, keys, || (), async || ()).await;
    let blocked = |database: &str| postgres.execute(database, "SELECT count(*) FROM keys WHERE blocked = 1");
    assert_eq!((blocked(name).as_str(), blocked(&copy).as_str()), ("50", "0"));
}
