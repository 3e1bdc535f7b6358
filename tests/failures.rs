//! What bad input and bad luck get: a clear error that names what to change, and nothing lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use support::call::chat_body;
use support::cli::{run, text};
use support::port;
use support::{Options, Stack, Value, cost, eventually, json, unique};

/// Runs `serve` on this file, which must refuse to start.
fn refused(yaml: &str) -> (Output, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollward.yaml");
    let yaml = yaml.replace("{folder}", folder.path().to_str().unwrap()).replace(
        "{ports}",
        &format!(
            "listen: {{grpc: 127.0.0.1:{}, http: 127.0.0.1:{}, ops: 127.0.0.1:{}}}",
            port::free(),
            port::free(),
            port::free()
        ),
    );
    std::fs::write(&path, yaml).unwrap();
    let output = run(&["serve", "--config", path.to_str().unwrap()], &[]);
    assert!(!output.status.success(), "{}", text(&output));
    (output, folder)
}

#[test]
fn a_bad_file_is_refused_with_its_path_and_line() {
    let good =
        "directory: {url: \"sqlite://{folder}/tollward.db\"}\ngeneral_settings: {master_key: sk-operator-0123456789}\n";
    #[rustfmt::skip]
    let rows: [(&str, &str, &[&str]); 8] = [
        ("no YAML", "listen: [\n", &["tollward.yaml"]),
        ("an unknown section", "listne: {}\n", &["tollward.yaml", "listne", "1"]),
        ("an unknown key, its line", "listen:\n  grpc: 127.0.0.1:1\n  htpp: 127.0.0.1:2\n", &["htpp", "3"]),
        ("a wrong type", "quota: {default_output_tokens: many}\n", &["default_output_tokens"]),
        ("an address that is none", "listen: {grpc: nowhere}\n", &["grpc"]),
        ("a directory of no known kind", "directory: {url: \"ftp://x\"}\ngeneral_settings: {master_key: sk-operator-0123456789}\n", &["directory"]),
        ("a variable that is not set", "directory: {url: \"${NO_SUCH_VARIABLE_HERE}\"}\n", &["NO_SUCH_VARIABLE_HERE"]),
        ("a public master key", "directory: {url: \"sqlite://{folder}/t.db\"}\ngeneral_settings: {master_key: sk-1234}\n", &["master_key"]),
    ];
    for (name, yaml, named) in rows {
        let (output, _folder) = refused(yaml);
        for word in named {
            assert!(text(&output).contains(word), "{name}: says {word}: {}", text(&output));
        }
    }
    let open = format!("{good}listen: {{grpc: 0.0.0.0:{}}}\n", port::free());
    let (output, _folder) = refused(&open);
    let said = text(&output);
    assert!(said.contains("insecure") || said.contains("grpc_clients"), "an open port must be asked for: {said}");
}

#[test]
fn what_would_open_a_door_and_is_not_built_is_refused_and_never_ignored() {
    let general = |setting: &str| format!("general_settings: {{master_key: sk-operator-0123456789, {setting}}}\n");
    #[rustfmt::skip]
    let rows: [(&str, String, &str); 7] = [
        ("row 20: strangers pass while the directory is down", general("allow_requests_on_db_unavailable: true"), "directory.stale_if_error"),
        ("row 37: vector stores", general("vector_store_deny_by_default: true"), "allowed_routes"),
        ("row 38: custom code without an authoriser", general("custom_auth: my.auth"), "custom_auth_settings: {endpoint:"),
        ("row 50: JWT without keys", general("enable_jwt_auth: true"), "jwt_public_key_url"),
        ("row 62: OAuth2", general("enable_oauth2_auth: true"), "virtual keys"),
        ("row 66: identity headers of a proxy nobody listed", general("enable_oauth2_proxy_auth: true, oauth2_config_mappings: {user_id: x-user-id}"), "trusted_proxy_ranges"),
        ("row 89: and limits of one process when they fail", format!("quota: {{on_counter_failure: local}}\n{}", general("")), "on_counter_failure"),
    ];
    for (name, yaml, named) in rows {
        let (output, _folder) = refused(&format!("directory: {{url: \"sqlite://{{folder}}/tollward.db\"}}\n{yaml}"));
        assert!(text(&output).contains(named), "{name}: says {named}: {}", text(&output));
    }
}

#[test]
fn a_config_can_be_checked_without_starting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tollward.yaml");
    let validate = || run(&["config", "validate", "--config", path.to_str().unwrap()], &[]);
    std::fs::write(
        &path,
        "general_settings: {master_key: sk-operator-0123456789}\ndirectory: {url: \"sqlite://x.db\"}\n",
    )
    .unwrap();
    let output = validate();
    assert!(output.status.success(), "{}", text(&output));
    assert!(!folder.path().join("x.db").exists(), "nothing is opened");
    std::fs::write(&path, "quota: {reserve: sometimes}\n").unwrap();
    let output = validate();
    assert!(!output.status.success());
    assert!(text(&output).contains("reserve"), "{}", text(&output));
}

#[test]
fn an_unusable_directory_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("tollward.db");
    let garbage = b"this is no database, and somebody may want it back".repeat(100);
    std::fs::write(&database, &garbage).unwrap();
    let (output, _config) = refused(&format!(
        "{{ports}}\ndirectory: {{url: \"sqlite://{}\"}}\ngeneral_settings: {{master_key: sk-operator-0123456789}}\n",
        database.display()
    ));
    assert!(text(&output).contains("tollward.db"), "{}", text(&output));
    assert_eq!(std::fs::read(&database).unwrap(), garbage);
    let missing = folder.path().join("no/such/folder/tollward.db");
    let (output, _config) = refused(&format!(
        "{{ports}}\ndirectory: {{url: \"sqlite://{}\"}}\ngeneral_settings: {{master_key: sk-operator-0123456789}}\n",
        missing.display()
    ));
    assert!(text(&output).contains("no/such/folder"), "{}", text(&output));
}

#[tokio::test]
async fn a_second_process_on_the_same_counters_refuses_to_start() {
    let stack = Stack::start(Options::default());
    let mut config = stack.config();
    for port in ["grpc", "http", "ops"] {
        config["listen"][port] = json!(format!("127.0.0.1:{}", port::free()));
    }
    let path = stack.folder().join("second.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    let output = run(&["serve", "--config", path.to_str().unwrap()], &[]);
    assert!(!output.status.success());
    assert!(text(&output).contains("REDIS_URL"), "{}", text(&output));
    // The first is not disturbed.
    let key = stack.plain_key().await;
    stack.chat(&key).send().await.allowed();
}

#[tokio::test]
async fn a_killed_gate_comes_back_with_all_that_was_settled() {
    let mut stack = Stack::start(Options::default());
    let key = stack.key(json!({"max_budget": 1.0, "rpm_limit": 1000})).await;
    for _ in 0..10 {
        stack.chat(&key).usage(100, 100).send().await.allowed();
    }
    stack.wait_spend(&key, 10.0 * cost(100, 100)).await;
    // Load at the moment of the kill: calls held at the upstream, and calls under way.
    let gate = unique("gate");
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..5 {
        held.spawn(stack.chat(&key).usage(100, 100).header("x-held", &gate).held_back(&gate).start());
    }
    eventually("five calls are at the upstream", || async {
        let count = stack.upstream.with_header("x-held", &gate).len();
        if count == 5 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
    stack.kill_tollward();
    stack.upstream.release(&gate);
    held.join_all().await;
    stack.start_tollward();
    let spend = eventually("what was in flight is booked", || async {
        let spend = stack.spend(&key).await;
        if spend > 10.0 * cost(100, 100) + 1e-9 { Ok(spend) } else { Err(spend.to_string()) }
    })
    .await;
    assert!(spend >= 10.0 * cost(100, 100), "nothing settled is lost: {spend}");
    eventually("the gate serves again", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    eventually("no hold remains", || async {
        let holds = stack.metric("tollward_holds");
        if holds == 0.0 { Ok(()) } else { Err(holds.to_string()) }
    })
    .await;
    stack.verify_ledger();
}

#[tokio::test]
async fn an_orderly_stop_answers_what_is_in_flight_and_flushes() {
    let mut stack = Stack::start(Options::default());
    let key = stack.key(json!({"max_budget": 1.0})).await;
    for _ in 0..20 {
        stack.chat(&key).usage(10, 10).send().await.allowed();
    }
    stack.stop_tollward();
    // With nothing running, the directory alone must tell it all.
    stack.start_tollward();
    stack.wait_spend(&key, 20.0 * cost(10, 10)).await;
    stack.verify_ledger();
}

#[tokio::test]
async fn while_the_gate_is_gone_nobody_passes() {
    let mut stack = Stack::start(Options::default());
    let key = stack.plain_key().await;
    stack.chat(&key).send().await.allowed();
    stack.kill_tollward();
    let answer = stack.chat(&key).send().await;
    assert_eq!(answer.status, 503, "trouble of ours is never a bad credential");
    assert!(answer.received().is_none());
    stack.start_tollward();
    eventually("it is back", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
}

/// Takes the table of keys away from the running server, or gives it back: every question for a key fails meanwhile.
fn rename_keys(stack: &Stack, from: &str, to: &str) {
    let database = rusqlite::Connection::open(stack.folder().join("tollward.db")).unwrap();
    database.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
}

#[tokio::test]
async fn trouble_of_the_directory_is_never_a_bad_credential() {
    // Rows 20 and 21. A key is read anew after a second, and usable in trouble for ten minutes or for one second.
    for (stale_if_error, keeps_working) in [("10m", true), ("1s", false)] {
        let directory = json!({"cache_ttl": "1s", "negative_ttl": "1s", "stale_if_error": stale_if_error});
        let stack = Stack::start(Options::config(json!({"directory": directory})));
        let (key, limited) = (stack.plain_key().await, stack.key(json!({"rpm_limit": 0})).await);
        let stranger = || {
            let call = stack.call("POST", "/v1/chat/completions").bearer("sk-nobody-has-ever-seen-this");
            call.json(&chat_body("gpt-4o-mini"))
        };
        // A look at the file every 50 ms finds the keys' creation; what is kept after that look stays.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            stack.chat(&key).usage(10, 10).send().await.allowed();
            stack.chat(&limited).send().await.denied(429, "rate_limit_error");
        }
        stranger().send().await.denied(401, "token_not_found_in_db");
        rename_keys(&stack, "keys", "keys_taken_away");
        // Nobody passes whom the gate does not know, and nobody is told that the key is bad: there is no switch for it.
        let answer = eventually("it does not know who is a stranger", || async {
            let answer = stranger().send().await;
            if answer.status == 401 { Err(answer.text()) } else { Ok(answer) }
        })
        .await;
        answer.denied(503, "no_db_connection");
        assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
        if keeps_working {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(3) {
                stack.chat(&key).usage(10, 10).send().await.allowed();
                // Nor is anybody's limit forgotten.
                stack.chat(&limited).send().await.denied(429, "rate_limit_error");
            }
        } else {
            eventually("what was kept is too old", || async {
                let answer = stack.chat(&key).send().await;
                if answer.status == 200 { Err("it still passes".to_owned()) } else { Ok(answer) }
            })
            .await
            .denied(503, "no_db_connection");
        }
        let call = stack.call("POST", "/v1/chat/completions").bearer(support::MASTER);
        call.json(&chat_body("gpt-4o-mini")).send().await.allowed();
        rename_keys(&stack, "keys_taken_away", "keys");
        eventually("strangers are strangers again", || async {
            let answer = stranger().send().await;
            if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        stack.chat(&key).send().await.allowed();
        // What was spent meanwhile is booked.
        eventually("all is written", || async {
            let proof = stack.manage("GET", "/ledger/verify", Value::Null).await;
            if proof["differences"] == json!([]) { Ok(()) } else { Err(proof.to_string()) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_bad_one_is_not() {
    let stack = Stack::start(Options::default());
    let key = stack.plain_key().await;
    let with = |settings: Value| {
        let mut config = stack.config();
        config["general_settings"]["enforced_params"] = settings;
        config
    };
    stack.write_config(&with(json!(["user"])));
    eventually("the new file is in force", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 400 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
    let before = stack.metric("tollward_config_reloads_total{result=\"failed\"}");
    let mut bad = with(json!([]));
    bad["quota"] = json!({"reserve": "sometimes"});
    stack.write_config(&bad);
    eventually("the bad file is counted", || async {
        if stack.metric("tollward_config_reloads_total{result=\"failed\"}") > before {
            Ok(())
        } else {
            Err("no metric yet".to_owned())
        }
    })
    .await;
    assert_eq!(stack.chat(&key).send().await.status, 400, "the old one stays in force");
    stack.write_config(&with(json!([])));
    eventually("the next good one is taken", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn the_ops_port_tells_life_readiness_and_numbers() {
    let stack = Stack::start(Options::default());
    let key = stack.plain_key().await;
    stack.chat(&key).send().await.allowed();
    stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini")).send().await.denied(401, "auth_error");
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = support::raw::get(stack.ports.ops, path).unwrap();
        assert_eq!(support::raw::status(&answer), 200, "{path}: {answer}");
        assert!(!answer.contains(&key.secret), "{path}");
    }
    assert!(stack.metric("tollward_decisions_total") >= 2.0);
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_half_written() {
    // Files of three mebibytes at most.
    let environment = vec![("FILE_BLOCKS".to_owned(), "6144".to_owned())];
    let mut stack = Stack::start(Options { environment, ..Options::default() });
    let caller = stack.plain_key().await;
    stack.chat(&caller).usage(10, 10).send().await.allowed();
    let mut written = Vec::new();
    let refused = loop {
        assert!(written.len() < 500, "30 MB do not fit into files of three");
        let alias = unique("large");
        let body = json!({"key_alias": alias, "metadata": {"note": "n".repeat(60_000)}});
        match stack.manage_as(support::MASTER, "POST", "/key/generate", Some(&body)).await {
            (200, answer) => written.push(answer["token"].as_str().expect("a token").to_owned()),
            (status, answer) => {
                assert_eq!(status, 503, "{answer}");
                break alias;
            }
        }
    };
    let answer = stack.chat(&caller).send().await;
    assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
    stack.stop_tollward();
    stack.start_tollward_plainly();
    for token in &written {
        stack.manage("GET", &format!("/key/info?key={token}"), Value::Null).await;
    }
    let list = stack.manage("GET", &format!("/key/list?key_alias={refused}"), Value::Null).await;
    assert_eq!(list["total_count"], 0, "{list}");
    stack.manage("POST", "/key/generate", json!({"key_alias": refused})).await;
    stack.chat(&caller).send().await.allowed();
    stack.verify_ledger();
}
