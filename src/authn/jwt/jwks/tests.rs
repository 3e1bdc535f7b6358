//! Key sources against a provider that rotates, fails, hangs and lies, on a clock that the test turns.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::authn::fetch::MAX_BODY;
use crate::authn::jwt::testing::{Signer, jwks};
use crate::telemetry::testing::Lines;

const ALG: Algorithm = Algorithm::EdDsa;
const UNAVAILABLE: KeyError = KeyError::Unavailable;

#[derive(Clone)]
enum Reply {
    Document(String),
    Status(u16),
    Redirect,
    Huge,
}

#[derive(Default)]
struct Pages {
    replies: Mutex<HashMap<String, Reply>>,
    requests: AtomicUsize,
    /// What is read waits here before it is answered while the provider hangs.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

/// A provider on a port of its own, and the clock of who asks it.
struct World {
    pages: Arc<Pages>,
    base: String,
    clock: Arc<AtomicU64>,
    fetch: Fetch,
}

async fn answer(State(pages): State<Arc<Pages>>, uri: Uri) -> Response {
    pages.requests.fetch_add(1, Ordering::SeqCst);
    let (reply, gate) = (pages.replies.lock().get(uri.path()).cloned(), pages.gate.lock().clone());
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
    match reply {
        Some(Reply::Document(document)) => document.into_response(),
        Some(Reply::Status(status)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some(Reply::Redirect) => (StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        Some(Reply::Huge) => vec![b' '; MAX_BODY + 1].into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl World {
    async fn new() -> World {
        World::with_timeout(Duration::from_secs(30)).await
    }

    async fn with_timeout(timeout: Duration) -> World {
        let pages = Arc::new(Pages::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&pages));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let clock = Arc::new(AtomicU64::new(1_000_000));
        World { pages, base, clock, fetch: Fetch::new(timeout).unwrap() }
    }

    fn settings(&self) -> KeySettings {
        let clock = Arc::clone(&self.clock);
        KeySettings { clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..KeySettings::default() }
    }

    /// The source at this path of the provider.
    fn source(&self, path: &str) -> KeySource {
        self.issued_by(None, path)
    }

    fn issued_by(&self, issuer: Option<&str>, path: &str) -> KeySource {
        KeySource::new(&format!("{}{path}", self.base), issuer, &self.fetch, &self.settings()).unwrap()
    }

    fn serve(&self, path: &str, reply: Reply) {
        self.pages.replies.lock().insert(path.to_owned(), reply);
    }

    fn publish<'s>(&self, signers: impl IntoIterator<Item = &'s Signer>) {
        self.serve("/jwks", Reply::Document(jwks(signers)));
    }

    fn pass(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.pages.requests.load(Ordering::SeqCst)
    }

    fn hang(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.pages.gate.lock() = Some(Arc::clone(&gate));
        gate
    }
}

fn signer(kid: &str) -> Signer {
    Signer::new(ALG, kid)
}

async fn ask(source: &KeySource, kid: &str) -> Result<String, KeyError> {
    source.key(Some(kid), ALG).await.map(|key| key.kid().unwrap_or("-").to_owned())
}

fn known(kid: &str) -> Result<String, KeyError> {
    Ok(kid.to_owned())
}

#[tokio::test]
async fn a_known_key_costs_one_request_in_its_lifetime() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let source = world.source("/jwks");
    for _ in 0..3 {
        assert_eq!(ask(&source, "a").await, known("a"));
        world.pass(199_999);
    }
    assert_eq!(world.requests(), 1);
    world.pass(3);
    assert_eq!(ask(&source, "a").await, known("a"));
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn keys_are_fetched_before_a_token_needs_them() {
    let world = World::new().await;
    let (old, new) = (signer("old"), signer("new"));
    world.publish([&old]);
    let sources = KeySources::new(vec![world.source("/jwks")]);
    let renew = || sources.renew(Duration::from_secs(20));
    renew().await;
    assert_eq!(world.requests(), 1);
    world.pass(579_999);
    renew().await;
    assert_eq!(world.requests(), 1, "still good for twenty seconds");
    world.publish([&new]);
    world.pass(1);
    renew().await;
    // Nobody asked for them: they are at hand.
    assert_eq!((sources.0[0].at_hand("new", ALG).is_some(), sources.0[0].at_hand("old", ALG).is_some()), (true, false));
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_renewal_leaves_alone_whom_tokens_leave_alone_and_keeps_no_token_from_asking() {
    let world = World::new().await;
    world.serve("/jwks", Reply::Status(500));
    let sources = KeySources::new(vec![world.source("/jwks")]);
    let renew = || sources.renew(Duration::from_secs(20));
    renew().await;
    assert_eq!(sources.key(Some("a"), ALG).await.map(|_| ()), Err(UNAVAILABLE));
    assert_eq!(world.requests(), 2, "the token has asked too");
    renew().await;
    assert_eq!(world.requests(), 2);
    world.pass(60_000);
    renew().await;
    world.publish([&signer("a")]);
    assert_eq!(sources.key(Some("a"), ALG).await.map(|_| ()), Ok(()));
    assert_eq!(world.requests(), 4);
}

#[tokio::test]
async fn a_rotation_is_seen_at_once_though_a_name_was_made_up_just_before() {
    let world = World::new().await;
    let (old, new) = (signer("old"), signer("new"));
    world.publish([&old]);
    let source = world.source("/jwks");
    assert_eq!(ask(&source, "old").await, known("old"));
    assert_eq!(ask(&source, "made-up").await, Err(UNKNOWN_KID));
    world.publish([&old, &new]);
    assert_eq!(ask(&source, "new").await, known("new"));
    assert_eq!(ask(&source, "old").await, known("old"));
    assert_eq!(world.requests(), 3);
}

#[tokio::test]
async fn a_token_of_a_new_key_that_meets_an_older_flight_waits_for_the_next() {
    let world = World::new().await;
    let (old, new) = (signer("old"), signer("new"));
    world.publish([&old]);
    let source = world.source("/jwks");
    assert_eq!(ask(&source, "old").await, known("old"));
    let gate = world.hang();
    let provider = async {
        while world.requests() < 2 {
            tokio::task::yield_now().await;
        }
        // What it answers to the first request was read before.
        world.publish([&old, &new]);
        gate.add_permits(2);
    };
    let (early, late, ()) = tokio::join!(ask(&source, "made-up"), ask(&source, "new"), provider);
    assert_eq!((early, late), (Err(UNKNOWN_KID), known("new")));
    assert_eq!(world.requests(), 3);
}

#[tokio::test]
async fn a_thousand_who_wait_make_one_request() {
    let world = World::new().await;
    let gate = world.hang();
    let (old, new) = (signer("old"), signer("new"));
    world.publish([&old]);
    let source = world.source("/jwks");
    let all = join_all((0..1_000).map(|_| ask(&source, "old")));
    let (found, ()) = tokio::join!(all, async { gate.add_permits(1) });
    assert!(found.iter().all(|found| *found == known("old")));
    assert_eq!(world.requests(), 1);
    // The same for a key that appears, and for one that is new when the copy is old.
    world.publish([&old, &new]);
    gate.add_permits(1);
    assert!(join_all((0..1_000).map(|_| ask(&source, "new"))).await.iter().all(|found| *found == known("new")));
    assert_eq!(world.requests(), 2);
}

#[test]
fn runtimes_of_their_own_share_one_flight() {
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = home.block_on(World::new());
    world.publish([&signer("a")]);
    let gate = world.hang();
    let source = world.source("/jwks");
    let waiting = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let all = join_all((0..50).map(|_| ask(&source, "a")));
                    let mut all = std::pin::pin!(all);
                    assert!(futures_util::poll!(&mut all).is_pending());
                    // The last to wait lets the provider answer.
                    if waiting.fetch_add(1, Ordering::SeqCst) == 3 {
                        gate.add_permits(100);
                    }
                    assert!(all.await.iter().all(|found| *found == known("a")));
                });
            });
        }
    });
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_who_asked_for_it_has_gone() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let gate = world.hang();
    let source = world.source("/jwks");
    assert!(ask(&source, "a").now_or_never().is_none());
    gate.add_permits(1);
    assert_eq!(ask(&source, "a").await, known("a"));
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn names_that_are_made_up_cost_the_provider_one_request_a_window() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let source = world.source("/jwks");
    assert_eq!(ask(&source, "a").await, known("a"));
    for kid in 0..1_000 {
        assert_eq!(ask(&source, &format!("random-{kid}")).await, Err(UNKNOWN_KID));
    }
    assert_eq!(world.requests(), 3, "two at once");
    for window in 1..=3 {
        world.pass(5_000);
        let names: Vec<String> = (0..1_000).map(|kid| format!("random-{window}-{kid}")).collect();
        let found = join_all(names.iter().map(|kid| ask(&source, kid))).await;
        assert!(found.iter().all(|found| *found == Err(UNKNOWN_KID)));
        assert_eq!(world.requests(), 3 + window, "and one a window");
    }
    assert_eq!(ask(&source, "a").await, known("a"));
}

#[tokio::test]
async fn a_token_without_a_fitting_key_makes_no_request() {
    let world = World::new().await;
    world.publish([&signer("a"), &signer("b")]);
    let source = world.source("/jwks");
    assert_eq!(ask(&source, "a").await, known("a"));
    let rsa = source.key(Some("a"), Algorithm::Rs256).await;
    let nameless = source.key(None, ALG).await;
    assert!(matches!(rsa, Err(KeyError::Unknown(why)) if why.contains("algorithm")));
    assert!(matches!(nameless, Err(KeyError::Unknown(why)) if why.contains("several")));
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn a_provider_that_is_down_leaves_its_last_set_in_force_for_exactly_the_configured_time() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let source = world.source("/jwks");
    let key = source.key(Some("a"), ALG).await.unwrap();
    world.serve("/jwks", Reply::Status(500));
    world.pass(599_999);
    assert!(source.is_current(&key));
    assert_eq!((ask(&source, "a").await, world.requests()), (known("a"), 1));
    world.pass(1);
    assert!(!source.is_current(&key), "the set is asked for again first");
    assert_eq!((ask(&source, "a").await, world.requests()), (known("a"), 2));
    assert!(source.is_current(&key), "and while it cannot be had, the old one is in force");
    assert_eq!(ask(&source, "b").await, Err(UNAVAILABLE), "it may be a new key");
    world.pass(3_599_999);
    assert_eq!((ask(&source, "a").await, world.requests()), (known("a"), 3));
    world.pass(1);
    assert!(!source.is_current(&key));
    assert_eq!(ask(&source, "a").await, Err(UNAVAILABLE));
    world.publish([&signer("b")]);
    world.pass(30_000);
    assert_eq!(ask(&source, "a").await, Err(UNKNOWN_KID));
    assert_eq!(ask(&source, "b").await, known("b"));
    assert!(!source.is_current(&key));
}

#[tokio::test]
async fn without_a_stale_time_an_old_set_is_not_used() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let settings = KeySettings { stale_ttl: Duration::ZERO, ..world.settings() };
    let source = KeySource::new(&format!("{}/jwks", world.base), None, &world.fetch, &settings).unwrap();
    assert_eq!(ask(&source, "a").await, known("a"));
    world.serve("/jwks", Reply::Status(503));
    world.pass(600_000);
    assert_eq!(ask(&source, "a").await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn a_failing_provider_is_asked_ever_less_often_and_told_of_more_seldom_still() {
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.subscriber());
    let world = World::new().await;
    world.serve("/jwks", Reply::Status(500));
    let source = world.source("/jwks");
    let begin = world.clock.load(Ordering::SeqCst);
    let mut asked = Vec::new();
    for _ in 0..1_000 {
        let before = world.requests();
        assert_eq!(ask(&source, "a").await, Err(UNAVAILABLE));
        if world.requests() != before {
            asked.push((world.clock.load(Ordering::SeqCst) - begin) / 1_000);
        }
        world.pass(100);
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 61, 91]);
    world.publish([&signer("a")]);
    world.pass(30_000);
    assert_eq!(ask(&source, "a").await, known("a"));
    for (told, counts) in [
        ("an identity provider gives no answer", "left_out=0"),
        ("an identity provider still gives no answer", "left_out=5"),
        ("an identity provider answers again", "left_out=1 seconds=130"),
    ] {
        let told = lines.with(told);
        assert!(told.len() == 1 && told[0].contains(counts), "{counts}: {}", lines.text());
    }
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_is_a_failure_and_never_an_empty_set() {
    let replies = [
        Reply::Status(204),
        Reply::Status(404),
        Reply::Status(401),
        Reply::Status(500),
        Reply::Redirect,
        Reply::Huge,
        Reply::Document("<html>".to_owned()),
        Reply::Document(String::new()),
        Reply::Document("{}".to_owned()),
        Reply::Document(json!({"keys": []}).to_string()),
        Reply::Document(json!({"keys": [{"kty": "oct", "k": "AAAA"}]}).to_string()),
    ];
    let world = World::new().await;
    world.serve("/elsewhere", Reply::Document(jwks([&signer("a")])));
    for (at, reply) in replies.into_iter().enumerate() {
        world.serve("/jwks", reply.clone());
        assert_eq!(ask(&world.source("/jwks"), "a").await, Err(UNAVAILABLE), "cold, reply {at}");
        world.publish([&signer("a")]);
        let source = world.source("/jwks");
        assert_eq!(ask(&source, "a").await, known("a"));
        world.serve("/jwks", reply);
        world.pass(600_000);
        assert_eq!(ask(&source, "a").await, known("a"), "stale, reply {at}");
        assert_eq!(ask(&source, "b").await, Err(UNAVAILABLE), "unknown, reply {at}");
    }
}

#[tokio::test]
async fn a_provider_that_hangs_is_unavailable_in_bounded_time() {
    let world = World::with_timeout(Duration::from_millis(50)).await;
    world.publish([&signer("a")]);
    let _gate = world.hang();
    assert_eq!(ask(&world.source("/jwks"), "a").await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn who_has_an_old_set_waits_a_moment_and_the_next_not_at_all() {
    let world = World::new().await;
    world.publish([&signer("a")]);
    let source = world.source("/jwks");
    assert_eq!(ask(&source, "a").await, known("a"));
    let gate = world.hang();
    world.publish([&signer("b")]);
    world.pass(600_000);
    let begun = Instant::now();
    assert_eq!(ask(&source, "a").await, known("a"));
    assert!(begun.elapsed() >= Duration::from_millis(400) && begun.elapsed() < Duration::from_secs(20));
    assert_eq!(ask(&source, "a").now_or_never(), Some(known("a")));
    assert_eq!(world.requests(), 2);
    // The slow answer is used when it comes.
    gate.add_permits(1);
    assert_eq!(ask(&source, "b").await, known("b"));
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn a_key_that_leaves_the_set_verifies_nothing_any_more() {
    let world = World::new().await;
    let (a, b) = (signer("a"), signer("b"));
    world.publish([&a, &b]);
    let source = world.source("/jwks");
    let key = source.key(Some("a"), ALG).await.unwrap();
    world.publish([&b]);
    world.pass(600_000);
    assert!(!source.is_current(&key), "the set is old");
    assert_eq!(ask(&source, "b").await, known("b"));
    assert!(!source.is_current(&key), "the key is gone");
    assert_eq!(ask(&source, "a").await, Err(UNKNOWN_KID));
    // Another key under the old name is another key.
    world.publish([&signer("a"), &b]);
    world.pass(600_000);
    let again = source.key(Some("a"), ALG).await.unwrap();
    assert!(source.is_current(&again) && !source.is_current(&key));
}

#[tokio::test]
async fn a_discovery_document_leads_to_the_keys_of_its_issuer() {
    const DISCOVERY: &str = "/tenant/.well-known/openid-configuration";
    let world = World::new().await;
    world.publish([&signer("a")]);
    let document = |issuer: &str, jwks: &str| Reply::Document(json!({"issuer": issuer, "jwks_uri": jwks}).to_string());
    let keys = format!("{}/jwks", world.base);
    let issuer = "https://id.example.com";
    world.serve(DISCOVERY, document(issuer, &keys));
    assert_eq!(ask(&world.issued_by(Some(issuer), DISCOVERY), "a").await, known("a"));
    assert_eq!(ask(&world.source(DISCOVERY), "a").await, known("a"), "whose issuer is not known beforehand");
    assert_eq!(ask(&world.issued_by(Some("https://other.example.com"), DISCOVERY), "a").await, Err(UNAVAILABLE));
    let bad = ["http://192.0.2.1/jwks", "file:///etc/passwd", "https://user@id.example.com/jwks", "/jwks", ""];
    for jwks in bad {
        world.serve(DISCOVERY, document(issuer, jwks));
        assert_eq!(ask(&world.issued_by(Some(issuer), DISCOVERY), "a").await, Err(UNAVAILABLE), "{jwks}");
    }
    for reply in [Reply::Status(404), Reply::Redirect, Reply::Huge, Reply::Document("[]".to_owned())] {
        world.serve(DISCOVERY, reply);
        assert_eq!(ask(&world.issued_by(Some(issuer), DISCOVERY), "a").await, Err(UNAVAILABLE));
    }
}

#[tokio::test]
async fn a_key_of_its_own_address_is_asked_for_by_name() {
    let world = World::new().await;
    let one = signer("one");
    world.serve("/keys/one", Reply::Document(one.pem()));
    let source = world.source("/keys/{kid}");
    let key = source.key(Some("one"), ALG).await.unwrap();
    assert_eq!(key.kid(), Some("one"));
    assert!(key.verify(ALG, b"message", &one.sign(ALG, b"message")));
    assert!(source.is_current(&key));
    assert_eq!((ask(&source, "one").await, world.requests()), (known("one"), 1));
    // An absent one is remembered for a minute.
    for _ in 0..10 {
        assert_eq!(ask(&source, "two").await, Err(UNKNOWN_KID));
    }
    assert_eq!(world.requests(), 2);
    world.serve("/keys/two", Reply::Document(signer("any").pem()));
    world.pass(60_000);
    assert_eq!(ask(&source, "two").await, known("two"));
    // What cannot be a name is never asked for.
    let before = world.requests();
    let long = "a".repeat(65);
    for kid in ["", "../jwks", "one/../two", "one?x", "one#x", "one%2e", "a b", "é", "http://127.0.0.1/", &long] {
        assert_eq!(ask(&source, kid).await, Err(UNKNOWN_KID), "{kid}");
    }
    assert_eq!(source.key(None, ALG).await.unwrap_err(), UNKNOWN_KID);
    assert_eq!(world.requests(), before);
    // A key that is taken away ends with its lifetime; one whose provider fails does not.
    world.serve("/keys/one", Reply::Status(404));
    world.serve("/keys/two", Reply::Status(500));
    world.pass(600_000);
    assert_eq!(ask(&source, "one").await, Err(UNKNOWN_KID));
    assert!(!source.is_current(&key));
    assert_eq!(ask(&source, "two").await, known("two"));
}

#[tokio::test]
async fn names_of_keys_with_addresses_of_their_own_cannot_be_tried_without_end() {
    let world = World::new().await;
    world.serve("/keys/one", Reply::Document(signer("one").pem()));
    let source = world.source("/keys/{kid}");
    assert_eq!(ask(&source, "one").await, known("one"));
    let names: Vec<String> = (0..1_000).map(|kid| format!("random-{kid}")).collect();
    let found = join_all(names.iter().map(|kid| ask(&source, kid))).await;
    let count = |error: KeyError| found.iter().filter(|found| **found == Err(error)).count();
    assert_eq!((count(UNKNOWN_KID), count(UNAVAILABLE)), (7, 993));
    assert_eq!((ask(&source, "one").await, world.requests()), (known("one"), 8));
    world.pass(1_000);
    assert_eq!(ask(&source, "random").await, Err(UNKNOWN_KID));
    assert_eq!(ask(&source, "random-again").await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn keys_may_be_written_down_or_lie_in_a_file() {
    let world = World::new().await;
    let (a, b) = (signer("a"), signer("b"));
    let make = |text: &str| KeySource::new(text, None, &world.fetch, &world.settings());
    let inline = make(&a.pem()).unwrap();
    let key = inline.key(Some("any"), ALG).await.unwrap();
    assert!(inline.is_current(&key));
    assert_eq!(ask(&make(&jwks([&a])).unwrap(), "a").await, known("a"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    let source = make(path.to_str().unwrap()).unwrap();
    assert_eq!(ask(&source, "a").await, Err(UNAVAILABLE), "there is no file yet");
    std::fs::write(&path, jwks([&a])).unwrap();
    world.pass(1_000);
    assert_eq!(ask(&source, "a").await, known("a"));
    std::fs::write(&path, jwks([&b])).unwrap();
    assert_eq!(ask(&source, "b").await, known("b"), "a new name has it read again");
    std::fs::write(&path, vec![b' '; MAX_BODY + 1]).unwrap();
    assert_eq!(ask(&source, "c").await, Err(UNAVAILABLE));
    assert_eq!(world.requests(), 0);
}

#[tokio::test]
async fn sources_that_cannot_be_are_refused_when_they_are_made() {
    let world = World::new().await;
    let cases = [
        "",
        "http://id.example.com/jwks",
        "ftp://id.example.com/jwks",
        "https://user:password@id.example.com/jwks",
        "https://{kid}.example.com/keys",
        "https://{kid}",
        "http://id.example.com/{kid}",
        "keys/{kid}",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        r#"{"keys": []}"#,
    ];
    for text in cases {
        let made = KeySource::new(text, None, &world.fetch, &world.settings());
        assert!(made.is_err_and(|error| !error.contains("password@")), "{text}");
    }
}

#[tokio::test]
async fn several_sources_are_asked_in_order_and_one_that_fails_does_not_stop_the_others() {
    let world = World::new().await;
    let (a, b) = (signer("a"), signer("b"));
    world.serve("/one", Reply::Document(jwks([&a])));
    world.serve("/two", Reply::Document(jwks([&b])));
    world.serve("/down", Reply::Status(500));
    let sources = |paths: &[&str]| KeySources::new(paths.iter().map(|path| world.source(path)).collect());
    let ask = async |sources: &KeySources, kid: &str| {
        sources.key(Some(kid), ALG).await.map(|key| key.kid().unwrap_or("-").to_owned())
    };

    let good = sources(&["/one", "/two"]);
    assert_eq!((ask(&good, "a").await, world.requests()), (known("a"), 1), "the second is not needed");
    assert_eq!(ask(&good, "b").await, known("b"));
    let before = world.requests();
    for _ in 0..100 {
        assert_eq!(ask(&good, "b").await, known("b"));
    }
    assert_eq!(world.requests(), before, "the keys of one are no unknown names to the other");
    assert_eq!(ask(&good, "c").await, Err(UNKNOWN_KID));
    let key = good.key(Some("b"), ALG).await.unwrap();
    assert!(good.is_current(&key) && !sources(&["/one"]).is_current(&key));

    let partly = sources(&["/down", "/two"]);
    assert_eq!(ask(&partly, "b").await, known("b"));
    assert_eq!(ask(&partly, "c").await, Err(UNAVAILABLE));
    assert_eq!(ask(&KeySources::new(Vec::new()), "a").await, Err(UNKNOWN_KID));
}
