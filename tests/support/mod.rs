//! What the black-box tests stand on: a running Tollward and a real Envoy on free ports, an upstream in this process, a
//! client, and the management API. Everything waits for events, and everything started ends with the test process.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

pub mod call;
pub mod certificates;
pub mod child;
pub mod cli;
pub mod clock;
pub mod fleet;
pub mod folder;
pub mod idp;
pub mod manage;
pub mod pgbouncer;
pub mod port;
pub mod postgres;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod signed;
pub mod stack;
pub mod traffic;
#[path = "../../examples/upstream/server.rs"]
pub mod upstream;
pub mod wait;

pub use call::{Answer, Call};
pub use fleet::Fleet;
pub use manage::Key;
pub use serde_json::{Value, json};
pub use stack::{Filters, MASTER, Options, Stack, shared};
pub use wait::eventually;

/// Prices of `gpt-4o-mini` in the test configuration, in dollars a token.
pub const INPUT_PRICE: f64 = 1.5e-7;
pub const OUTPUT_PRICE: f64 = 6e-7;

/// What a call to `gpt-4o-mini` costs that reports this usage.
pub fn cost(input: u64, output: u64) -> f64 {
    input as f64 * INPUT_PRICE + output as f64 * OUTPUT_PRICE
}

/// Prints what a test measured.
#[allow(clippy::print_stdout, reason = "figures are read beside the result of the test")]
pub fn say(text: impl std::fmt::Display) {
    println!("{text}");
}

/// A word no other test of this process uses.
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
