//! Standard tools against the gRPC port: grpcurl finds the services by reflection and asks for a decision.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::call::chat_body;
use support::{Value, json, shared};

/// Runs grpcurl against the shared gate; what it printed.
fn grpcurl(arguments: &[&str], input: &str, target: &[&str]) -> String {
    let mut command = Command::new(support::stack::tool("grpcurl"));
    command.arg("-plaintext").args(arguments).arg(format!("127.0.0.1:{}", shared().ports.grpc)).args(target);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn the_services_are_listed() {
    let list = grpcurl(&[], "", &["list"]);
    for service in
        ["envoy.service.auth.v3.Authorization", "envoy.service.ext_proc.v3.ExternalProcessor", "grpc.health.v1.Health"]
    {
        assert!(list.contains(service), "{list}");
    }
}

#[test]
fn messages_are_described() {
    let said = grpcurl(&[], "", &["describe", "envoy.service.auth.v3.CheckRequest"]);
    assert!(said.contains("AttributeContext"), "{said}");
}

#[test]
fn the_gate_is_healthy() {
    let said = grpcurl(&["-d", "{}"], "", &["grpc.health.v1.Health/Check"]);
    assert!(said.contains("SERVING"), "{said}");
}

#[tokio::test]
async fn the_same_decision_is_given_to_whoever_asks() {
    let key = shared().key(json!({"models": ["gpt-4o-mini"]})).await;
    let ask = |model: &str| -> Value {
        let request = json!({"attributes": {"request": {"http": {
            "method": "POST",
            "path": "/v1/chat/completions",
            "headers": {"authorization": format!("Bearer {}", key.secret), "content-type": "application/json"},
            "body": chat_body(model).to_string(),
        }}}});
        let target = ["envoy.service.auth.v3.Authorization/Check"];
        serde_json::from_str(&grpcurl(&["-d", "@"], &request.to_string(), &target)).unwrap()
    };
    let allowed = ask("gpt-4o-mini");
    assert!(allowed["okResponse"].is_object(), "{allowed}");
    let denied = ask("gpt-4o");
    assert_eq!(denied["deniedResponse"]["status"]["code"], "Forbidden", "{denied}");
    let body: Value = serde_json::from_str(denied["deniedResponse"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["error"]["type"], "key_model_access_denied");
}
