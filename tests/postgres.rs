//! The directory on PostgreSQL, from outside: the same gate, and what its operator types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::pgbouncer::PgBouncer;
use support::postgres::Postgres;
use support::wait::eventually;
use support::{Options, Stack, Value, cost, json};

#[tokio::test]
async fn calls_are_decided_metered_and_booked() {
    let stack = Stack::start(Options::postgres(&Postgres::shared().database()));
    let key = stack.key(json!({"max_budget": 1.0, "rpm_limit": 1000})).await;
    for _ in 0..5 {
        stack.chat(&key).usage(100, 100).send().await.allowed();
    }
    stack.wait_spend(&key, 5.0 * cost(100, 100)).await;
    let list = stack.manage("GET", "/key/list", Value::Null).await;
    assert_eq!(list["total_count"], 1, "{list}");
    stack.manage("POST", "/key/block", json!({"key": key.secret})).await;
    stack.chat(&key).send().await.denied(401, "auth_error");
    stack.manage("POST", "/key/unblock", json!({"key": key.secret})).await;
    // The command line is another process.
    assert!(stack.command(&["key", "block", &key.secret]).status.success());
    eventually("the gate has heard of it", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 401 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
    stack.verify_ledger();
}

#[tokio::test]
async fn through_a_pooler_in_transaction_mode_all_is_the_same() {
    let url = Postgres::shared().database();
    let pooled = json!({"directory": {"prepared_statements": "off", "listen_url": url}});
    let stack = Stack::start(Options::postgres(&PgBouncer::shared().url(&url)).with(&pooled));
    let key = stack.plain_key().await;
    stack.chat(&key).usage(10, 10).send().await.allowed();
    stack.wait_spend(&key, cost(10, 10)).await;
    stack.verify_ledger();
}

#[tokio::test]
async fn a_killed_gate_comes_back_with_all_that_was_settled() {
    let mut stack = Stack::start(Options::postgres(&Postgres::shared().database()));
    let key = stack.plain_key().await;
    for _ in 0..10 {
        stack.chat(&key).usage(100, 100).send().await.allowed();
    }
    stack.wait_spend(&key, 10.0 * cost(100, 100)).await;
    // The server may not know yet that the killed gate is gone, and with it its lock.
    stack.kill_tollward();
    stack.start_tollward();
    stack.wait_spend(&key, 10.0 * cost(100, 100)).await;
    stack.verify_ledger();
}

#[tokio::test]
async fn while_the_database_is_down_known_keys_work_and_nothing_is_lost() {
    let mut server = Postgres::start(&[]);
    let stack = Stack::start(Options::postgres(&server.database()));
    let key = stack.plain_key().await;
    stack.chat(&key).usage(10, 10).send().await.allowed();
    server.stop();
    for _ in 0..5 {
        stack.chat(&key).usage(10, 10).send().await.allowed();
    }
    let stranger = stack.call("POST", "/v1/chat/completions").bearer("sk-nobody-has-ever-seen-this");
    stranger.json(&json!({"model": "gpt-4o-mini", "messages": []})).send().await.denied(503, "no_db_connection");
    server.run();
    stack.wait_spend(&key, 6.0 * cost(10, 10)).await;
    stack.verify_ledger();
}

#[tokio::test]
async fn a_second_gate_with_counters_of_its_own_refuses_to_start() {
    let stack = Stack::start(Options::postgres(&Postgres::shared().database()));
    let mut config = stack.config();
    for port in ["grpc", "http", "ops"] {
        config["listen"][port] = json!(format!("127.0.0.1:{}", support::port::free()));
    }
    config["ledger"]["spool"] = json!(stack.folder().join("other.spool"));
    let path = stack.folder().join("second.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let output = support::cli::run(&["serve", "--config", path.to_str().unwrap()], &[]);
    let said = support::cli::text(&output);
    assert!(!output.status.success() && said.contains("REDIS_URL"), "{said}");
}

#[test]
fn tables_are_migrated_before_the_gate_starts() {
    let url = Postgres::shared().database();
    let environment = [("DATABASE_URL", url.as_str()), ("TOLLWARD_MASTER_KEY", support::MASTER)];
    let run = |arguments: &[&str]| {
        let output = support::cli::run(arguments, &environment);
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), support::cli::text(&output))
    };
    let (code, stdout, said) = run(&["migrate", "--check", "--json"]);
    let found: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!((code, &found["engine"], &found["version"]), (Some(1), &json!("postgres"), &json!(0)), "{said}");
    assert!(!said.contains(&url), "{said}");
    let steps = |found: &Value| found["pending"].as_array().map(Vec::len);
    let behind = steps(&found);
    assert!(behind > Some(0), "{found}");
    let (code, stdout, _) = run(&["migrate", "--json"]);
    let found: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!((code, steps(&found)), (Some(0), behind), "{found}");
    let (code, stdout, _) = run(&["migrate", "--check"]);
    assert!(code == Some(0) && stdout.contains("nothing to do"), "{stdout}");
    assert_eq!(run(&["migrate", "--sometimes"]).0, Some(2));
}
