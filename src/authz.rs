//! May they? Pure functions over a [`Caller`](crate::domain::Caller) and the request it made: status, network, routes,
//! roles, models, parameters and the operator's own rules. Nothing here does I/O or remembers anything; whatever is not
//! allowed is refused.

pub mod cors;
pub mod groups;
pub mod models;
pub mod network;
pub mod params;
pub mod pattern;
pub mod policy;
pub mod roles;
pub mod routes;
pub mod status;

pub use models::{Catalog, ModelAsk, Resolved, model_access, models_asked};
pub use network::{AddressList, Network};
pub use params::Params;
pub use policy::Policies;
pub use roles::{RouteAsk, route_access};
pub use routes::Routes;
pub use status::{end_user_status, limits_status, status};
