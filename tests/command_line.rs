//! The command line, beside a running gate: it writes, the gate knows at once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::cli::{run, text};
use support::{Stack, Value, eventually, json, shared, unique};

/// A call with a secret; its status.
async fn status(stack: &Stack, secret: &str) -> u16 {
    let call = stack.call("POST", "/v1/chat/completions").bearer(secret);
    call.json(&support::call::chat_body("gpt-4o-mini")).send().await.status
}

async fn soon(stack: &Stack, what: &str, secret: &str, wanted: u16) {
    eventually(what, || async {
        let status = status(stack, secret).await;
        if status == wanted { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_key_lives_its_whole_life_on_the_command_line() {
    let stack = shared();
    let alias = unique("cli");
    let created = stack.command_json(&[
        "key",
        "create",
        "--alias",
        &alias,
        "--model",
        "gpt-4o-mini",
        "--rpm",
        "100",
        "--tpm",
        "100000",
        "--max-budget",
        "5",
    ]);
    let secret = created["key"].as_str().expect("the secret").to_owned();
    assert!(secret.starts_with("sk-"));
    soon(stack, "it works", &secret, 200).await;
    let info = stack.command_json(&["key", "info", &secret]);
    assert!(info.to_string().contains(&alias), "{info}");
    assert!(!info.to_string().contains(&secret), "the secret is shown once");
    let list = stack.command_json(&["key", "list"]);
    assert!(
        list.to_string().contains(&alias) || list.to_string().contains(created["token"].as_str().unwrap()),
        "{list}"
    );
    stack.command_json(&["key", "block", &secret]);
    soon(stack, "it is blocked", &secret, 401).await;
    stack.command_json(&["key", "unblock", &secret]);
    soon(stack, "it works again", &secret, 200).await;
    let fresh = stack.command_json(&["key", "regenerate", &secret]);
    let fresh = fresh["key"].as_str().expect("the new secret").to_owned();
    soon(stack, "the new secret works", &fresh, 200).await;
    soon(stack, "the old one is gone", &secret, 401).await;
    stack.command_json(&["key", "delete", &fresh]);
    soon(stack, "it is gone", &fresh, 401).await;
}

#[test]
fn tables_are_for_people() {
    let stack = shared();
    let alias = unique("table");
    let output = stack.command(&["key", "create", "--alias", &alias]);
    assert!(output.status.success(), "{}", text(&output));
    let output = stack.command(&["key", "list"]);
    assert!(output.status.success(), "{}", text(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains(&alias), "{table}");
    assert!(serde_json::from_str::<Value>(&table).is_err(), "a table, not JSON");
}

#[test]
fn teams_users_and_budgets_are_created_and_shown() {
    let stack = shared();
    let team = stack.command_json(&["team", "create", "--alias", &unique("cli-team")]);
    let id = team["team_id"].as_str().expect("a team_id");
    assert!(stack.command_json(&["team", "info", id]).to_string().contains(id));
    let user = stack.command_json(&["user", "create", "--email", &format!("{}@example.com", unique("cli"))]);
    let id = user["user_id"].as_str().expect("a user_id");
    assert!(stack.command_json(&["user", "info", id]).to_string().contains(id));
    for resource in ["team", "user", "org", "budget", "model"] {
        let output = stack.command(&[resource, "list", "--json"]);
        assert!(output.status.success(), "{resource}: {}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect(resource);
    }
}

#[tokio::test]
async fn check_explains_a_decision_and_consumes_nothing() {
    let stack = shared();
    let key = stack.key(json!({"models": ["gpt-4o-mini"], "rpm_limit": 1})).await;
    let header = format!("authorization: Bearer {}", key.secret);
    let body = |model: &str| {
        let path = stack.folder().join(format!("{}.json", unique("body")));
        std::fs::write(&path, support::call::chat_body(model).to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (good, bad) = (body("gpt-4o-mini"), body("gpt-4o"));
    for _ in 0..3 {
        let report = stack.command_json(&["check", "--header", &header, "--body", &good]);
        assert!(report.to_string().contains("allow"), "{report}");
        assert!(!report.to_string().contains(&key.secret), "{report}");
    }
    let output = stack.command(&["check", "--header", &header, "--body", &bad]);
    assert!(!output.status.success() && text(&output).contains("model"), "{}", text(&output));
    assert!(!text(&output).contains(&key.secret), "{}", text(&output));
    stack.chat(&key).send().await.allowed();
}

#[test]
fn what_does_not_exist_is_said_on_standard_error_with_a_status() {
    let stack = shared();
    let output = stack.command(&["key", "info", "sk-no-such-key-anywhere"]);
    assert!(!output.status.success());
    assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{}", text(&output));
    let output = run(&["key", "fly"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn help_and_completions_name_every_command() {
    let output = run(&["--help"], &[]);
    assert!(output.status.success());
    for command in ["serve", "check", "config", "key", "team", "user", "org", "budget", "model", "ledger"] {
        assert!(text(&output).contains(command), "{command}: {}", text(&output));
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell], &[]);
        assert!(output.status.success(), "{shell}: {}", text(&output));
        assert!(text(&output).contains("tollward"), "{shell}");
    }
    assert!(text(&run(&["--version"], &[])).contains(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_ledger_is_verified_while_calls_run() {
    let stack = shared();
    let key = stack.plain_key().await;
    for _ in 0..10 {
        stack.chat(&key).send().await.allowed();
    }
    stack.verify_ledger();
}

#[test]
fn spend_is_set_while_no_server_runs_and_the_books_agree() {
    let folder = tempfile::tempdir().expect("a folder");
    let (config, database) = (folder.path().join("tollward.yaml"), folder.path().join("directory.db"));
    std::fs::write(&config, format!("directory:\n  url: sqlite://{}\n", database.display())).expect("a file");
    let tollward = |arguments: &[&str]| {
        let all = [arguments, &["--json", "--config", config.to_str().expect("a path")]].concat();
        let output = run(&all, &[("TOLLWARD_MASTER_KEY", "sk-master-of-the-command-line-test")]);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    tollward(&["key", "create", "--alias", "a", "--max-budget", "5", "--budget-duration", "1d"]);
    for spend in ["1.25", "0.5", "0"] {
        tollward(&["key", "update", "a", "--spend", spend]);
        let info = tollward(&["key", "info", "a"]);
        assert_eq!(info["info"]["spend"].as_f64(), spend.parse().ok(), "{info}");
        assert_eq!(tollward(&["ledger", "verify"])["differences"], json!([]));
    }
}

#[test]
fn spend_is_not_set_beside_a_server_and_nothing_is_left_behind() {
    let stack = shared();
    let alias = unique("spend");
    stack.command_json(&["key", "create", "--alias", &alias]);
    let output = stack.command(&["key", "update", &alias, "--spend", "1"]);
    assert!(!output.status.success() && text(&output).contains("management API"), "{}", text(&output));
    let output = stack.command(&["key", "create", "--alias", &unique("none"), "--set", "spend=1"]);
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output));
}

#[test]
fn a_running_server_says_whether_it_is_ready() {
    let mut stack = Stack::start(support::Options { filters: support::Filters::NoEnvoy, ..Default::default() });
    let said = stack.command_json(&["ready"]);
    assert_eq!(said["status"], "ready", "{said}");
    // By its address it is found without a configuration.
    let address = format!("127.0.0.1:{}", stack.ports.ops);
    let output = run(&["ready", &address], &[]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).starts_with("ready"), "{}", text(&output));
    stack.stop_tollward();
    let output = run(&["ready", &address], &[]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains(&address), "{}", text(&output));
}
