//! Can they afford it? Which limits bind a caller, one atomic step that charges them all or none, and the settlement
//! that replaces what was held by what was used.

pub mod counters;
pub mod token;
