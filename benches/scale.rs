//! A million keys in PostgreSQL: how long a key takes that was never asked for, how long one that was, and what a hundred
//! thousand of them take in memory.
//!
//! `make bench-scale`; `SCALE_KEYS` and `SCALE_ASKED` change how many. Method and results: `benches/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot run ends")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is the point")]
#![allow(dead_code, reason = "shared with the benchmark of Check, which uses the rest")]

#[path = "check/load.rs"]
mod load;
#[path = "check/metered.rs"]
mod metered;
#[path = "check/process.rs"]
mod process;
#[path = "../tests/support/real.rs"]
mod real;
#[path = "check/request.rs"]
mod request;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use load::{Load, Times};
use process::{Server, free_port, wait_for};
use real::postgres::Postgres;
use request::{CLOSED, Form, check, of_path};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keys that are asked for one after the other, before the rest is asked for many at once.
const ALONE: usize = 2_000;
const AT_ONCE: usize = 32;
const MASTER: &str = "sk-operator-of-the-benchmark";

fn main() {
    let keys = setting("SCALE_KEYS", 1_000_000);
    let asked = setting("SCALE_ASKED", 100_000).min(keys);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure(keys, asked));
}

fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

fn secret(number: usize) -> String {
    format!("sk-scale-{number:09}")
}

async fn measure(keys: usize, asked: usize) {
    let postgres = Postgres::start(&["shared_buffers=256MB", "max_wal_size=4GB"]);
    let url = postgres.database();
    let name = url.rsplit('/').next().expect("a database");
    let mut migrate = Command::new(binary());
    migrate.arg("migrate").env("DATABASE_URL", &url).env("TOLLWARD_MASTER_KEY", MASTER);
    let migrated = migrate.output().expect("tollward runs");
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    postgres.execute(
        name,
        &format!(
            "INSERT INTO teams (team_id, created_at, updated_at) SELECT 'team-' || n, 0, 0 FROM generate_series(0, 999) n;
             INSERT INTO users (user_id, user_role, created_at, updated_at)
               SELECT 'user-' || n, 'internal_user', 0, 0 FROM generate_series(0, 9999) n;
             INSERT INTO keys (token, first_token, key_alias, user_id, team_id, key_type, rpm_limit, tpm_limit, created_at,
                               updated_at)
               SELECT hash, hash, 'key ' || n, 'user-' || n % 10000, 'team-' || n % 1000, 'default', 1000000, 1000000000, 0, 0
               FROM generate_series(0, {last}) n,
                    encode(sha256(('sk-scale-' || lpad(n::text, 9, '0'))::bytea), 'hex') hash;",
            last = keys - 1
        ),
    );
    postgres.execute(name, "VACUUM ANALYZE");
    println!("{keys} keys in PostgreSQL, {asked} of them asked for");

    let (server, grpc, ops) = serve(&url).await;
    let empty = server.memory();
    let secrets: Vec<String> = (0..asked).map(|number| secret(number * (keys / asked))).collect();
    // Known, and refused: what is timed and kept is the key and what belongs to it, without a call.
    let closed: Vec<Bytes> = secrets.iter().map(|secret| of_path(Form::Map, secret, CLOSED)).collect();
    let open: Vec<Bytes> = secrets.iter().map(|secret| check(Form::Map, secret)).collect();
    let (alone, rest) = closed.split_at(ALONE.min(asked));
    let mut one = Load::connect(grpc, Bytes::new(), 1).await.refused();
    let mut many = Load::connect(grpc, Bytes::new(), AT_ONCE).await.refused();
    print("cold, one at once", &one.each(alone).await);
    print(&format!("cold, {AT_ONCE} at once"), &many.each(rest).await);
    print("warm, one at once", &one.each(alone).await);
    print(&format!("warm, {AT_ONCE} at once"), &many.each(rest).await);
    let kept = server.memory();
    let mut calls = Load::connect(grpc, Bytes::new(), AT_ONCE).await;
    print(&format!("calls, {AT_ONCE} at once"), &calls.each(&open).await);
    let busy = server.memory();
    holds_end(ops).await;
    println!(
        "resident memory: {empty} MiB before, {kept} MiB with {asked} keys kept, {busy} MiB with a call of each in flight, {} MiB \
         when all calls have ended",
        server.memory()
    );
}

/// Waits until no hold is open: nobody meters these calls, so each ends when its time is over.
async fn holds_end(ops: u16) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for _ in 0..1_200 {
        let page = client.get(format!("http://127.0.0.1:{ops}/metrics")).send().await.expect("an answer");
        let page = page.text().await.expect("a page");
        let open = page.lines().filter(|line| line.starts_with("tollward_holds{"));
        if open.clone().count() > 0 && open.into_iter().all(|line| line.ends_with(" 0")) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("holds are still open after two minutes");
}

fn print(what: &str, times: &Times) {
    println!(
        "{what:<20} {:>8.0} a second  p50 {:>6.0}  p99 {:>6.0}  worst {:>6.0} us",
        times.per_second(),
        times.percentile(0.5),
        times.percentile(0.99),
        times.percentile(1.0)
    );
}

async fn serve(url: &str) -> (Server, u16, u16) {
    let folder = TempDir::with_prefix("tollward-scale-").expect("a folder");
    let (grpc, http, ops) = (free_port(), free_port(), free_port());
    let config = json!({
        "listen": {
            "grpc": format!("127.0.0.1:{grpc}"),
            "http": format!("127.0.0.1:{http}"),
            "ops": format!("127.0.0.1:{ops}"),
        },
        "directory": {"url": url, "cache_ttl": "1h"},
        "ledger": {"spool": folder.path().join("spool")},
        "general_settings": {"master_key": MASTER},
        // Checks come without a meter here: their holds stay open.
        "metering": {"required": false},
        "telemetry": {"log": "warn"},
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": {
            "model": "openai/gpt-4o-mini", "input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7,
        }}],
    });
    let path = folder.path().join("tollward.yaml");
    std::fs::write(&path, config.to_string()).expect("the configuration is written");
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(&path);
    for inherited in ["DATABASE_URL", "REDIS_URL", "TOLLWARD_MASTER_KEY", "LITELLM_MASTER_KEY"] {
        command.env_remove(inherited);
    }
    let server = Server::new(command, grpc, Some(folder));
    wait_for(|| std::net::TcpStream::connect(("127.0.0.1", grpc)).is_ok(), "Tollward listens").await;
    (server, grpc, ops)
}

/// The binary that `cargo build --release` made.
fn binary() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_tollward")).to_path_buf()
}
