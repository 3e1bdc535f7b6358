//! Can they afford it? Which limits bind a caller, one atomic step that charges them all or none, and the settlement
//! that replaces what was held by what was used.

pub mod adjust;
pub mod admission;
mod bindings;
pub mod counters;
pub mod headers;
pub mod lines;
pub mod periods;
pub mod refusal;
pub mod scopes;
pub mod session;
pub mod token;

pub use admission::{Admitted, Quota, Refused};
pub use periods::Periods;
pub use scopes::{Ask, AskModel, Bound, Plan, TokenHold};
pub use session::Session;
