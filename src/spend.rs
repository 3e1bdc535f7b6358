//! What it costs: prices, usage read from responses as they pass, and the ledger.

pub mod decode;
pub mod ledger;
pub mod price;
pub mod prices;
pub mod usage;

pub use price::{ModelPrice, PriceBook};
pub use prices::Prices;
