//! Keys of the provider change, and the provider fails, while callers go on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use support::idp::{Fault, Idp, Signing};
use support::signed::{Signed, signed};
use support::traffic::{Traffic, tally};
use support::{Answer, Value, eventually, json, say};

/// In this time the gate may ask for names of keys that it does not know as often as it may at once.
const LOOKS: Duration = Duration::from_secs(10);
/// Longest time for an answer while the provider gives none.
const BOUND: Duration = Duration::from_secs(15);

fn options(ttl: u64, stale: u64) -> Value {
    json!({"user_id_jwt_field": "sub", "public_key_ttl": ttl, "public_key_stale_ttl": stale})
}

/// A token nobody has seen before.
fn fresh(signed: &Signed) -> String {
    signed.token(&json!({"jti": support::unique("token")}))
}

async fn chat(signed: &Signed, token: &str) -> Answer {
    let start = Instant::now();
    let answer = signed.bearer(token).send().await;
    assert!(start.elapsed() < BOUND, "an answer after {:?}: {}", start.elapsed(), answer.text());
    answer
}

/// Callers with a new token for each call, until told to stop: how many passed, and what else was answered.
struct Newcomers {
    stop: Arc<AtomicBool>,
    running: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
}

impl Newcomers {
    /// They sign with the newest key: it must not be withdrawn while they call.
    fn start(signed: &'static Signed, count: usize) -> Newcomers {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let (mut passed, mut others) = (0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    let token = tokio::task::spawn_blocking(|| fresh(signed)).await.unwrap();
                    let answer = signed.bearer(&token).send().await;
                    match answer.status {
                        200 => passed += 1,
                        _ => others.push(answer.text()),
                    }
                }
                (passed, others)
            })
        });
        Newcomers { running: running.collect(), stop }
    }

    async fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut passed, mut others) = (0, Vec::new());
        for running in self.running {
            let (one, other) = running.await.unwrap();
            passed += one;
            others.extend(other);
        }
        (passed, others)
    }
}

#[tokio::test]
async fn the_first_token_after_a_start_finds_the_keys_there() {
    let options = json!({"general_settings": {"litellm_jwtauth": options(600, 3_600)}});
    let signed = Signed::start_with(Idp::start(), &options);
    eventually("the keys are fetched", || async {
        if signed.idp.count("jwks") > 0 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // From now on nobody gets them any more.
    signed.idp.fault("jwks", Fault::Status { status: 500 });
    assert_eq!(chat(&signed, &fresh(&signed)).await.status, 200);
    assert_eq!(signed.idp.count("jwks"), 1);
}

#[tokio::test]
async fn no_good_token_is_refused_while_keys_rotate() {
    let signed: &'static Signed = Box::leak(Box::new(Signed::start_with(
        Idp::start(),
        &json!({"general_settings": {"litellm_jwtauth": options(1, 60)}}),
    )));
    let mut traffic = Traffic::new();
    traffic.add("from the start", 3, &signed.bearer(&fresh(signed)));
    let newcomers = Newcomers::start(signed, 2);
    let start = Instant::now();
    traffic.wait("they call", start, 20, |seen| seen.status == 200).await;
    let mut rotated = start;
    for round in ["once rotated", "twice rotated"] {
        signed.idp.rotate(true);
        rotated = Instant::now();
        traffic.add(round, 1, &signed.bearer(&fresh(signed)));
        traffic.wait("the new go on", rotated, 10, |seen| seen.who == round).await;
        traffic.wait("the old go on", rotated + LOOKS, 10, |seen| seen.who == "from the start").await;
    }
    let (passed, refused) = newcomers.finish().await;
    let seen = traffic.finish().await;
    say(format!("keys rotated, old ones kept: {passed} new tokens, {}", tally(seen.iter())));
    assert!(refused.is_empty(), "of new tokens: {refused:#?}");
    assert!(passed > 20 && seen.iter().all(|seen| seen.status == 200), "{}", tally(seen.iter()));
    assert!(rotated.elapsed() >= LOOKS);

    // The old keys go at once: tokens of the new ones pass from the first on, those of the old fall.
    let old = fresh(signed);
    chat(signed, &old).await.allowed();
    signed.idp.rotate(false);
    let (newcomers, gone) = (Newcomers::start(signed, 3), Instant::now());
    eventually("a token falls with its key", || async {
        let answer = signed.bearer(&old).send().await;
        if answer.status == 401 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
    say(format!("the old token fell after {:?}", gone.elapsed()));
    chat(signed, &fresh(signed)).await.allowed();
    let (passed, refused) = newcomers.finish().await;
    assert!(refused.is_empty() && passed > 0, "of {passed} new tokens: {refused:#?}");
    let kid = signed.idp.keys().into_iter().find(|key| key["published"] == json!(false)).unwrap();
    let signing = Signing { kid: Some(kid["kid"].as_str().unwrap().to_owned()), ..Signing::default() };
    let late = signed.idp.sign_with(signing, json!({}));
    chat(signed, &late).await.denied(401, "auth_error");
}

#[tokio::test]
async fn while_the_provider_is_down_known_keys_are_good_for_the_configured_time() {
    let signed = signed(options(1, 4)).await;
    let known = fresh(&signed);
    chat(&signed, &known).await.allowed();
    signed.idp.unplug();
    let down = Instant::now();
    // A token nobody has seen before, by a key that is known.
    chat(&signed, &fresh(&signed)).await.allowed();
    let over = eventually("the keys are too old", || {
        let (token, new) = (known.clone(), fresh(&signed));
        let calls = (signed.bearer(&token), signed.bearer(&new));
        async move {
            let (one, other) = tokio::join!(calls.0.send(), calls.1.send());
            for answer in [&one, &other] {
                match answer.status {
                    200 => {}
                    _ => answer.denied(503, "auth_provider_unavailable"),
                }
            }
            if one.status == 503 && other.status == 503 { Ok(one) } else { Err("they are not".to_owned()) }
        }
    })
    .await;
    assert!(down.elapsed() >= Duration::from_secs(3), "only {:?}", down.elapsed());
    assert!(over.header("retry-after").is_some(), "infrastructure comes back");
    say(format!("the stale keys were used for {:?}", down.elapsed()));
    // A key that was made meanwhile is not known: nobody can say whether the token is good.
    signed.idp.rotate(true);
    chat(&signed, &fresh(&signed)).await.denied(503, "auth_provider_unavailable");
    // Virtual keys need no provider.
    let key = signed.plain_key().await;
    signed.stack.chat(&key).send().await.allowed();
    signed.idp.plug_in();
    for token in [known, fresh(&signed)] {
        eventually("the provider is back", || async {
            let answer = chat(&signed, &token).await;
            match answer.status {
                200 => Ok(()),
                _ => {
                    answer.denied(503, "auth_provider_unavailable");
                    Err(answer.text())
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn whatever_the_provider_answers_known_keys_go_on_and_unknown_ones_are_nobodys_fault() {
    let signed = signed(options(1, 600)).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let to = format!("http://{}/jwks", elsewhere.local_addr().unwrap());
    for fault in [
        Fault::Status { status: 500 },
        Fault::Status { status: 404 },
        Fault::Garbage,
        Fault::Oversized { bytes: 20 << 20 },
        Fault::Redirect { to },
        Fault::Cut,
        Fault::CutShort,
        Fault::Hang,
    ] {
        let name = format!("{fault:?}");
        let known = fresh(&signed);
        eventually("the provider is well", || async {
            let answer = chat(&signed, &known).await;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        let unseen = fresh(&signed);
        signed.idp.fault("jwks", fault);
        signed.idp.rotate(true);
        signed.idp.forget();
        eventually("the provider is asked again", || async {
            let answer = chat(&signed, &known).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            if signed.idp.count("jwks") > 0 { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let (unknown, start) = (fresh(&signed), Instant::now());
        let answer = chat(&signed, &unknown).await;
        assert_eq!(
            (answer.status, answer.kind().as_str()),
            (503, "auth_provider_unavailable"),
            "{name}: {}",
            answer.text()
        );
        answer.denied(503, "auth_provider_unavailable");
        say(format!("{name}: 503 after {:?}", start.elapsed()));
        for token in [&known, &unseen] {
            let answer = chat(&signed, token).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
        // Many unknown tokens ask no more often than one.
        let asked = signed.idp.count("jwks");
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..20 {
            waiting.spawn(signed.bearer(&fresh(&signed)).send());
        }
        for answer in waiting.join_all().await {
            assert_eq!(answer.status, 503, "{name}: {}", answer.text());
        }
        let more = signed.idp.count("jwks") - asked;
        assert!(more <= 6, "{name}: {more} questions for twenty tokens");
        signed.idp.clear_faults();
        eventually("the new key is taken when it can be had", || async {
            let answer = chat(&signed, &unknown).await;
            match answer.status {
                200 => Ok(()),
                503 => Err(answer.text()),
                other => panic!("{name}: {other} {}", answer.text()),
            }
        })
        .await;
    }
    assert!(elsewhere.accept().is_err(), "a redirect is not followed");
}

#[tokio::test]
async fn made_up_names_of_keys_keep_a_new_key_out_for_seconds_only() {
    let signed = signed(options(600, 600)).await;
    chat(&signed, &fresh(&signed)).await.allowed();
    let made_up = |name: &str| {
        let header = json!({"kid": format!("{name}-{}", support::unique("kid"))});
        signed.idp.sign_with(Signing { header, ..Signing::default() }, json!({}))
    };
    for _ in 0..5 {
        chat(&signed, &made_up("first")).await.denied(401, "auth_error");
    }
    signed.idp.rotate(true);
    let (start, token) = (Instant::now(), fresh(&signed));
    eventually("the new key is taken", || async {
        // They go on.
        chat(&signed, &made_up("more")).await.denied(401, "auth_error");
        let answer = chat(&signed, &token).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    say(format!("the new key was taken after {:?}", start.elapsed()));
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
}

#[tokio::test]
async fn without_a_stale_time_keys_end_with_their_provider() {
    let signed = signed(options(1, 0)).await;
    let known = fresh(&signed);
    chat(&signed, &known).await.allowed();
    signed.idp.unplug();
    eventually("the keys end", || async {
        let answer = chat(&signed, &known).await;
        match answer.status {
            200 => Err("not yet".to_owned()),
            _ => {
                answer.denied(503, "auth_provider_unavailable");
                Ok(())
            }
        }
    })
    .await;
    signed.idp.plug_in();
    eventually("and come back with it", || async {
        let answer = chat(&signed, &known).await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
