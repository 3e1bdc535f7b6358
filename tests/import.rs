//! Moving in from LiteLLM: the old keys work at the new gate, with what they had spent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::fmt::Write as _;

use support::call::chat_body;
use support::cli::{run, text};
use support::postgres::Postgres;
use support::redis::Redis;
use support::{Answer, MASTER, Options, Stack, Value, eventually, json};
use tempfile::TempDir;

const SCHEMA: &str = include_str!("support/litellm.sql");

/// The value LiteLLM stores of a key.
fn stored(secret: &str) -> String {
    format!("encode(sha256(convert_to('{secret}', 'UTF8')), 'hex')")
}

/// A LiteLLM database with these keys: secret, further columns, their values.
fn database(keys: &[(&str, &str, &str)]) -> (String, String) {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap().to_owned();
    server.execute(&name, SCHEMA);
    let mut sql = String::new();
    for (secret, columns, values) in keys {
        let token = stored(secret);
        writeln!(sql, "INSERT INTO \"LiteLLM_VerificationToken\" (token{columns}) VALUES ({token}{values});").unwrap();
    }
    server.execute(&name, &sql);
    (url, name)
}

async fn chat(stack: &Stack, secret: &str) -> Answer {
    let call = stack.call("POST", "/v1/chat/completions").bearer(secret);
    call.usage(10, 10).json(&chat_body("gpt-4o-mini")).send().await
}

/// Of one table of the report.
fn counts(report: &Value, into: &str) -> [u64; 4] {
    let tables = report["tables"].as_array().unwrap();
    let table = tables.iter().find(|table| table["into"] == into).unwrap_or_else(|| panic!("{into}: {report}"));
    ["read", "imported", "unchanged", "skipped"].map(|name| table[name].as_u64().unwrap())
}

#[tokio::test]
async fn old_keys_work_unchanged_and_stay_blocked_expired_and_spent() {
    let (url, name) = database(&[
        ("sk-old-and-good", ", key_alias, max_budget, spend", ", 'good', 10, 9.5"),
        ("sk-old-and-blocked", ", blocked", ", true"),
        ("sk-old-and-expired", ", expires", ", '2020-01-01'"),
        ("sk-old-and-spent", ", max_budget, spend", ", 0.3, 0.1::float8 + 0.2::float8"),
        ("sk-old-and-spent-this-month", ", max_budget, spend, budget_duration", ", 1, 2, '30d'"),
        ("sk-old-and-reset", ", max_budget, spend, budget_duration, budget_reset_at", ", 1, 2, '30d', '2020-01-01'"),
        ("sk-old-of-spent-team", ", team_id", ", 'spent-team'"),
        ("sk-old-unreadable", ", max_budget", ", 'NaN'"),
    ]);
    let good = stored("sk-old-and-good");
    let rotated = stored("sk-old-before-rotation");
    Postgres::shared().execute(
        &name,
        &format!(
            "INSERT INTO \"LiteLLM_TeamTable\" (team_id, max_budget, spend) VALUES ('spent-team', 1, 1.5); \
             INSERT INTO \"LiteLLM_DeprecatedVerificationToken\" (id, token, active_token_id, revoke_at) VALUES \
             ('d', {rotated}, {good}, now() + interval '1 hour')"
        ),
    );
    let mut stack = Stack::start(Options::default());
    assert_eq!(chat(&stack, "sk-old-and-good").await.status, 401, "not yet");
    stack.stop_tollward();
    let from = ["import", "litellm", "--from", &url];
    let would = stack.command_json(&[&from[..], &["--dry-run"]].concat());
    assert_eq!((counts(&would, "keys"), &would["dry_run"]), ([8, 7, 0, 1], &json!(true)));
    let report = stack.command_json(&from);
    assert_eq!(counts(&report, "keys"), [8, 7, 0, 1], "the dry run wrote nothing");
    stack.start_tollward();

    for (secret, status) in [
        ("sk-old-and-good", 200),
        ("sk-old-before-rotation", 200),
        ("sk-old-and-reset", 200),
        ("sk-old-and-blocked", 401),
        ("sk-old-and-expired", 401),
        ("sk-old-unreadable", 401),
        ("sk-old-and-spent", 429),
        ("sk-old-and-spent-this-month", 429),
        ("sk-old-of-spent-team", 429),
        ("sk-never-issued", 401),
    ] {
        let answer = chat(&stack, secret).await;
        assert_eq!(answer.status, status, "{secret}: {}", answer.text());
        assert_eq!(answer.received().is_some(), status == 200, "{secret}");
        if status == 429 {
            assert_eq!(answer.kind(), "budget_exceeded", "{secret}");
        }
    }
    stack.verify_counters().await;
    stack.verify_ledger();

    // Keys that LiteLLM issues during the move follow beside the running gate.
    let late = stored("sk-issued-late");
    Postgres::shared().execute(&name, &format!("INSERT INTO \"LiteLLM_VerificationToken\" (token) VALUES ({late})"));
    let again = stack.command_json(&from);
    assert_eq!(counts(&again, "keys"), [9, 1, 7, 1]);
    assert_eq!(again["opening_records"], 0);
    eventually("the late key works", || async {
        let status = chat(&stack, "sk-issued-late").await.status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    stack.verify_counters().await;
}

/// A gate whose directory is in PostgreSQL and whose counters are in this Redis; it may spend a dollar in all, and has
/// counted what it spent so far.
async fn shared_stack(redis: &Redis) -> (Stack, String, TempDir) {
    let spool = TempDir::with_prefix("tollward-test-").unwrap();
    let config = json!({
        "directory": {"url": Postgres::shared().database()},
        "counters": {"url": redis.url(), "prefix": "import"},
        "ledger": {"spool": spool.path()},
        "litellm_settings": {"max_budget": 1},
    });
    let stack = Stack::start(Options::config(config));
    let key = stack.manage("POST", "/key/generate", json!({})).await["key"].as_str().unwrap().to_owned();
    assert_eq!(chat(&stack, &key).await.status, 200);
    (stack, key, spool)
}

/// A LiteLLM database with one key, whose proxy has spent more than that.
fn spent_database(secret: &str) -> String {
    let (url, name) = database(&[(secret, "", "")]);
    let proxy = "INSERT INTO \"LiteLLM_UserTable\" (user_id, spend) VALUES ('litellm-proxy-budget', 5)";
    Postgres::shared().execute(&name, proxy);
    url
}

async fn spends_no_more(stack: &Stack, secret: &str) {
    eventually(&format!("the budget of the gate is spent for {secret}"), || async {
        let answer = chat(stack, secret).await;
        if answer.status == 429 && answer.kind() == "budget_exceeded" { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test]
async fn counters_in_redis_count_what_is_imported_beside_running_gates() {
    let (stack, key, _spool) = shared_stack(Redis::shared()).await;
    let url = spent_database("sk-old-beside");
    let from = ["import", "litellm", "--from", &url];
    let would = stack.command_json(&[&from[..], &["--dry-run"]].concat());
    assert_eq!((counts(&would, "keys"), &would["opening_records"]), ([1, 1, 0, 0], &json!(1)));
    assert_eq!(chat(&stack, &key).await.status, 200, "a dry run spends nothing");
    let report = stack.command_json(&from);
    assert_eq!((counts(&report, "keys"), &report["opening_records"]), ([1, 1, 0, 0], &json!(1)));
    let answer = chat(&stack, &key).await;
    assert_eq!((answer.status, answer.kind()), (429, "budget_exceeded".into()), "at once: {}", answer.text());
    spends_no_more(&stack, "sk-old-beside").await;
    stack.verify_counters().await;
    stack.verify_ledger();
}

#[tokio::test]
async fn an_import_that_redis_did_not_hear_of_says_so_and_is_started_again() {
    let mut redis = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (stack, key, _spool) = shared_stack(&redis).await;
    let url = spent_database("sk-old-unheard");
    let from = ["import", "litellm", "--from", &url];
    redis.stop();
    let output = stack.command(&from);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("Run the same command again when Redis answers"), "{}", text(&output));
    redis.run();
    redis.wait();
    let again = stack.command_json(&from);
    assert_eq!((counts(&again, "keys"), &again["opening_records"]), ([1, 0, 1, 0], &json!(0)));
    spends_no_more(&stack, &key).await;
    stack.verify_ledger();
}

#[test]
fn the_url_may_come_from_the_environment_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = database(&[("sk-a", ", config", ", '{\"model_list\": []}'")]);
    let directory = format!("sqlite://{}", folder.path().join("tollward.db").display());
    let ours = [("DATABASE_URL", directory.as_str()), ("TOLLWARD_MASTER_KEY", MASTER)];
    let import = |from: &str| run(&["import", "litellm"], &[&ours[..], &[("LITELLM_DATABASE_URL", from)]].concat());
    let output = import(&url);
    assert!(output.status.success(), "{}", text(&output));
    let (table, summary) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("LiteLLM_VerificationToken") && table.contains("config"), "{table}");
    assert!(summary.contains("1 rows imported, 0 unchanged, 0 skipped"), "{summary}");
    assert!(!text(&output).contains('\u{1b}') && !text(&output).contains('\r'), "no progress in a pipe");

    let refused = import("postgres://litellm:geheim@127.0.0.1:1/litellm");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("cannot connect") && !text(&refused).contains("geheim"), "{}", text(&refused));
    let nothing = run(&["import", "litellm"], &ours);
    assert_eq!(nothing.status.code(), Some(2), "{}", text(&nothing));
    let help = run(&["import", "litellm", "--help"], &[("LITELLM_DATABASE_URL", "postgres://litellm:geheim@h/d")]);
    assert!(!text(&help).contains("geheim"), "{}", text(&help));
}
