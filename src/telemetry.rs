//! Logs and metrics.

pub mod histogram;
pub mod log;
pub mod metrics;

pub use metrics::Metrics;
