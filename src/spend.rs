//! What it costs: prices, usage read from responses as they pass, and the ledger.

pub mod ledger;
pub mod price;
