//! Three replicas are as one: a limit is a limit, a budget is a budget and a revoked key is dead, whichever answers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::call::{Call, chat_body, client};
use support::postgres::Postgres;
use support::redis::Redis;
use support::traffic::{Seen, one, passed, tally};
use support::{Fleet, INPUT_PRICE, Key, OUTPUT_PRICE, eventually, json, say};
use tokio::task::JoinSet;

const CLIENTS: usize = 600;
const MINUTE: Duration = Duration::from_secs(60);

/// The fleet of the tests that hurt nothing.
fn fleet() -> &'static Fleet {
    static FLEET: OnceLock<Fleet> = OnceLock::new();
    FLEET.get_or_init(|| Fleet::start(3, &Postgres::shared().database(), &Redis::shared().url(), &json!({})))
}

/// Six hundred clients, each with a connection of its own.
fn clients() -> Vec<reqwest::Client> {
    (0..CLIENTS).map(|_| client()).collect()
}

/// All of them make this call at once, `times` one after the other.
async fn burst(clients: &[reqwest::Client], call: &Call, times: usize) -> Vec<Seen> {
    let mut calls = JoinSet::new();
    for http in clients {
        let call = call.clone().through(http);
        calls.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..times {
                seen.push(one("client", call.clone()).await);
            }
            seen
        });
    }
    calls.join_all().await.concat()
}

/// The most calls that were admitted within sixty seconds for certain: sent after the window began, answered before it
/// ended.
fn most_in_a_minute(seen: &[Seen]) -> usize {
    let mut admitted: Vec<&Seen> = seen.iter().filter(|seen| seen.status == 200).collect();
    admitted.sort_by_key(|seen| seen.sent);
    let within = |from: Instant| {
        admitted.iter().filter(|seen| seen.sent >= from && seen.answered.duration_since(from) < MINUTE).count()
    };
    admitted.iter().map(|seen| within(seen.sent)).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_a_minute_are_a_thousand_over_three_replicas() {
    let stack = fleet().front();
    let key = stack.key(json!({"rpm_limit": 1_000})).await;
    let (clients, call) = (clients(), stack.chat(&key));
    let begun = Instant::now();
    let mut seen = burst(&clients, &call, 2).await;
    let took = begun.elapsed();
    say(format_args!("1,200 calls of {CLIENTS} clients in {took:?}: {}", tally(seen.iter())));
    assert!(seen.iter().all(|seen| matches!(seen.status, 200 | 429)), "{}", tally(seen.iter()));
    // A machine that needs most of a minute for them has let the first ones leave the window.
    if took < Duration::from_secs(55) {
        assert_eq!(passed(&seen, "client"), 1_000);
    }
    // Who comes back as told gets in, and not before the first of the thousand is a minute old.
    let (mut turned_away, mut announced) = (0, None);
    let admitted = loop {
        let next = one("lone", call.clone()).await;
        let admitted = next.status == 200;
        if let Some(wait) = next.retry_after {
            let told = next.answered + Duration::from_secs(wait);
            assert!(told >= begun + MINUTE, "retry-after: {wait} invites into a window that is full");
            assert!(wait <= 66, "retry-after: {wait}");
            // The first word stands: nobody else calls.
            let announced = *announced.get_or_insert(told);
            assert!(next.sent < announced + Duration::from_secs(1), "it came back as told and is not let in");
            turned_away += 1;
        }
        seen.push(next.clone());
        if admitted {
            break next;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    };
    let after = admitted.answered.duration_since(begun);
    say(format_args!("a lone client was turned away {turned_away} times and let in after {after:?}"));
    // The next rush meets what is left of the last minute.
    seen.extend(burst(&clients, &call, 2).await);
    let most = most_in_a_minute(&seen);
    say(format_args!("in all: {}; at most {most} in any 60 s", tally(seen.iter())));
    assert!(most <= 1_000, "{most} in a minute");
}

/// A call that costs exactly what is held for it.
fn exact(key: &Key) -> (Call, f64) {
    let body = chat_body("gpt-4o-mini");
    let input = body.to_string().len() as u64;
    let call = fleet().front().call("POST", "/v1/chat/completions").key(key).json(&body).usage(input, 20);
    (call, input as f64 * INPUT_PRICE + 20.0 * OUTPUT_PRICE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_hundred_clients_on_a_budget_for_five_hundred_calls_get_exactly_five_hundred() {
    let stack = fleet().front();
    let cost = exact(&stack.plain_key().await).1;
    // Half a call more, so that rounding of the JSON number decides nothing.
    let key = stack.key(json!({"max_budget": cost * 500.5})).await;
    let seen = burst(&clients(), &exact(&key).0, 2).await;
    say(format_args!("a budget for 500 calls: {}", tally(seen.iter())));
    let refused = seen.iter().filter(|seen| seen.kind == "budget_exceeded").count();
    assert_eq!((passed(&seen, "client"), refused), (500, 2 * CLIENTS - 500), "{}", tally(seen.iter()));
    stack.wait_spend(&key, cost * 500.0).await;
    for replica in &fleet().replicas {
        replica.verify_ledger();
        replica.verify_counters().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_in_flight_are_bounded_over_all_and_a_killed_replica_keeps_none() {
    let mut fleet = Fleet::start(3, &Postgres::shared().database(), &Redis::shared().url(), &json!({}));
    let key = fleet.front().key(json!({"max_parallel_requests": 20})).await;
    let call = fleet.front().chat(&key);
    let seen = burst(&clients(), &call.clone().header("x-upstream-delay-ms", "30"), 2).await;
    let most = fleet.front().upstream.most_at_once();
    say(format_args!("20 at once: {}; the upstream saw {most} at once", tally(seen.iter())));
    assert!(most <= 20, "{most} at once");
    assert!(seen.iter().all(|seen| matches!(seen.status, 200 | 429)), "{}", tally(seen.iter()));
    assert!(passed(&seen, "client") >= 20, "{}", tally(seen.iter()));

    // Twenty are at the upstream, metered by all three, when one of the three is killed.
    let mut held = JoinSet::new();
    fill(&fleet, &call, &mut held, "before").await;
    let killed = Instant::now();
    fleet.replicas[2].kill_tollward();
    fleet.front().upstream.release("before");
    assert!(held.join_all().await.iter().all(|status| *status == 200), "who was let in gets its answer");
    let mut held = JoinSet::new();
    fill(&fleet, &call, &mut held, "after").await;
    let took = killed.elapsed();
    say(format_args!("all 20 places were free again {took:?} after the kill"));
    assert!(took <= MINUTE, "{took:?}");
    assert!(fleet.front().upstream.most_at_once() <= 20, "{}", fleet.front().upstream.most_at_once());
    fleet.replicas[2].start_tollward();
    fleet.front().upstream.release("after");
    held.join_all().await;
    eventually("no hold remains", || async {
        let holds = fleet.front().metric("tollward_holds");
        if holds == 0.0 { Ok(()) } else { Err(holds.to_string()) }
    })
    .await;
    fleet.front().verify_ledger();
}

/// Sends calls until twenty of them wait at the upstream for `gate`; who is refused makes place for another try.
async fn fill(fleet: &Fleet, call: &Call, held: &mut JoinSet<u16>, gate: &str) {
    eventually(&format!("twenty calls are at the upstream ({gate})"), || {
        while let Some(refused) = held.try_join_next() {
            let status = refused.unwrap();
            assert!(matches!(status, 429 | 503), "{status}");
        }
        if held.len() < 20 {
            let call = call.clone().held_back(gate);
            held.spawn(async move { call.send().await.status });
        }
        let there = fleet.front().upstream.with_header("x-upstream-hold", gate).len();
        std::future::ready(if there == 20 { Ok(()) } else { Err(format!("{there} are")) })
    })
    .await;
}
