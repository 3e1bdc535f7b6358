//! Logs and metrics.

pub mod histogram;
pub mod log;
pub mod metrics;
mod seldom;
#[cfg(test)]
pub(crate) mod testing;

pub use metrics::Metrics;
pub use seldom::Seldom;
