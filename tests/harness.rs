//! The harness itself: what the other tests believe of the upstream and of Envoy.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::json;
use support::upstream::Upstream;

#[tokio::test]
async fn the_upstream_tells_what_reached_it_and_answers_as_it_is_steered() {
    let upstream = Upstream::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, recorder) = (upstream.address().unwrap(), upstream.recorder());
    tokio::spawn(upstream.serve());
    let answer = support::call::client()
        .post(format!("http://{address}/v1/chat/completions"))
        .header("x-upstream-usage", "7,9")
        .header("x-case", "a")
        .json(&json!({"model": "m"}))
        .send()
        .await
        .unwrap();
    let body: support::Value = answer.json().await.unwrap();
    assert_eq!(body["usage"]["prompt_tokens"], 7);
    assert_eq!(body["usage"]["completion_tokens"], 9);
    let received = recorder.with_header("x-case", "a");
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].json()["model"], "m");
}

#[tokio::test]
async fn a_held_back_answer_comes_when_its_gate_opens() {
    let upstream = Upstream::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, recorder) = (upstream.address().unwrap(), upstream.recorder());
    tokio::spawn(upstream.serve());
    let request = support::call::client()
        .post(format!("http://{address}/v1/embeddings"))
        .header("x-upstream-hold", "gate")
        .header("x-case", "held")
        .json(&json!({}))
        .send();
    let request = tokio::spawn(request);
    support::eventually("the request arrives", || async {
        if recorder.with_header("x-case", "held").is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    })
    .await;
    assert!(!request.is_finished());
    recorder.release("gate");
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
}

#[test]
fn envoy_accepts_the_files_that_are_shipped() {
    for file in ["deploy/envoy/envoy.yaml", "deploy/envoy/envoy-observe-only.yaml"] {
        let output = std::process::Command::new(support::stack::tool("envoy"))
            .args(["--mode", "validate", "--log-level", "warning", "--config-path", file])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("deprecated"), "{file}: {said}");
    }
}
