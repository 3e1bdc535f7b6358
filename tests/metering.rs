//! What a call is booked at: usage read from every API's answers, priced to the nano-dollar, written once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::{Filters, Key, Options, Stack, Value, cost, eventually, json, shared, unique};

/// Prices of the test configuration, dollars a token.
const CLAUDE: (f64, f64) = (3e-6, 1.5e-5);
const GEMINI: (f64, f64) = (1e-7, 4e-7);
const MINI: (f64, f64) = (1.5e-7, 6e-7);
const EMBEDDING: (f64, f64) = (2e-8, 0.0);

fn messages(stream: bool) -> Value {
    json!({"model": "claude-3-5-sonnet", "max_tokens": 50, "stream": stream,
           "messages": [{"role": "user", "content": "Hello"}]})
}

fn chat(stream: bool) -> Value {
    let mut body = chat_body("gpt-4o-mini");
    body["stream"] = json!(stream);
    body
}

#[tokio::test]
async fn usage_is_read_from_every_api() {
    let stack = shared();
    let contents = json!({"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 50}});
    let turns =
        json!({"messages": [{"role": "user", "content": [{"text": "Hello"}]}], "inferenceConfig": {"maxTokens": 50}});
    let responses =
        |stream: bool| json!({"model": "gpt-4o-mini", "input": "Hello", "stream": stream, "max_output_tokens": 50});
    let completion = json!({"model": "gpt-4o-mini", "prompt": "Hello", "max_tokens": 50});
    #[rustfmt::skip]
    let rows: Vec<(&str, &str, Value, (f64, f64))> = vec![
        ("chat", "/v1/chat/completions", chat(false), MINI),
        ("chat, streamed", "/v1/chat/completions", chat(true), MINI),
        ("chat, Azure's path", "/openai/deployments/gpt-4o-mini/chat/completions", chat(false), MINI),
        ("completions", "/v1/completions", completion, MINI),
        ("responses", "/v1/responses", responses(false), MINI),
        ("responses, events", "/v1/responses", responses(true), MINI),
        ("embeddings", "/v1/embeddings", json!({"model": "text-embedding-3-small", "input": "Hello"}), EMBEDDING),
        ("Anthropic", "/v1/messages", messages(false), CLAUDE),
        ("Anthropic, streamed, two reports", "/v1/messages", messages(true), CLAUDE),
        ("Gemini", "/v1beta/models/gemini-2.0-flash:generateContent", contents.clone(), GEMINI),
        ("Gemini, an array", "/v1beta/models/gemini-2.0-flash:streamGenerateContent", contents.clone(), GEMINI),
        ("Gemini, events", "/v1beta/models/gemini-2.0-flash:streamGenerateContent?alt=sse", contents, GEMINI),
        ("Bedrock", "/model/gpt-4o-mini/converse", turns.clone(), MINI),
        ("Bedrock, event stream", "/model/gpt-4o-mini/converse-stream", turns, MINI),
    ];
    for (name, path, body, (input, output)) in rows {
        let key = stack.key(json!({"key_alias": unique(&name.replace([' ', ',', '\''], "-"))})).await;
        let answer = stack.call("POST", path).key(&key).json(&body).usage(1234, 567).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        stack.wait_spend(&key, 1234.0 * input + 567.0 * output).await;
    }
}

#[tokio::test]
async fn encoded_answers_are_read_too() {
    let stack = shared();
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        for stream in [false, true] {
            let alias = unique(&format!("{encoding}-streamed-{stream}"));
            let key = stack.key(json!({"key_alias": alias})).await;
            let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(stream));
            let answer = call.usage(321, 123).header("x-upstream-encoding", encoding).send().await;
            assert_eq!(answer.header("content-encoding").as_deref(), Some(encoding), "the client gets it as it came");
            stack.wait_spend(&key, cost(321, 123)).await;
        }
    }
}

#[tokio::test]
async fn the_gate_asks_for_usage_that_the_client_did_not_ask_for() {
    let stack = shared();
    let key = stack.plain_key().await;
    let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(true)).send().await;
    let sent = answer.allowed().json();
    assert_eq!(sent["stream_options"]["include_usage"], json!(true), "{sent}");
    assert_eq!(sent["messages"], chat(true)["messages"], "the rest is left alone");
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let mut other = chat(true);
    other["stream_options"] = json!({"include_usage": false, "other": 1});
    let sent = stack.call("POST", "/v1/chat/completions").key(&key).json(&other).send().await.allowed().json();
    assert_eq!(sent["stream_options"], json!({"include_usage": true, "other": 1}));
    // What is not streamed is not touched.
    let sent = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(false)).send().await.allowed();
    assert_eq!(sent.json(), chat(false));
}

/// Money held for the call and given back: waits until the hold is gone by waiting for the booking.
async fn booked(stack: &Stack, key: &Key) -> f64 {
    stack.wait_any_spend(key).await
}

#[tokio::test]
async fn a_stream_without_usage_is_charged_by_estimate() {
    let stack = shared();
    let key = stack.plain_key().await;
    let call = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(true));
    let answer = call.header("x-upstream-usage", "none").header("x-upstream-chunks", "40").send().await;
    answer.allowed();
    let spend = booked(stack, &key).await;
    // Forty words of five letters, some twenty bytes of prompt: between a token a word and one a letter.
    assert!(spend >= cost(1, 20) && spend <= cost(200, 400), "{spend}");
}

#[tokio::test]
async fn an_error_of_the_upstream_costs_nothing_and_keeps_its_request() {
    let stack = shared();
    let key = stack.key(json!({"rpm_limit": 3, "max_budget": 1.0})).await;
    for status in ["500", "429", "400"] {
        let answer = stack.chat(&key).header("x-upstream-status", status).send().await;
        assert_eq!(answer.status.to_string(), status, "the upstream's answer is the client's");
    }
    // Three requests were made.
    stack.chat(&key).send().await.denied(429, "rate_limit_error");
    assert_eq!(stack.spend(&key).await, 0.0);
    stack.verify_ledger();
}

#[tokio::test]
async fn a_call_is_booked_on_all_who_pay_for_it() {
    let stack = shared();
    let user = stack.user(json!({})).await;
    let team = stack.team(json!({})).await;
    let key = stack.key(json!({"team_id": team, "user_id": user})).await;
    for _ in 0..3 {
        stack.chat(&key).usage(100, 200).send().await.allowed();
    }
    stack.wait_spend(&key, 3.0 * cost(100, 200)).await;
    eventually("the team has paid", || async {
        let info = stack.manage("GET", &format!("/team/info?team_id={team}"), Value::Null).await;
        let spend = info["team_info"]["spend"].as_f64().unwrap_or(-1.0);
        if (spend - 3.0 * cost(100, 200)).abs() < 5e-10 { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
    eventually("the user has paid", || async {
        let info = stack.manage("GET", &format!("/user/info?user_id={user}"), Value::Null).await;
        let spend = info["user_info"]["spend"].as_f64().unwrap_or(-1.0);
        if (spend - 3.0 * cost(100, 200)).abs() < 5e-10 { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
    stack.verify_ledger();
}

#[tokio::test]
async fn more_than_was_held_is_charged_in_full() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 0.01})).await;
    stack.chat(&key).usage(10_000, 100_000).send().await.allowed();
    stack.wait_spend(&key, cost(10_000, 100_000)).await;
    stack.chat(&key).send().await.denied(429, "budget_exceeded");
}

#[tokio::test]
async fn listing_models_costs_nothing() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let answer = stack.call("GET", "/v1/models").key(&key).send().await;
    assert_eq!(answer.status, 200);
    let answer = stack.call("POST", "/v1/messages/count_tokens").key(&key).json(&messages(false)).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // A priced call behind them shows that everything before it is booked.
    stack.chat(&key).usage(10, 10).send().await.allowed();
    stack.wait_spend(&key, cost(10, 10)).await;
}

#[tokio::test]
async fn what_cannot_be_metered_is_closed_to_callers_with_limits() {
    let stack = shared();
    let limited = stack.key(json!({"max_budget": 1.0})).await;
    let free = stack.plain_key().await;
    let path = "/v1/realtime/client_secrets";
    let body = json!({"session": {"model": "gpt-4o-mini"}});
    let answer = stack.call("POST", path).key(&limited).json(&body).send().await;
    assert!(matches!(answer.status, 403 | 503), "{} {}", answer.status, answer.text());
    assert!(answer.received().is_none());
    let answer = stack.call("POST", path).key(&free).json(&body).send().await;
    assert!(answer.received().is_some(), "{} {}", answer.status, answer.text());
}

#[tokio::test]
async fn a_gate_whose_meter_is_off_gives_no_free_rides() {
    let stack = Stack::start(Options { filters: Filters::NoMeter, ..Options::default() });
    let key = stack.key(json!({"max_budget": 10.0})).await;
    let free = stack.plain_key().await;
    // A hold that no meter starts ends thirty seconds after its admission; then the gate knows.
    let wait = std::time::Duration::from_secs(90);
    let refused = tokio::time::timeout(wait, first_503(&stack, &key)).await.expect("callers under a budget get 503");
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    stack.chat(&free).send().await.allowed();
    // What passed before is not free either: it is booked by estimate.
    assert!(stack.wait_any_spend(&key).await > 0.0);
    stack.verify_ledger();
}

/// Calls until the first 503.
async fn first_503(stack: &Stack, key: &Key) -> support::Answer {
    loop {
        let answer = stack.chat(key).send().await;
        if answer.status == 503 {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn without_the_answering_filter_the_meter_still_books() {
    let stack = Stack::start(Options { filters: Filters::ObserveOnly, ..Options::default() });
    let key = stack.plain_key().await;
    let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&chat(true)).send().await;
    assert!(answer.allowed().json().get("stream_options").is_none(), "nothing is rewritten");
    stack.wait_any_spend(&key).await;
    let key = stack.plain_key().await;
    stack.chat(&key).usage(77, 33).send().await.allowed();
    stack.wait_spend(&key, cost(77, 33)).await;
}

#[tokio::test]
async fn prices_come_from_a_file_and_a_broken_one_changes_nothing() {
    let stack = Stack::start(Options::default());
    let path = stack.folder().join("prices.json");
    let price = |input: f64| {
        json!({"acme/priced-by-file": {"input_cost_per_token": input, "output_cost_per_token": 0.0,
        "litellm_provider": "acme", "mode": "chat"}})
    };
    std::fs::write(&path, price(1e-6).to_string()).unwrap();
    let mut config = stack.config();
    config["metering"] = json!({"price_map": path});
    stack.write_config(&config);
    eventually("the file is read", || async {
        let key = stack.plain_key().await;
        let answer = stack.chat_with(&key, "acme/priced-by-file").usage(1000, 0).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let key = stack.plain_key().await;
    stack.chat_with(&key, "acme/priced-by-file").usage(1000, 0).send().await.allowed();
    stack.wait_spend(&key, 0.001).await;
    let before = stack.metric("tollward_price_map_reloads_total{result=\"failed\"}");
    std::fs::write(&path, "{\"acme/priced-by-file\": {\"input_cost_per_token\": \"free\"}}").unwrap();
    eventually("the trouble is counted", || async {
        if stack.metric("tollward_price_map_reloads_total{result=\"failed\"}") > before {
            Ok(())
        } else {
            Err("no metric yet".to_owned())
        }
    })
    .await;
    let key = stack.plain_key().await;
    stack.chat_with(&key, "acme/priced-by-file").usage(1000, 0).send().await.allowed();
    stack.wait_spend(&key, 0.001).await;
}
