//! What a Check costs: Tollward's full decision beside three reference servers, in one run on one machine.
//!
//! Every server runs pinned to one core and the load on another. A closed loop finds saturation; an open loop at half of
//! it measures latency from the moment a request was due, so that a slow answer is not forgiven by sending less. The
//! figure that counts is requests a second of the server's own CPU time, as a ratio to `naive` of the same round.
//!
//! `make bench`; `BENCH_ROUNDS` and `BENCH_SECONDS` change how long, `BENCH_ONLY=naive,limit` which ones. Method and results: `benches/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot run ends")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is the point")]
#![allow(dead_code, reason = "shared with the benchmark of scale, which uses the rest")]

#[path = "check/identity.rs"]
mod identity;
#[path = "check/load.rs"]
mod load;
#[path = "check/metered.rs"]
mod metered;
#[path = "check/process.rs"]
mod process;
#[path = "check/redis.rs"]
mod redis_server;
#[path = "check/reference.rs"]
mod reference;
#[path = "check/report.rs"]
mod report;
#[path = "check/request.rs"]
mod request;
#[path = "check/tollward.rs"]
mod tollward;

use std::time::Duration;

use bytes::Bytes;

use identity::Credential;
use process::{Cores, Server};
use report::{Measured, Report};
use request::Form;
use tollward::Limits;

/// As in the server of production, for all of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The contenders, in the order they run in each round.
const CONTENDERS: [&str; 19] = [
    "naive",
    "tuned",
    "limit",
    "check_embedded",
    "check_embedded_raw_headers",
    "call_metered",
    "check_key_9_limits",
    "check_jwt_warm",
    "check_introspection_warm",
    "check_jwt_cold_es256",
    "check_jwt_cold_rs256",
    "redis_empty",
    "redis_gcra",
    "check_redis",
    "check_redis_5_limits",
    "check_redis_1_limit",
    "check_redis_64_at_once",
    "check_redis_8_at_once",
    "check_redis_1_at_once",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    // This binary is also the reference servers (`--reference naive 12345`), what keeps a core awake, and what
    // finds the quietest one.
    let role = arguments.next();
    if role.as_deref() == Some("--stay-awake") {
        return process::stay_awake();
    }
    if role.as_deref() == Some("--gauge") {
        return process::gauge();
    }
    if role.as_deref() == Some("--reference") {
        let name = arguments.next().expect("a name");
        let port = arguments.next().and_then(|port| port.parse().ok()).expect("a port");
        return reference::serve(&name, port);
    }
    let rounds = setting("BENCH_ROUNDS", 3);
    let seconds = Duration::from_secs(setting("BENCH_SECONDS", 4));
    let allowed = process::allowed_cores();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut report = Report::default();
    let only = std::env::var("BENCH_ONLY").ok();
    let chosen = |name: &&str| only.as_deref().is_none_or(|only| only.split(',').any(|wanted| wanted == *name));
    for round in 1..=rounds {
        for name in CONTENDERS.into_iter().filter(chosen) {
            let cores = Cores::choose(&allowed);
            cores.pin_this_process();
            let measured = runtime.block_on(measure(name, &cores, seconds));
            println!("round {round}/{rounds}  {name:<28} {measured}");
            report.add(name, measured);
        }
    }
    println!("\n{report}");
    let path = report.write();
    println!("written to {}", path.display());
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// Starts a server, warms it up, saturates it, then asks at half of that.
async fn measure(name: &str, cores: &Cores, seconds: Duration) -> Measured {
    let script = match name {
        "redis_empty" => Some(redis_server::EMPTY),
        "redis_gcra" => Some(redis_server::GCRA),
        _ => None,
    };
    if let Some(script) = script {
        return measure_script(script, cores, seconds).await;
    }
    let redis = if name.starts_with("check_redis") { Some(redis_server::start(cores).await) } else { None };
    let port = redis.as_ref().map(|redis| redis.port);
    let limits = match name {
        "check_redis_5_limits" => Limits::Five,
        "check_redis_1_limit" => Limits::One,
        "check_key_9_limits" => Limits::Nine,
        name if credential_of(name) != Credential::Key => Limits::Nine,
        _ => Limits::Twelve,
    };
    let concurrent = match name {
        "check_redis_64_at_once" => 64,
        "check_redis_8_at_once" => 8,
        "check_redis_1_at_once" => 1,
        _ => load::CONCURRENT,
    };
    // The same bytes for all, but for one, which carries headers as `encode_raw_headers` does.
    let (server, message): (Server, Bytes) = match name {
        "check_embedded_raw_headers" => tollward::start(cores, Form::RawHeaders, limits, Credential::Key, None).await,
        name if name.starts_with("check_") || name == "call_metered" => {
            tollward::start(cores, Form::Map, limits, credential_of(name), port).await
        }
        reference => (Server::reference(cores, reference), request::check(Form::Map, "sk-a-key-nobody-reads-here")),
    };
    server.wait_port().await;
    let mut load = load::Load::connect(server.port, message, concurrent).await;
    if name == "call_metered" {
        load = load.metered(server.port);
    }
    load.saturate(Duration::from_secs(1)).await;
    let cpu = || (server.cpu(), redis.as_ref().map(Server::cpu));
    let (before, redis_before) = cpu();
    let saturated = load.saturate(seconds).await;
    let (after, redis_after) = cpu();
    let rate = saturated.per_second();
    let awake = cores.stay_awake();
    let latency = load.at_rate(rate / 2.0, seconds).await;
    drop(awake);
    load.hang_up().await;
    server.stop();
    let measured = Measured::new(&saturated, after - before, &latency);
    match (redis_before, redis_after) {
        (Some(before), Some(after)) => measured.with_redis(&saturated, after - before),
        _ => measured,
    }
}

/// What the caller of a contender shows.
fn credential_of(name: &str) -> Credential {
    match name {
        "check_jwt_warm" => Credential::Rs256 { cold: false },
        "check_jwt_cold_rs256" => Credential::Rs256 { cold: true },
        "check_jwt_cold_es256" => Credential::Es256 { cold: true },
        "check_introspection_warm" => Credential::Opaque,
        _ => Credential::Key,
    }
}

/// What Redis takes for decisions that are one call of this script each, asked for by a client that does nothing else.
async fn measure_script(script: &'static str, cores: &Cores, seconds: Duration) -> Measured {
    let redis = redis_server::start(cores).await;
    redis_server::saturate(redis.port, script, load::CONCURRENT, Duration::from_secs(1)).await;
    let before = redis.cpu();
    let saturated = redis_server::saturate(redis.port, script, load::CONCURRENT, seconds).await;
    let cpu = redis.cpu() - before;
    Measured::new(&saturated, cpu, &saturated).with_redis(&saturated, cpu)
}
