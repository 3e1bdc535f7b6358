//! What happens when a part fails under traffic: what clients see while it is gone, and that the books are whole when it
//! is back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use support::call::{Call, chat_body};
use support::fleet::name_of;
use support::postgres::Postgres;
use support::redis::{Cluster, Redis, Sentinels};
use support::traffic::{Seen, Traffic, passed, tally};
use support::{Fleet, INPUT_PRICE, Key, OUTPUT_PRICE, Value, eventually, json, say, unique};

/// Calls that the small budget pays for.
const PAID: usize = 60;
/// Clients that call on the small budget at once.
const POOR: usize = 4;

/// An outage is noticed at the third of a second, and a busy machine is none.
fn impatient() -> Value {
    json!({"counters": {"timeout_ms": 300}})
}

/// A call whose cost is exactly what is held for it, and that cost.
fn exact(fleet: &Fleet, key: &Key) -> (Call, f64) {
    let body = chat_body("gpt-4o-mini");
    let input = body.to_string().len() as u64;
    let call = fleet.front().call("POST", "/v1/chat/completions").key(key).json(&body).usage(input, 20);
    (call, input as f64 * INPUT_PRICE + 20.0 * OUTPUT_PRICE)
}

/// Clients under a rate limit (`limited`) and under a budget (`rich`) that are never reached, and under a budget for
/// [`PAID`] calls (`poor`).
async fn traffic(fleet: &Fleet) -> Traffic {
    let mut traffic = Traffic::new();
    // Several of each, so that they lie on several shards where there are some.
    for _ in 0..3 {
        let limited = fleet.front().key(json!({"rpm_limit": 1_000_000, "tpm_limit": 1_000_000_000})).await;
        traffic.add("limited", 1, &exact(fleet, &limited).0);
        let rich = fleet.front().key(json!({"max_budget": 1_000.0})).await;
        traffic.add("rich", 1, &exact(fleet, &rich).0);
    }
    let begun = Instant::now();
    for who in ["limited", "rich"] {
        traffic.wait("traffic flows", begun, 20, |seen| seen.who == who && seen.status == 200).await;
    }
    traffic
}

/// Adds clients on a budget for [`PAID`] calls.
async fn add_poor(fleet: &Fleet, traffic: &mut Traffic) {
    let cost = exact(fleet, &fleet.front().plain_key().await).1;
    let poor = fleet.front().key(json!({"max_budget": cost * (PAID as f64 + 0.5)})).await;
    traffic.add("poor", POOR, &exact(fleet, &poor).0);
}

/// After the fault: prints what clients saw, and nobody was told that a key is bad; every call that reached the upstream
/// was answered and is in the books once.
async fn whole(name: &str, fleet: &Fleet, traffic: Traffic) -> Vec<Seen> {
    let seen = traffic.finish().await;
    say(format_args!("{name}: {}", tally(seen.iter())));
    assert!(seen.iter().all(|seen| matches!(seen.status, 200 | 429 | 503)), "{}", tally(seen.iter()));
    let answered = seen.iter().filter(|seen| seen.status == 200).count() as u64;
    assert_eq!(fleet.front().upstream.count(), answered, "who reached the upstream has its answer");
    fleet.wait_books(answered).await;
    seen
}

fn during(seen: &Seen, who: &str, status: u16) -> bool {
    seen.who == who && seen.status == status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_comes_back_empty() {
    let mut redis = Redis::start(&[]);
    let fleet = Fleet::start(2, &Postgres::shared().database(), &redis.url(), &impatient());
    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    let killed = Instant::now();
    redis.stop();
    traffic.wait("rate limits go on", killed, 30, |seen| during(seen, "limited", 200)).await;
    let refused = |seen: &Seen| during(seen, "rich", 503);
    traffic.wait("budgets refuse", killed, 30, refused).await;
    let degraded = fleet.replicas.iter().map(|replica| support::raw::get(replica.ports.ops, "/readyz").unwrap());
    assert!(degraded.into_iter().all(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("degraded")));
    // What was settled before is written, so that only what was under way is forgotten.
    eventually("what was booked is written", || {
        let waiting: f64 = fleet.replicas.iter().map(|replica| replica.metric("tollward_ledger_pending")).sum();
        std::future::ready(if waiting == 0.0 { Ok(()) } else { Err(waiting.to_string()) })
    })
    .await;
    redis.run();
    redis.wait();
    let back = Instant::now();
    traffic.wait("budgets pass again", back, 50, |seen| during(seen, "rich", 200)).await;
    let first = traffic.seen().into_iter().find(|seen| seen.sent >= back && during(seen, "rich", 200)).unwrap();
    say(format_args!("budgets pass again {:?} after redis answers", first.answered.duration_since(back)));
    traffic
        .wait("the small budget is spent", back, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded")
        .await;
    let seen = whole("redis killed and restarted", &fleet, traffic).await;
    let poor = passed(&seen, "poor");
    // What was held and not settled is forgotten with Redis: as many calls as were under way.
    assert!((PAID..=PAID + POOR).contains(&poor), "{poor} calls on a budget for {PAID}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_paused_for_five_seconds() {
    let redis = Redis::start(&[]);
    let fleet = Fleet::start(2, &Postgres::shared().database(), &redis.url(), &impatient());
    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    redis.signal("STOP");
    let paused = Instant::now();
    traffic.wait("rate limits go on", paused, 30, |seen| during(seen, "limited", 200)).await;
    traffic.wait("budgets refuse", paused, 30, |seen| during(seen, "rich", 503)).await;
    tokio::time::sleep_until((paused + Duration::from_secs(5)).into()).await;
    let passed_meanwhile: Vec<Seen> = traffic.seen().into_iter().filter(|seen| seen.sent > paused).collect();
    assert!(!passed_meanwhile.iter().any(|seen| seen.who != "limited" && seen.status == 200), "a budget was passed");
    redis.signal("CONT");
    let back = Instant::now();
    traffic.wait("budgets pass again", back, 50, |seen| during(seen, "rich", 200)).await;
    traffic
        .wait("the small budget is spent", back, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded")
        .await;
    let seen = whole("redis paused for 5 s", &fleet, traffic).await;
    let poor = passed(&seen, "poor");
    assert!(poor <= PAID, "{poor} calls on a budget for {PAID}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_flushed() {
    let redis = Redis::start(&[]);
    let fleet = Fleet::start(2, &Postgres::shared().database(), &redis.url(), &impatient());
    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    let mut flushed = Instant::now();
    for _ in 0..5 {
        flushed = Instant::now();
        assert_eq!(redis.command(&["FLUSHALL"]), "OK");
        traffic.wait("all go on", flushed, 20, |seen| during(seen, "rich", 200)).await;
        traffic.wait("all go on", flushed, 20, |seen| during(seen, "limited", 200)).await;
    }
    traffic
        .wait("the small budget is spent", flushed, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded")
        .await;
    // What it has spent is known from the books when Redis knows nothing.
    assert_eq!(redis.command(&["FLUSHALL"]), "OK");
    let flushed = Instant::now();
    traffic.wait("it stays spent", flushed, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded").await;
    let seen = whole("redis flushed six times", &fleet, traffic).await;
    assert!(seen.iter().filter(|seen| seen.who == "limited").all(|seen| seen.status == 200), "{}", tally(seen.iter()));
    let poor = passed(&seen, "poor");
    say(format_args!("{poor} calls on a budget for {PAID}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_of_the_cluster_dies_and_its_replica_takes_over() {
    let mut cluster = Cluster::start();
    // Fewer shards than usual: each is asked once a second by every replica.
    let config = json!({"counters": {"timeout_ms": 300, "shards": 12}});
    let fleet = Fleet::start(2, &Postgres::shared().database(), &cluster.url(), &config);
    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    let master = eventually("the nodes agree on a master", || std::future::ready(cluster.master_of("any"))).await;
    let killed = Instant::now();
    cluster.nodes[master].stop();
    traffic.wait("rate limits go on", killed, 50, |seen| during(seen, "limited", 200)).await;
    eventually("another node is the master of its slots", || {
        let now =
            cluster.master_of("any").and_then(|now| if now == master { Err(format!("{now} is")) } else { Ok(()) });
        std::future::ready(now)
    })
    .await;
    let back = Instant::now();
    say(format_args!("the cluster failed over after {:?}", back.duration_since(killed)));
    traffic.wait("budgets pass again", back, 100, |seen| during(seen, "rich", 200)).await;
    traffic
        .wait("the small budget is spent", back, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded")
        .await;
    // The old master comes back, empty, as a replica of the new one.
    cluster.nodes[master].run();
    cluster.nodes[master].wait();
    let again = Instant::now();
    traffic.wait("budgets pass", again, 50, |seen| during(seen, "rich", 200)).await;
    let seen = whole("a master of the cluster killed", &fleet, traffic).await;
    say(format_args!("{} calls on a budget for {PAID}", passed(&seen, "poor")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_dies_and_the_sentinels_name_another() {
    let mut trio = Sentinels::start();
    let fleet = Fleet::start(2, &Postgres::shared().database(), &trio.url(), &impatient());
    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    let killed = Instant::now();
    trio.master.stop();
    traffic.wait("rate limits go on", killed, 50, |seen| during(seen, "limited", 200)).await;
    traffic.wait("budgets refuse", killed, 10, |seen| during(seen, "rich", 503)).await;
    eventually("the sentinels agree on the replica", || {
        let port = trio.master_port();
        std::future::ready(if port == Some(trio.replica.port()) { Ok(()) } else { Err(format!("{port:?}")) })
    })
    .await;
    let back = Instant::now();
    say(format_args!("the sentinels failed over after {:?}", back.duration_since(killed)));
    traffic.wait("budgets pass again", back, 100, |seen| during(seen, "rich", 200)).await;
    let first = traffic.seen().into_iter().find(|seen| seen.sent >= back && during(seen, "rich", 200)).unwrap();
    say(format_args!("budgets pass again {:?} after that", first.answered.duration_since(back)));
    traffic
        .wait("the small budget is spent", back, 10, |seen| seen.who == "poor" && seen.kind == "budget_exceeded")
        .await;
    // The old master comes back, empty, and takes itself for one until it is told otherwise.
    trio.master.run();
    trio.master.wait();
    let again = Instant::now();
    eventually("it follows the new master", || {
        let role = trio.master.command(&["ROLE"]);
        std::future::ready(if role.starts_with("slave") { Ok(()) } else { Err(role) })
    })
    .await;
    traffic.wait("budgets pass", again, 50, |seen| during(seen, "rich", 200)).await;
    let seen = whole("the master of the sentinels killed", &fleet, traffic).await;
    say(format_args!("{} calls on a budget for {PAID}", passed(&seen, "poor")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_throws_counters_away() {
    let redis = Redis::start(&["--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru"]);
    let config = json!({"counters": {"timeout_ms": 2_000, "allow_eviction": true}});
    let fleet = Fleet::start(2, &Postgres::shared().database(), &redis.url(), &config);
    let traffic = traffic(&fleet).await;
    // A key whose budget is spent and that rests.
    let cost = exact(&fleet, &fleet.front().plain_key().await).1;
    let spent = fleet.front().key(json!({"max_budget": cost * 1.5})).await;
    exact(&fleet, &spent).0.send().await.allowed();
    fleet.front().wait_spend(&spent, cost).await;
    let counted = || redis.command(&["--scan", "--pattern", &format!("*{}*", spent.token)]);
    assert!(!counted().is_empty(), "its counter is there");
    let full = Instant::now();
    let fill = "for i = 1, 500 do redis.call('SET', 'other:' .. ARGV[1] .. ':' .. i, string.rep('x', 1000)) end";
    let mut round = 0;
    eventually("its counter is thrown away", || {
        round += 1;
        redis.command(&["EVAL", fill, "0", &round.to_string()]);
        let counted = counted();
        std::future::ready(if counted.is_empty() { Ok(()) } else { Err(counted) })
    })
    .await;
    let answer = exact(&fleet, &spent).0.send().await;
    answer.denied(429, "budget_exceeded");
    for who in ["limited", "rich"] {
        traffic.wait("all go on", full, 100, |seen| during(seen, who, 200)).await;
    }
    let evicted = redis.command(&["INFO", "stats"]);
    let evicted = evicted.lines().find(|line| line.starts_with("evicted_keys")).unwrap_or_default().to_owned();
    say(evicted);
    let seen = traffic.finish().await;
    say(format_args!("redis evicting: {}", tally(seen.iter())));
    assert!(seen.iter().all(|seen| matches!(seen.status, 200 | 503)), "{}", tally(seen.iter()));
    let answered = seen.iter().filter(|seen| seen.status == 200).count() as u64;
    fleet.wait_books(answered + 1).await;
}

/// The longest answers of these: median, 99th of a hundred, worst.
fn latencies<'s>(seen: impl Iterator<Item = &'s Seen>) -> String {
    let mut took: Vec<Duration> = seen.map(|seen| seen.answered.duration_since(seen.sent)).collect();
    took.sort();
    let at = |part: f64| took.get(((took.len() as f64 - 1.0) * part).round() as usize).copied().unwrap_or_default();
    format!("median {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0))
}

/// A key the directory does not know, or cannot be asked for.
async fn stranger(fleet: &Fleet) -> (u16, String) {
    let call = fleet.front().call("POST", "/v1/chat/completions").bearer(&unique("sk-nobody-knows-this"));
    let answer = call.json(&chat_body("gpt-4o-mini")).send().await;
    (answer.status, answer.kind())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_and_comes_back() {
    let mut postgres = Postgres::start(&[]);
    let fleet = Fleet::start(2, &postgres.database(), &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    assert_eq!(stranger(&fleet).await, (401, "token_not_found_in_db".to_owned()));
    let killed = Instant::now();
    postgres.stop();
    for who in ["limited", "rich"] {
        traffic.wait("those who are known go on", killed, 50, |seen| during(seen, who, 200)).await;
    }
    assert_eq!(stranger(&fleet).await, (503, "no_db_connection".to_owned()), "nobody knows who is a stranger");
    let gone: Vec<Seen> = traffic.seen().into_iter().filter(|seen| seen.sent > killed).collect();
    say(format_args!("while postgres is gone: {}; {}", tally(gone.iter()), latencies(gone.iter())));
    assert!(gone.iter().all(|seen| seen.status == 200), "{}", tally(gone.iter()));
    postgres.run();
    let back = Instant::now();
    eventually("strangers are strangers again", || async {
        let found = stranger(&fleet).await;
        if found.0 == 401 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    say(format_args!("a stranger is a stranger again {:?} after postgres answers", back.elapsed()));
    traffic.wait("all go on", Instant::now(), 50, |seen| during(seen, "rich", 200)).await;
    whole("postgres killed and restarted", &fleet, traffic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_paused_for_five_seconds() {
    let postgres = Postgres::start(&[]);
    let fleet = Fleet::start(2, &postgres.database(), &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    let paused = Instant::now();
    postgres.signal_all("STOP");
    for who in ["limited", "rich"] {
        traffic.wait("those who are known go on", paused, 50, |seen| during(seen, who, 200)).await;
    }
    let (status, kind) = stranger(&fleet).await;
    assert_eq!((status, kind.as_str()), (503, "no_db_connection"));
    tokio::time::sleep_until((paused + Duration::from_secs(5)).into()).await;
    let gone: Vec<Seen> = traffic.seen().into_iter().filter(|seen| seen.sent > paused).collect();
    say(format_args!("while postgres is paused: {}; {}", tally(gone.iter()), latencies(gone.iter())));
    assert!(gone.iter().all(|seen| seen.status == 200), "{}", tally(gone.iter()));
    postgres.signal_all("CONT");
    eventually("strangers are strangers again", || async {
        let found = stranger(&fleet).await;
        if found.0 == 401 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    traffic.wait("all go on", Instant::now(), 50, |seen| during(seen, "rich", 200)).await;
    whole("postgres paused for 5 s", &fleet, traffic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listening_connection_is_cut() {
    let postgres = Postgres::start(&[]);
    let database = postgres.database();
    let fleet = Fleet::start(2, &database, &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tollward watch'";
    for round in 0..5 {
        let key = fleet.front().plain_key().await;
        exact(&fleet, &key).0.send().await.allowed();
        // Both replicas listen, each on a connection of its own.
        eventually("both connections are cut", || {
            let count = postgres.execute(name_of(&database), cut);
            std::future::ready(if count == "2" { Ok(()) } else { Err(count) })
        })
        .await;
        fleet.front().manage("POST", "/key/block", json!({"key": key.token})).await;
        let blocked = Instant::now();
        traffic.wait("all go on", blocked, 10, |seen| during(seen, "rich", 200)).await;
        eventually("no replica lets a blocked key pass", || async {
            let sent = blocked.elapsed();
            let statuses = [exact(&fleet, &key).0.send().await.status, exact(&fleet, &key).0.send().await.status];
            if statuses == [401, 401] { Ok(()) } else { Err(format!("round {round}, {sent:?}: {statuses:?}")) }
        })
        .await;
    }
    let seen = traffic.finish().await;
    say(format_args!("listening connections cut five times: {}", tally(seen.iter())));
    assert!(seen.iter().all(|seen| seen.status == 200), "{}", tally(seen.iter()));
    fleet.wait_books(fleet.front().upstream.count()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_killed_and_envoy_passes_it_over() {
    let postgres = Postgres::start(&[]);
    let database = postgres.database();
    let mut fleet = Fleet::start(3, &database, &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    let killed = Instant::now();
    fleet.replicas[2].kill_tollward();
    eventually("the others answer everything", || {
        let seen = traffic.seen();
        let lately = &seen[seen.len().saturating_sub(60)..];
        let well = lately.iter().all(|seen| seen.status == 200 && seen.sent > killed);
        std::future::ready(if well { Ok(()) } else { Err(tally(lately.iter())) })
    })
    .await;
    let took = killed.elapsed();
    let seen = traffic.finish().await;
    let gone: Vec<&Seen> = seen.iter().filter(|seen| seen.answered > killed).collect();
    say(format_args!("a replica killed, passed over within {took:?}: {}", tally(gone.into_iter())));
    assert!(seen.iter().all(|seen| matches!(seen.status, 200 | 503)), "{}", tally(seen.iter()));
    fleet.replicas[2].start_tollward();
    eventually("every hold has ended", || {
        let holds = fleet.front().metric("tollward_holds");
        std::future::ready(if holds == 0.0 { Ok(()) } else { Err(holds.to_string()) })
    })
    .await;
    // What a dead meter did not see is booked as it was held: nothing is free, and nothing is booked twice. What was booked
    // in Redis and died with the replica stands there until another one finds it.
    let answered = seen.iter().filter(|seen| seen.status == 200).count();
    let records = eventually(&format!("all {answered} calls are in the ledger"), || {
        let records = support::fleet::records_by_status(&postgres, &database);
        let booked = records.lines().filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum::<usize>();
        std::future::ready(if booked >= answered { Ok(records) } else { Err(records) })
    })
    .await;
    say(format_args!("{answered} calls were answered; the ledger has {}", records.replace('\n', ", ")));
    for replica in &fleet.replicas {
        replica.verify_counters().await;
    }
    fleet.front().verify_ledger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_dies_between_settlement_and_the_ledger() {
    let postgres = Postgres::start(&[]);
    let mut fleet = Fleet::start(2, &postgres.database(), &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    let paused = Instant::now();
    // Nothing can be written, and everything is settled.
    postgres.signal_all("STOP");
    traffic.wait("calls go on", paused, 50, |seen| during(seen, "rich", 200)).await;
    let seen = traffic.finish().await;
    let answered = seen.iter().filter(|seen| seen.status == 200).count() as u64;
    assert_eq!(fleet.front().upstream.count(), answered);
    eventually("everything is settled, and both have something to write", || {
        let waiting: Vec<f64> =
            fleet.replicas.iter().map(|replica| replica.metric("tollward_ledger_pending")).collect();
        let holds = fleet.front().metric("tollward_holds");
        let met = holds == 0.0 && waiting.iter().all(|waiting| *waiting > 0.0);
        std::future::ready(if met { Ok(waiting) } else { Err(format!("{holds} holds, {waiting:?} waiting")) })
    })
    .await;
    let left = fleet.replicas[1].metric("tollward_ledger_pending");
    fleet.replicas[1].kill_tollward();
    let killed = Instant::now();
    postgres.signal_all("CONT");
    fleet.front().wait_books(answered).await;
    let took = killed.elapsed();
    say(format_args!("{left} records of the dead replica were booked by the other {took:?} after it died"));
    // Its own spool has them too.
    fleet.replicas[1].start_tollward();
    fleet.wait_books(answered).await;
    say(format_args!("a replica killed between settlement and ledger: {}; {answered} records", tally(seen.iter())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_one_replica_is_five_seconds_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let environments = vec![Vec::new(), support::clock::ahead(folder.path(), 5)];
    let database = Postgres::shared().database();
    let fleet = Fleet::start_in(environments, &database, &Redis::shared().url(), &json!({}));
    // It is: what it writes bears its time.
    let mut made: Vec<i64> = Vec::new();
    for replica in &fleet.replicas {
        let key = replica.plain_key().await;
        let at = format!("SELECT created_at FROM keys WHERE token = '{}'", key.token);
        made.push(Postgres::shared().execute(name_of(&database), &at).parse().unwrap());
    }
    assert!(made[1] - made[0] >= 5_000, "{made:?}");

    let mut traffic = traffic(&fleet).await;
    add_poor(&fleet, &mut traffic).await;
    let daily = fleet.front().key(json!({"max_budget": 1_000.0, "budget_duration": "1d"})).await;
    traffic.add("daily", 2, &exact(&fleet, &daily).0);
    let begun = Instant::now();
    let slow = fleet.front().key(json!({"rpm_limit": 40})).await;
    traffic.add("slow", 4, &exact(&fleet, &slow).0);
    traffic.wait("the requests of a minute are used up", begun, 20, |seen| during(seen, "slow", 429)).await;
    traffic.wait("the small budget is spent", begun, 20, |seen| during(seen, "poor", 429)).await;
    traffic.wait("a budget of a day goes on", begun, 50, |seen| during(seen, "daily", 200)).await;
    let took = begun.elapsed();
    let seen = whole("clocks 5 s apart", &fleet, traffic).await;
    assert_eq!(passed(&seen, "poor"), PAID);
    if took < Duration::from_secs(55) {
        assert_eq!(passed(&seen, "slow"), 40);
    }
    let go_on = seen.iter().filter(|seen| seen.who != "poor" && seen.who != "slow");
    assert!(go_on.clone().all(|seen| seen.status == 200), "{}", tally(go_on));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_of_the_ledger_is_full() {
    // No file grows beyond 16.5 MiB; one of the write-ahead log has 16.
    let postgres = Postgres::start_bounded(33_792, &["autovacuum=off"]);
    let database = postgres.database();
    let fleet = Fleet::start(2, &database, &Redis::shared().url(), &json!({}));
    let traffic = traffic(&fleet).await;
    let pending = || fleet.replicas.iter().map(|replica| replica.metric("tollward_ledger_pending")).sum::<f64>();
    // What was written and taken back lies in the file until it is cleaned.
    let fill = |length: usize| {
        format!(
            "DO $$ BEGIN \
             INSERT INTO ledger (day, id, sequence, status, admitted_at, settled_at, model, usage, cost, price_version, \
             accounts) SELECT (SELECT max(day) FROM ledger), 'fill ' || i, 0, 'usage', 0, 0, repeat('x', {length}), \
             '{{}}', 0, '', '[]' FROM generate_series(1, 200000) i; \
             RAISE 'it is not full'; \
             EXCEPTION WHEN raise_exception THEN RAISE; WHEN OTHERS THEN RAISE WARNING '%', SQLERRM; END $$"
        )
    };
    eventually("records are on the ledger", || {
        let count = postgres.execute(name_of(&database), "SELECT count(*) FROM ledger");
        std::future::ready(if count == "0" { Err(count) } else { Ok(()) })
    })
    .await;
    // The last places are too small for large rows.
    for length in [1_500, 400, 1] {
        postgres.execute(name_of(&database), &fill(length));
    }
    let full = Instant::now();
    for who in ["limited", "rich"] {
        traffic.wait("calls go on", full, 100, |seen| during(seen, who, 200)).await;
    }
    let waiting = eventually("records wait for a place", || {
        let waiting = pending();
        std::future::ready(if waiting >= 100.0 { Ok(waiting) } else { Err(waiting.to_string()) })
    })
    .await;
    postgres.execute(name_of(&database), "VACUUM ledger");
    let seen = whole("the ledger's database full", &fleet, traffic).await;
    say(format_args!("{waiting} records waited for a place"));
    assert!(seen.iter().all(|seen| seen.status == 200), "{}", tally(seen.iter()));
}
