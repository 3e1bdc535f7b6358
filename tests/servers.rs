//! The servers the tests stand on: that they really start, really do what `tests/support/postgres.rs` and
//! `tests/support/redis.rs` claim, and really fail over. What uses them can then blame itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::postgres::Postgres;
use support::redis::{Cluster, Redis, Sentinels};
use support::wait::eventually_blocking;

/// A command is answered so, in the end.
#[track_caller]
fn answers(server: &Redis, command: &[&str], wanted: &str) {
    eventually_blocking(&format!("{command:?} answers {wanted}"), || {
        let told = server.command(command);
        if told.lines().next() == Some(wanted) { Ok(()) } else { Err(told) }
    });
}

#[test]
fn every_database_is_fresh_and_its_own() {
    let server = Postgres::shared();
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    let name = |url: &str| url.rsplit('/').next().unwrap().to_owned();
    server.execute(&name(&one), "CREATE TABLE keys (id bigint); INSERT INTO keys VALUES (1)");
    assert_eq!(server.execute(&name(&one), "SELECT count(*) FROM keys"), "1");
    assert_eq!(server.execute(&name(&other), "SELECT count(*) FROM pg_tables WHERE tablename = 'keys'"), "0");
    assert_eq!(server.execute(&name(&other), "SHOW server_encoding"), "UTF8");
}

#[test]
fn a_postgres_that_crashed_has_what_was_committed() {
    let mut server = Postgres::start(&["max_connections=17"]);
    assert_eq!(server.execute("postgres", "SHOW max_connections"), "17", "a setting of the test stands");
    server.execute("postgres", "CREATE TABLE kept AS SELECT 7 AS value");
    let before = server.url("postgres");
    server.stop();
    assert!(!server.is_ready());
    server.run();
    assert_eq!(server.url("postgres"), before);
    assert_eq!(server.execute("postgres", "SELECT value FROM kept"), "7");
}

#[test]
fn a_postgres_that_is_paused_goes_on_where_it_was() {
    let server = Postgres::start(&[]);
    server.signal_all("STOP");
    assert!(!server.is_ready(), "the kernel takes the connection, and nobody answers on it");
    server.signal_all("CONT");
    assert_eq!(server.execute("postgres", "SELECT 1"), "1");
}

#[test]
fn a_server_takes_its_folder_along() {
    let postgres = Postgres::start(&[]);
    let folder = postgres.folder().to_owned();
    assert!(folder.join("data/PG_VERSION").is_file());
    drop(postgres);
    assert!(!folder.exists());
}

#[test]
fn one_redis_answers_and_is_empty_after_a_crash() {
    assert_eq!(Redis::shared().command(&["PING"]), "PONG");
    let mut server = Redis::start(&["--maxmemory-policy", "noeviction"]);
    assert_eq!(server.command(&["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nnoeviction");
    assert_eq!(server.command(&["SET", "key", "value"]), "OK");
    let (url, pid) = (server.url(), server.pid());
    server.stop();
    assert_eq!(server.command(&["PING"]), "");
    server.run();
    server.wait();
    assert_eq!(server.url(), url);
    assert_ne!(server.pid(), pid);
    assert_eq!(server.command(&["DBSIZE"]), "0");
}

#[test]
fn a_redis_that_keeps_a_log_of_its_writes_has_them_after_a_crash() {
    let mut server = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    assert_eq!(server.command(&["SET", "key", "value"]), "OK");
    server.stop();
    server.run();
    server.wait();
    assert_eq!(server.command(&["GET", "key"]), "value");
}

#[test]
fn the_sentinels_make_the_replica_the_master_when_the_master_dies() {
    let mut trio = Sentinels::start();
    assert_eq!(trio.master_port(), Some(trio.master.port()));
    assert_eq!(trio.master.command(&["SET", "key", "value"]), "OK");
    answers(&trio.replica, &["GET", "key"], "value");
    assert!(trio.replica.command(&["SET", "key", "other"]).starts_with("READONLY"));

    trio.master.stop();
    eventually_blocking("the sentinels agree on the replica", || match trio.master_port() {
        Some(port) if port == trio.replica.port() => Ok(()),
        other => Err(format!("{other:?}")),
    });
    answers(&trio.replica, &["ROLE"], "master");
    assert_eq!(trio.replica.command(&["GET", "key"]), "value");
    assert_eq!(trio.replica.command(&["SET", "key", "later"]), "OK");

    // The old master comes back as a replica.
    trio.master.run();
    trio.master.wait();
    answers(&trio.master, &["ROLE"], "slave");
    answers(&trio.master, &["GET", "key"], "later");
    assert_eq!(trio.master_port(), Some(trio.replica.port()));
    assert_eq!(trio.url().matches("127.0.0.1:").count(), 3);
}

#[test]
fn a_replica_of_the_cluster_takes_the_place_of_a_master_that_dies() {
    let mut cluster = Cluster::start();
    let roles: Vec<String> = cluster.nodes.iter().map(|node| node.command(&["ROLE"])).collect();
    assert_eq!(roles.iter().filter(|role| role.starts_with("master")).count(), 3);
    let master = cluster.master_of("key").unwrap();
    assert_eq!(cluster.nodes[master].command(&["SET", "key", "value"]), "OK");
    eventually_blocking("a replica has the key too", || {
        let sizes: Vec<String> = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"])).collect();
        if sizes.iter().filter(|size| *size == "1").count() == 2 { Ok(()) } else { Err(format!("{sizes:?}")) }
    });
    let elsewhere = (0..cluster.nodes.len()).find(|at| *at != master && roles[*at].starts_with("master")).unwrap();
    assert!(cluster.nodes[elsewhere].command(&["GET", "key"]).starts_with("MOVED"));

    cluster.nodes[master].stop();
    let heir = eventually_blocking("another node is the master of the key", || match cluster.master_of("key") {
        Ok(at) if at != master => Ok(at),
        other => Err(format!("{other:?}")),
    });
    eventually_blocking("the cluster is whole", || {
        let told = cluster.nodes[heir].command(&["CLUSTER", "INFO"]);
        if told.contains("cluster_state:ok") { Ok(()) } else { Err(told) }
    });
    assert_eq!(cluster.nodes[heir].command(&["GET", "key"]), "value");

    // The old master comes back, knows its place, and follows.
    cluster.nodes[master].run();
    cluster.nodes[master].wait();
    answers(&cluster.nodes[master], &["ROLE"], "slave");
    eventually_blocking("all agree", || match cluster.master_of("key") {
        Ok(at) if at == heir => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
