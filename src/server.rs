//! The ports: who may connect, how long, how much; and how all of it ends. [`Listeners`] serves; `start` wires
//! configuration to stores, gate and listeners.

mod answers;
pub mod books;
pub mod certificates;
pub mod connection;
mod cork;
pub mod engine;
pub mod exposure;
pub mod http;
pub mod listener;
pub mod ops;
pub mod pages;
pub mod routes;
pub mod shared;
pub mod shutdown;
pub mod start;
pub mod upkeep;
pub mod workers;

pub use listener::{Listeners, Parts};
pub use shutdown::Shutdown;

#[cfg(test)]
mod tests;
