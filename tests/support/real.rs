//! The part of this folder that the library's own tests use too: real PostgreSQL (with a pooler) and Redis servers, a real identity
//! provider.

#![allow(dead_code, reason = "the library's tests and the black-box tests each use a part")]

#[path = "child.rs"]
pub mod child;
#[path = "folder.rs"]
pub mod folder;
#[path = "idp.rs"]
pub mod idp;
#[path = "pgbouncer.rs"]
pub mod pgbouncer;
#[path = "port.rs"]
pub mod port;
#[path = "postgres.rs"]
pub mod postgres;
#[path = "raw.rs"]
pub mod raw;
#[path = "redis.rs"]
pub mod redis;
#[path = "wait.rs"]
pub mod wait;
