//! Logs and metrics.

pub mod histogram;
pub mod log;
pub mod metrics;
#[cfg(test)]
pub(crate) mod testing;

pub use metrics::Metrics;
