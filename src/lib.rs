//! Tollward stands at the gate of any Envoy and answers three questions about every request to an AI model: who is
//! calling, may they do this, and what may they still spend? Then it keeps the books on what the request really cost.
//!
//! Rooms follow the life of a request; a room uses those below it, never above.

#![forbid(unsafe_code)]

pub mod cli;

pub mod server;

pub mod grpc;

pub mod http;

pub mod manage;

pub mod import;

pub mod gate;

pub mod request;

pub mod authn;

pub mod authz;

pub mod quota;

pub mod spend;

pub mod directory;

pub mod telemetry;

pub mod config;

pub mod expression;

pub mod proto;

pub mod flights;

pub mod uptime;

pub mod domain;

/// Real servers for tests.
#[cfg(test)]
#[path = "../tests/support/real.rs"]
mod real;
