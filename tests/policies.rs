//! The operator's own rules, through Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::cli::{run, text};
use support::{Filters, Options, Stack, Value, json};

fn rules(rules: &Value) -> Options {
    Options::config(json!({"policy": {"rules": rules}}))
}

#[tokio::test]
async fn a_deny_rule_refuses_what_it_says_and_nothing_else() {
    let stack = Stack::start(rules(&json!([
        {
            "name": "dear-for-blue", "effect": "deny", "message": "the blue team uses gpt-4o-mini",
            "when": "model.name == 'gpt-4o' && 'x-team' in request.headers && request.headers['x-team'] == 'blue'",
        },
        {"name": "no-tools", "effect": "deny", "when": "'tools' in request.parameters"},
        {"name": "nothing-passes", "effect": "deny", "mode": "shadow", "when": "true"},
        {
            "name": "cannot-be-evaluated", "effect": "deny",
            "when": "request.api == 'openai_embeddings' && caller.metadata.x == 1",
        },
    ])));
    let key = stack.key(json!({})).await;
    let answer = stack.chat_with(&key, "gpt-4o").header("x-team", "blue").send().await;
    answer.denied(403, "permission_error");
    assert_eq!(answer.message(), "the blue team uses gpt-4o-mini");
    stack.chat_with(&key, "gpt-4o").header("x-team", "red").send().await.allowed();
    stack.chat_with(&key, "gpt-4o-mini").header("x-team", "blue").send().await.allowed();
    let mut body = chat_body("gpt-4o-mini");
    body["tools"] = json!([]);
    let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await;
    answer.denied(403, "permission_error");
    assert_eq!(answer.message(), "refused by the policy no-tools");
    // A fallback is a model that the request may use.
    let mut body = chat_body("gpt-4o-mini");
    body["fallbacks"] = json!(["gpt-4o"]);
    let call = stack.call("POST", "/v1/chat/completions").key(&key).header("x-team", "blue");
    call.json(&body).send().await.denied(403, "permission_error");
    // What cannot be known counts against the request, and the log says so without a word of it.
    let body = json!({"model": "text-embedding-3-small", "input": "x"});
    let call = stack.call("POST", "/v1/embeddings").key(&key).json(&body);
    call.send().await.denied(403, "permission_error");
    let body = stack.folder().join("body.json");
    std::fs::write(&body, chat_body("gpt-4o-mini").to_string()).unwrap();
    let header = format!("Authorization: Bearer {}", key.secret);
    let report = stack.command_json(&["check", "--header", &header, "--body", body.to_str().unwrap()]).to_string();
    assert!(report.contains("nothing-passes would refuse, if it were in force"), "{report}");
    let log = stack.tollward().log();
    assert!(log.contains("cannot-be-evaluated") && log.contains("would be refused, passes: shadow"), "{log}");
    assert!(!log.contains(&key.secret));
}

#[tokio::test]
async fn where_something_is_allowed_everything_else_is_refused() {
    let stack = Stack::start(rules(&json!([
        {"name": "management", "effect": "allow", "when": "request.api == 'not_model' && caller.role == 'proxy_admin'"},
        {"name": "own-end-users", "effect": "allow", "when": "request.end_user.startsWith('acme-')"},
    ])));
    let key = stack.key(json!({})).await;
    let mut body = chat_body("gpt-4o-mini");
    stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await.denied(403, "permission_error");
    body["user"] = json!("acme-7");
    stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await.allowed();
}

#[test]
fn a_bad_expression_is_an_error_at_start_that_names_its_place() {
    let stack = Stack::start(Options { filters: Filters::NoEnvoy, ..Options::default() });
    let mut config = stack.config();
    config["policy"] = json!({"rules": [{"name": "a", "effect": "deny", "when": "caller.rol == 'x'"}]});
    let path = stack.folder().join("bad.yaml");
    std::fs::write(&path, config.to_string()).unwrap();
    for command in [&["serve", "--config"][..], &["config", "validate", "--config"]] {
        let mut arguments = command.to_vec();
        arguments.push(path.to_str().unwrap());
        let output = run(&arguments, &[]);
        let told = text(&output);
        assert!(!output.status.success(), "{told}");
        let expected = "policy.rules[0].when: at 1:7 of the expression: caller has no field rol; it has method, role,";
        assert!(told.contains(expected) && told.contains("bad.yaml:1:"), "{told}");
    }
}
