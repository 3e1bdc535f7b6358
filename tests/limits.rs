//! Requests, tokens and calls in flight (rows 83 to 93 of the conformance list), and what clients are told of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::{chat_body, client};
use support::{Answer, Key, Options, Stack, Value, eventually, json, shared, unique};

/// A refusal by a rate limit, with all a client needs to come back at the right time.
#[track_caller]
fn limited(answer: &Answer) -> u64 {
    answer.denied(429, "rate_limit_error");
    let wait = answer.header("retry-after").expect("retry-after").parse::<u64>().expect("whole seconds");
    assert!((1..=61).contains(&wait), "a minute at most: {wait}");
    wait
}

#[tokio::test]
async fn requests_a_minute_bind_at_every_scope() {
    let stack = shared();
    // Rows 83 and 85. Three pass, the fourth does not.
    let org_user = stack.user(json!({"rpm_limit": 3})).await;
    let team = stack.team(json!({"rpm_limit": 3})).await;
    let tagged = stack.key(json!({"tag_rpm_limit": {"blue": 3}})).await;
    #[rustfmt::skip]
    let rows: Vec<(&str, Key)> = vec![
        ("key", stack.key(json!({"rpm_limit": 3})).await),
        ("user", stack.key(json!({"user_id": org_user})).await),
        ("team", stack.key(json!({"team_id": team})).await),
        ("model of a key", stack.key(json!({"model_rpm_limit": {"gpt-4o-mini": 3}})).await),
        ("tag of a key", tagged.clone()),
    ];
    for (name, key) in rows {
        let call = || {
            let call = stack.chat(&key);
            if key.alias == tagged.alias { call.header("x-litellm-tags", "blue") } else { call }
        };
        for turn in 1..=3 {
            let answer = call().send().await;
            assert_eq!(answer.status, 200, "{name}, request {turn}: {}", answer.text());
        }
        limited(&call().send().await);
    }
}

#[tokio::test]
async fn more_tags_than_can_be_accounted_are_refused_and_hold_nothing() {
    let stack = shared();
    // Each stands in limits, accounts and parties, and a colon is written with three letters.
    let tags: Vec<String> = (0..128).map(|n| format!("{}{n}", ":".repeat(250))).collect();
    for tag in &tags {
        stack.manage("POST", "/tag/new", json!({"name": tag, "rpm_limit": 1_000_000, "max_budget": 1_000})).await;
    }
    let of_key: serde_json::Map<String, Value> = tags.iter().map(|tag| (tag.clone(), json!(1_000_000))).collect();
    let key = stack.key(json!({"max_parallel_requests": 1, "tag_rpm_limit": of_key})).await;
    let call = |tags: &[String]| {
        let mut body = chat_body("gpt-4o-mini");
        body["metadata"] = json!({"tags": tags});
        stack.call("POST", "/v1/chat/completions").key(&key).json(&body)
    };
    for _ in 0..2 {
        let answer = call(&tags).send().await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.message().starts_with("Too many tags"), "{}", answer.text());
    }
    call(&tags[..2]).send().await.allowed();
}

#[tokio::test]
async fn a_limit_on_one_model_leaves_the_others() {
    let stack = shared();
    let key = stack.key(json!({"model_rpm_limit": {"gpt-4o": 1}})).await;
    stack.chat_with(&key, "gpt-4o").send().await.allowed();
    limited(&stack.chat_with(&key, "gpt-4o").send().await);
    stack.chat_with(&key, "gpt-4o-mini").send().await.allowed();
}

#[tokio::test]
async fn keys_of_one_team_share_its_limit() {
    let stack = shared();
    let team = stack.team(json!({"rpm_limit": 2})).await;
    let (a, b) = (stack.key(json!({"team_id": team})).await, stack.key(json!({"team_id": team})).await);
    stack.chat(&a).send().await.allowed();
    stack.chat(&b).send().await.allowed();
    limited(&stack.chat(&a).send().await);
    limited(&stack.chat(&b).send().await);
}

#[tokio::test]
async fn a_refused_request_consumes_nothing() {
    let stack = shared();
    // The team's limit refuses, so the key's own must stay whole.
    let team = stack.team(json!({"rpm_limit": 5})).await;
    let other = stack.key(json!({"team_id": team})).await;
    let key = stack.key(json!({"team_id": team, "rpm_limit": 5})).await;
    for _ in 0..5 {
        stack.chat(&other).send().await.allowed();
    }
    for _ in 0..7 {
        limited(&stack.chat(&key).send().await);
    }
    stack.manage("POST", "/key/update", json!({"key": key.secret, "team_id": null})).await;
    eventually("the key leaves the team", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    for turn in 2..=5 {
        let answer = stack.chat(&key).send().await;
        assert_eq!(answer.status, 200, "request {turn} of five: {}", answer.text());
    }
    limited(&stack.chat(&key).send().await);
}

#[tokio::test]
async fn tokens_a_minute_are_held_before_and_corrected_after_the_call() {
    let stack = shared();
    let team = stack.team(json!({"tpm_limit": 1000})).await;
    let user = stack.user(json!({"tpm_limit": 1000})).await;
    let rows: Vec<(&str, Key)> = vec![
        ("key", stack.key(json!({"tpm_limit": 1000})).await),
        ("team", stack.key(json!({"team_id": team})).await),
        ("user", stack.key(json!({"user_id": user})).await),
        ("model of a key", stack.key(json!({"model_tpm_limit": {"gpt-4o-mini": 1000}})).await),
    ];
    for (name, key) in rows {
        // Twenty held, 990 used: what is left does not carry another twenty.
        stack.chat(&key).usage(900, 90).send().await.allowed();
        eventually(&format!("{name}: the true count is charged"), || async {
            let answer = stack.chat(&key).usage(0, 0).send().await;
            if answer.status == 429 { Ok(answer) } else { Err(format!("{}", answer.status)) }
        })
        .await
        .denied(429, "rate_limit_error");
    }
}

#[tokio::test]
async fn a_surplus_of_held_tokens_comes_back() {
    let stack = shared();
    // Each call holds 400 of 1,000 and uses 2: without a return the third would fail.
    let key = stack.key(json!({"tpm_limit": 1000})).await;
    let mut body = chat_body("gpt-4o-mini");
    body["max_tokens"] = json!(400);
    let call = || stack.call("POST", "/v1/chat/completions").key(&key).json(&body).usage(1, 1);
    for turn in 1..=10 {
        eventually(&format!("call {turn} passes"), || async {
            let answer = call().send().await;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
}

#[tokio::test]
async fn a_request_larger_than_its_limit_is_never_admissible() {
    let stack = shared();
    let key = stack.key(json!({"tpm_limit": 100})).await;
    let mut body = chat_body("gpt-4o-mini");
    body["max_tokens"] = json!(5000);
    let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await;
    answer.denied(429, "rate_limit_error");
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
}

#[tokio::test]
async fn a_limit_of_zero_admits_nobody_at_any_scope() {
    let stack = shared();
    // Row 90.
    for limit in ["rpm_limit", "tpm_limit", "max_parallel_requests"] {
        let zero = json!({limit: 0});
        let team = stack.team(zero.clone()).await;
        let user = stack.user(zero.clone()).await;
        let rows = [("key", zero.clone()), ("team", json!({"team_id": team})), ("user", json!({"user_id": user}))];
        for (name, attributes) in rows {
            let key = stack.key(attributes).await;
            for turn in 1..=2 {
                let answer = stack.chat(&key).send().await;
                answer.denied(429, "rate_limit_error");
                let again = answer.header("x-should-retry");
                assert_eq!(again.as_deref(), Some("false"), "{limit} of a {name}, request {turn}");
            }
        }
    }
    let of_model = stack.key(json!({"model_rpm_limit": {"gpt-4o-mini": 0}})).await;
    stack.chat(&of_model).send().await.denied(429, "rate_limit_error");
    stack.chat_with(&of_model, "gpt-4o").send().await.allowed();
}

#[tokio::test]
async fn a_request_without_an_output_cap_fits_a_small_limit_once() {
    let stack = shared();
    let uncapped = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]});
    let key = stack.key(json!({"tpm_limit": 20})).await;
    let call = || stack.call("POST", "/v1/chat/completions").key(&key).json(&uncapped).usage(10, 20);
    call().send().await.allowed();
    // What it was is charged when it is known, past the limit.
    eventually("the next one is refused", || async {
        let answer = call().send().await;
        if answer.status == 429 { Ok(()) } else { Err(format!("it was answered {}", answer.status)) }
    })
    .await;
}

#[tokio::test]
async fn what_counts_as_tokens_is_configured() {
    // Row 86: the usage is 600 in, 300 out; the limit is 700.
    for (kind, second_passes) in [("input", true), ("output", true), ("total", false)] {
        let stack = Stack::start(Options::config(json!({"general_settings": {"token_rate_limit_type": kind}})));
        let key = stack.key(json!({"tpm_limit": 700})).await;
        stack.chat(&key).usage(600, 300).send().await.allowed();
        stack.wait_spend(&key, support::cost(600, 300)).await;
        let answer = stack.chat(&key).usage(1, 1).send().await;
        assert_eq!(answer.status == 200, second_passes, "{kind}: {}", answer.text());
    }
}

#[tokio::test]
async fn calls_in_flight_are_bounded() {
    let stack = shared();
    // Rows 88 and 91.
    let team = stack.team(json!({"max_parallel_requests": 1})).await;
    let user = stack.user(json!({"max_parallel_requests": 1})).await;
    let rows = [
        ("key", stack.key(json!({"max_parallel_requests": 1, "rpm_limit": 3})).await),
        ("team", stack.key(json!({"team_id": team, "rpm_limit": 3})).await),
        ("user", stack.key(json!({"user_id": user, "rpm_limit": 3})).await),
    ];
    for (name, key) in rows {
        let gate = unique("gate");
        let first = tokio::spawn(stack.chat(&key).header("x-first", &gate).held_back(&gate).send());
        eventually("the first call is at the upstream", || async {
            if stack.upstream.with_header("x-first", &gate).is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
        })
        .await;
        for _ in 0..5 {
            let answer = stack.chat(&key).send().await;
            answer.denied(429, "rate_limit_error");
            assert!(answer.header("retry-after").is_some(), "{name}");
        }
        stack.upstream.release(&gate);
        assert_eq!(first.await.unwrap().status, 200, "{name}");
        // The refused ones took none of the three requests a minute.
        for turn in 2..=3 {
            let answer = stack.chat(&key).send().await;
            assert_eq!(answer.status, 200, "{name}, request {turn}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_thousand_calls_one_after_another_are_never_parallel() {
    let stack = shared();
    let key = stack.key(json!({"max_parallel_requests": 1})).await;
    let http = client();
    for turn in 1..=1_000 {
        let answer = stack.chat(&key).through(&http).send().await;
        assert_eq!(answer.status, 200, "call {turn}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_admits_exactly_the_limit() {
    let stack = shared();
    let key = stack.key(json!({"rpm_limit": 25})).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        calls.spawn(stack.chat(&key).send());
    }
    let statuses: Vec<u16> = calls.join_all().await.into_iter().map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 25, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 75, "{statuses:?}");
}

#[tokio::test]
async fn a_caller_who_waits_as_told_gets_in() {
    let stack = shared();
    let key = stack.key(json!({"rpm_limit": 1})).await;
    stack.chat(&key).send().await.allowed();
    let wait = limited(&stack.chat(&key).send().await);
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    stack.chat(&key).send().await.allowed();
}

#[tokio::test]
async fn success_tells_how_much_is_left() {
    let stack = shared();
    let key = stack.key(json!({"rpm_limit": 10, "tpm_limit": 10_000})).await;
    let answer = stack.chat(&key).send().await;
    answer.allowed();
    let number = |name: &str| -> u64 {
        let value = answer.header(name).unwrap_or_else(|| panic!("{name} in {:?}", answer.headers));
        value.parse().unwrap_or_else(|_| panic!("{name}: {value}"))
    };
    // Ours replace what the upstream said of its own limits (7).
    assert_eq!(number("x-ratelimit-limit-requests"), 10);
    assert_eq!(number("x-ratelimit-remaining-requests"), 9);
    assert_eq!(number("x-ratelimit-limit-tokens"), 10_000);
    assert!(number("x-ratelimit-remaining-tokens") < 10_000);
    assert!(answer.header("x-ratelimit-reset-requests").is_some());
    assert!(
        answer.header("ratelimit").is_some() && answer.header("ratelimit-policy").is_some(),
        "{:?}",
        answer.headers
    );
    assert!(answer.header("x-tollward-request-id").is_some());
}

#[tokio::test]
async fn limits_follow_an_update_at_once() {
    let stack = shared();
    let key = stack.key(json!({"rpm_limit": 1})).await;
    stack.chat(&key).send().await.allowed();
    limited(&stack.chat(&key).send().await);
    stack.manage("POST", "/key/update", json!({"key": key.secret, "rpm_limit": 5})).await;
    eventually("the new limit holds", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test]
async fn a_body_written_by_a_client_does_not_choose_its_limits() {
    let stack = shared();
    let key = stack.key(json!({"tpm_limit": 1000})).await;
    for (field, value) in
        [("max_tokens", json!(-1)), ("n", json!(-5)), ("max_tokens", json!("many")), ("n", json!(1e300))]
    {
        let mut body: Value = chat_body("gpt-4o-mini");
        body[field] = value.clone();
        let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await;
        assert!(matches!(answer.status, 200 | 400 | 429), "{field}: {value}: {}", answer.status);
    }
}
