//! Money: hard budgets at every scope, held before and settled after the call (rows 69 to 82 of the conformance list).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::{chat_body, client};
use support::{
    Answer, Call, INPUT_PRICE, Key, OUTPUT_PRICE, Options, Stack, Value, cost, eventually, json, shared, unique,
};

/// Waits until the call is refused because money is spent.
async fn soon_spent(what: &str, call: impl Fn() -> Call) -> Answer {
    eventually(what, || {
        let call = call();
        async move {
            let answer = call.send().await;
            if answer.kind() == "budget_exceeded" {
                Ok(answer)
            } else {
                Err(format!("{}: {}", answer.status, answer.text()))
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_spent_budget_refuses_at_every_scope() {
    let stack = shared();
    // Rows 69 to 73. One call costs 1.35 thousandths of a dollar, the budget is one.
    let team = stack.team(json!({"max_budget": 0.001})).await;
    let user = stack.user(json!({"max_budget": 0.001})).await;
    let windows =
        json!([{"budget_duration": "1d", "max_budget": 0.001}, {"budget_duration": "30d", "max_budget": 1.0}]);
    let months = json!([{"budget_duration": "1d", "max_budget": 1.0}, {"budget_duration": "30d", "max_budget": 0.001}]);
    let rows: Vec<(&str, Key)> = vec![
        ("key", stack.key(json!({"max_budget": 0.001})).await),
        ("key, a day", stack.key(json!({"max_budget": 0.001, "budget_duration": "1d"})).await),
        ("key, the daily window of two", stack.key(json!({"budget_limits": windows})).await),
        ("key, the monthly window of two", stack.key(json!({"budget_limits": months})).await),
        ("team", stack.key(json!({"team_id": team})).await),
        ("user", stack.key(json!({"user_id": user})).await),
        (
            "model of a key",
            stack
                .key(json!({"model_max_budget": {"gpt-4o-mini": {"max_budget": 0.001, "budget_duration": "1d"}}}))
                .await,
        ),
    ];
    for (name, key) in rows {
        let answer = stack.chat(&key).usage(1000, 2000).send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let answer = soon_spent(name, || stack.chat(&key)).await;
        assert_eq!(answer.status, 429, "{name}");
        assert!(answer.received().is_none(), "{name}");
        let message = answer.message();
        assert!(!message.contains(&key.secret) && !message.contains(&key.token), "{name}: {message}");
    }
}

#[tokio::test]
async fn end_users_and_tags_and_organizations_have_budgets() {
    let stack = shared();
    // Made on the command line: their HTTP paths come later.
    let budget = unique("budget");
    stack.command_json(&["budget", "create", "--id", &budget, "--max-budget", "0.001"]);
    let config = json!({"litellm_settings": {"max_end_user_budget_id": budget}});
    let mut whole = stack.config();
    whole["litellm_settings"] = config["litellm_settings"].clone();
    stack.write_config(&whole);
    let key = stack.plain_key().await;
    let call = |end_user: &str| {
        let mut body = chat_body("gpt-4o-mini");
        body["user"] = json!(end_user);
        stack.call("POST", "/v1/chat/completions").key(&key).json(&body)
    };
    let spender = unique("customer");
    eventually("the customer runs out of money", || {
        let call = call(&spender).usage(1000, 2000);
        async move {
            let answer = call.send().await;
            if answer.kind() == "budget_exceeded" { Ok(()) } else { Err(answer.text()) }
        }
    })
    .await;
    call(&unique("other-customer")).send().await.allowed();
}

#[tokio::test]
async fn a_team_member_has_a_share_that_follows_him_over_keys() {
    let stack = shared();
    let user = stack.user(json!({})).await;
    let team = stack
        .team(json!({"team_member_budget": 0.001, "members_with_roles": [{"user_id": user, "role": "user"}]}))
        .await;
    let first = stack.key(json!({"team_id": team, "user_id": user})).await;
    let second = stack.key(json!({"team_id": team, "user_id": user})).await;
    stack.chat(&first).usage(1000, 2000).send().await.allowed();
    soon_spent("row 73: his other key", || stack.chat(&second)).await;
    // Row 74: a team key of nobody has no member's budget.
    let nobody = stack.key(json!({"team_id": team})).await;
    stack.chat(&nobody).send().await.allowed();
}

#[tokio::test]
async fn a_users_budget_binds_team_keys_only_where_configured() {
    for apply in [false, true] {
        let config = json!({"general_settings": {"apply_user_budget_to_team_keys": apply}});
        let stack = Stack::start(Options::config(config));
        let user = stack.user(json!({"max_budget": 0.001})).await;
        let team = stack.team(json!({})).await;
        let personal = stack.key(json!({"user_id": user})).await;
        let of_team = stack.key(json!({"user_id": user, "team_id": team})).await;
        stack.chat(&personal).usage(1000, 2000).send().await.allowed();
        soon_spent("row 71: a personal key", || stack.chat(&personal)).await;
        let answer = stack.chat(&of_team).send().await;
        assert_eq!(answer.status, if apply { 429 } else { 200 }, "row 71: {}", answer.text());
    }
}

#[tokio::test]
async fn the_whole_gate_has_a_budget() {
    let config = json!({"litellm_settings": {"max_budget": 0.001, "budget_duration": "30d"}});
    let stack = Stack::start(Options::config(config));
    let (a, b) = (stack.plain_key().await, stack.plain_key().await);
    stack.chat(&a).usage(1000, 2000).send().await.allowed();
    soon_spent("another key", || stack.chat(&b)).await;
}

#[tokio::test]
async fn a_soft_budget_never_refuses_and_says_so_once() {
    let stack = shared();
    let key = stack.key(json!({"soft_budget": 0.001})).await;
    for _ in 0..3 {
        stack.chat(&key).usage(1000, 2000).send().await.allowed();
    }
    stack.wait_spend(&key, 3.0 * cost(1000, 2000)).await;
    // No other test of this file has a soft budget.
    let passed = || stack.metric("tollward_soft_budgets_passed_total");
    eventually("it is counted", || async {
        stack.chat(&key).send().await.allowed();
        if passed() > 0.0 { Ok(()) } else { Err("no event yet".to_owned()) }
    })
    .await;
    for _ in 0..3 {
        stack.chat(&key).send().await.allowed();
    }
    assert_eq!(passed(), 1.0, "row 70: once a period");
    let log = stack.tollward().log();
    let events = log.lines().filter(|line| line.contains("soft budget")).count();
    assert_eq!(events, 1, "row 70: one event a period: {log}");
}

#[tokio::test]
async fn a_spent_budget_still_lets_models_be_listed() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 0.0})).await;
    stack.chat(&key).send().await.denied(429, "budget_exceeded");
    // Row 82.
    let answer = stack.call("GET", "/v1/models").key(&key).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_model_that_is_free_on_purpose_is_not_charged() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 0.0})).await;
    // Row 76.
    stack.chat_with(&key, "free-model").usage(1000, 1000).send().await.allowed();
    stack.chat_with(&key, "gpt-4o-mini").send().await.denied(429, "budget_exceeded");
}

#[tokio::test]
async fn a_model_without_a_price_does_not_slip_past_a_spent_budget() {
    let unpriced = "nobody/knows-this-model";
    let price = json!({"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6});
    // Row 75. By default nobody may use it, since its use could not be accounted.
    let no_price = (403, "model_cost_map_missing");
    let rows = [
        (json!("deny"), no_price, no_price),
        (json!("zero"), (200, ""), (429, "budget_exceeded")),
        (price, (200, ""), (429, "budget_exceeded")),
    ];
    for (setting, with_money, without) in rows {
        let stack = Stack::start(Options::config(json!({"metering": {"unknown_model": setting}})));
        let key = stack.key(json!({"max_budget": 0.001})).await;
        let answer = stack.chat_with(&key, unpriced).usage(1, 1).send().await;
        assert_eq!((answer.status, answer.kind().as_str()), with_money, "{setting}: {}", answer.text());
        stack.chat(&key).usage(1000, 2000).send().await.allowed();
        soon_spent("the budget is spent", || stack.chat(&key)).await;
        let answer = stack.chat_with(&key, unpriced).send().await;
        assert_eq!((answer.status, answer.kind().as_str()), without, "{setting}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_budget_for_one_model_binds_those_who_may_do_everything() {
    let stack = shared();
    // Row 77: no role and no cached key is a way around it.
    let budget = json!({"gpt-4o-mini": {"max_budget": 0.001, "budget_duration": "1d"}});
    let admin = stack.user(json!({"user_role": "proxy_admin"})).await;
    let of_admin = stack.key(json!({"user_id": admin})).await;
    let of_admin_with_budget = stack.key(json!({"user_id": admin, "model_max_budget": budget})).await;
    let customers = [unique("customer"), unique("customer"), unique("customer")];
    for customer in &customers[..2] {
        stack.manage("POST", "/customer/new", json!({"user_id": customer, "model_max_budget": budget})).await;
    }
    let rows = [
        ("the master key for an end user", support::MASTER, &customers[0]),
        ("an admin's key for an end user", &of_admin.secret, &customers[1]),
        ("an admin's key with a budget of its own", &of_admin_with_budget.secret, &customers[2]),
    ];
    for (name, secret, customer) in rows {
        let call = |model: &str| {
            let mut body = chat_body(model);
            body["user"] = json!(customer);
            stack.call("POST", "/v1/chat/completions").bearer(secret).json(&body)
        };
        call("gpt-4o-mini").usage(1000, 2000).send().await.allowed();
        let answer = soon_spent(name, || call("gpt-4o-mini")).await;
        answer.denied(429, "budget_exceeded");
        call("gpt-4o").send().await.allowed();
    }
}

#[tokio::test]
async fn a_budget_for_models_is_asked_only_where_a_model_is() {
    let stack = shared();
    // Row 78.
    let budget = json!({"*": {"max_budget": 0.0, "budget_duration": "1d"}});
    let key = stack.key(json!({"model_max_budget": budget})).await;
    stack.chat(&key).send().await.denied(429, "budget_exceeded");
    for path in ["/v1/models", "/v1/files"] {
        let answer = stack.call("GET", path).key(&key).send().await;
        assert!(answer.received().is_some(), "{path}: {} {}", answer.status, answer.text());
    }
    let (status, info) = stack.manage_as(&key.secret, "GET", "/key/info", None).await;
    assert_eq!(status, 200, "{info}");
    // A call of a model that names none is told what it lacks, not that money is.
    let body = json!({"messages": [{"role": "user", "content": "Hello"}]});
    stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await.denied(400, "bad_request_error");
}

#[tokio::test]
async fn the_status_of_a_spent_budget_is_configured() {
    for status in [400_u16, 402, 422] {
        let config = json!({"litellm_settings": {"budget_exceeded_status_code": status}});
        let stack = Stack::start(Options::config(config));
        let key = stack.key(json!({"max_budget": 0.0})).await;
        stack.chat(&key).send().await.denied(status, "budget_exceeded");
    }
}

/// A body whose call costs exactly what is held for it: the input is bounded by its bytes, the output by its cap.
struct Exact {
    body: Value,
    input: u64,
    output: u64,
    cost: f64,
}

fn exact() -> Exact {
    let body = chat_body("gpt-4o-mini");
    let input = body.to_string().len() as u64;
    Exact { body, input, output: 20, cost: input as f64 * INPUT_PRICE + 20.0 * OUTPUT_PRICE }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_on_a_budget_for_fifty_calls_get_exactly_fifty() {
    let stack = shared();
    let exact = exact();
    // Nothing held ever comes back, so that no client needs a second try. Half a call more, so that rounding of the JSON number decides nothing.
    let key = stack.key(json!({"max_budget": exact.cost * 50.5})).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let http = client();
        let call = stack.call("POST", "/v1/chat/completions").through(&http).key(&key).json(&exact.body);
        let call = call.usage(exact.input, exact.output);
        calls.spawn(call.send());
    }
    let answers = calls.join_all().await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.kind() == "budget_exceeded").count();
    assert_eq!((passed, refused), (50, 150));
    stack.wait_spend(&key, exact.cost * 50.0).await;
    stack.verify_ledger();
    stack.verify_counters().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_requests_and_money_for_one() {
    let stack = shared();
    let exact = exact();
    // Row 81.
    let key = stack.key(json!({"max_budget": exact.cost * 1.5})).await;
    let gate = unique("gate");
    let call = || {
        stack
            .call("POST", "/v1/chat/completions")
            .key(&key)
            .json(&exact.body)
            .usage(exact.input, exact.output)
            .header("x-pair", &gate)
            .held_back(&gate)
    };
    let (one, two) = (tokio::spawn(call().send()), tokio::spawn(call().send()));
    eventually("one of them is refused", || async {
        if one.is_finished() || two.is_finished() { Ok(()) } else { Err("both wait".to_owned()) }
    })
    .await;
    eventually("the other is at the upstream", || async {
        if stack.upstream.with_header("x-pair", &gate).is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    })
    .await;
    stack.upstream.release(&gate);
    let mut statuses = [one.await.unwrap().status, two.await.unwrap().status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_is_no_new_budget_and_no_new_minute() {
    let stack = shared();
    let exact = exact();
    let old = stack.key(json!({"max_budget": exact.cost * 1.5, "rpm_limit": 2})).await;
    let gate = unique("gate");
    let call = |key: &Key| {
        let call = stack.call("POST", "/v1/chat/completions").key(key).json(&exact.body);
        call.usage(exact.input, exact.output).header("x-pair", &gate).held_back(&gate)
    };
    let running = tokio::spawn(call(&old).send());
    eventually("it is at the upstream", || async {
        if stack.upstream.with_header("x-pair", &gate).is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    })
    .await;
    let answer = stack.manage("POST", "/key/regenerate", json!({"key": old.secret})).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    let fresh = Key { secret: text("key"), token: text("token"), alias: old.alias.clone(), attributes: answer.clone() };
    assert_ne!(fresh.token, old.token);

    // What the old secret holds is held.
    soon_spent("the new secret is known", || call(&fresh)).await;
    stack.upstream.release(&gate);
    assert_eq!(running.await.unwrap().status, 200);
    stack.wait_spend(&fresh, exact.cost).await;
    soon_spent("what it came to is spent", || call(&fresh)).await;
    stack.manage("POST", "/key/update", json!({"key": fresh.secret, "max_budget": 1.0})).await;
    eventually("the second request of the minute passes", || async {
        let answer = call(&fresh).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    call(&fresh).send().await.denied(429, "rate_limit_error");
    stack.wait_spend(&fresh, exact.cost * 2.0).await;
    stack.verify_ledger();
    stack.verify_counters().await;
}

#[tokio::test]
async fn what_is_reset_is_reset_in_the_period_of_a_linked_budget_too() {
    let stack = shared();
    let budget = unique("budget");
    let daily = json!({"budget_id": budget, "max_budget": 0.001, "budget_duration": "1d"});
    stack.manage("POST", "/budget/new", daily).await;
    let key = stack.key(json!({"budget_id": budget})).await;
    stack.chat(&key).usage(1000, 2000).send().await.allowed();
    soon_spent("the day's budget is spent", || stack.chat(&key)).await;
    let path = format!("/key/{}/reset_spend", key.token);
    stack.manage("POST", &path, json!({"reset_to": 0})).await;
    stack.chat(&key).usage(1, 1).send().await.allowed();
}

#[tokio::test]
async fn without_reservation_a_request_passes_while_anything_is_left() {
    for config in
        [json!({"quota": {"reserve": "none"}}), json!({"general_settings": {"disable_budget_reservation": true}})]
    {
        let stack = Stack::start(Options::config(config.clone()));
        // Row 79: far less than the dearest case, but more than nothing.
        let key = stack.key(json!({"max_budget": 0.000_001})).await;
        let answer = stack.chat(&key).send().await;
        assert_eq!(answer.status, 200, "{config}: {}", answer.text());
        soon_spent("then it is spent", || stack.chat(&key)).await;
    }
    let key = shared().key(json!({"max_budget": 0.000_001})).await;
    shared().chat(&key).send().await.denied(429, "budget_exceeded");
}

#[tokio::test]
async fn a_temporary_increase_counts_until_it_ends() {
    let stack = shared();
    let key = stack.key(json!({"max_budget": 0.0001})).await;
    stack.chat(&key).usage(1000, 0).send().await.allowed();
    soon_spent("it is spent", || stack.chat(&key)).await;
    let increase =
        json!({"key": key.secret, "temp_budget_increase": 1.0, "temp_budget_expiry": "2099-01-01T00:00:00Z"});
    stack.manage("POST", "/key/update", increase).await;
    eventually("the increase counts", || async {
        let answer = stack.chat(&key).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_cap_is_held_by_what_the_gate_writes_into_it() {
    let config = json!({"quota": {"cap_output": true, "default_output_tokens": 64}});
    let stack = Stack::start(Options::config(config));
    let key = stack.key(json!({"max_budget": 1.0})).await;
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]});
    let answer = stack.call("POST", "/v1/chat/completions").key(&key).json(&body).send().await;
    let sent = answer.allowed().json();
    let cap = ["max_tokens", "max_completion_tokens"].iter().find_map(|name| sent[*name].as_u64());
    assert_eq!(cap, Some(64), "{sent}");
    // A cap of the client's own is left alone.
    let sent = stack.chat(&key).send().await.allowed().json();
    assert_eq!(sent["max_tokens"], 20);
}
