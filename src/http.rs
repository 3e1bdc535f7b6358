//! The management API on HTTP: parse, call, render. Every request is authorised by the very gate Envoy asks, its body
//! is bounded in size and time, and no failure of a handler takes the server with it.

mod answer;
mod authorize;
mod health;
mod keys;
mod params;
mod resources;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use http::StatusCode;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

pub use authorize::Peer;

use crate::config::Config;
use crate::directory::SharedStore;
use crate::domain::{Caller, Denial, Timestamp};
use crate::manage::{Manager, SpendAdjuster};
use crate::request::HttpRequest;

/// The largest body read.
const BODY_LIMIT: usize = 1024 * 1024;
/// How long a request may take, its body's arrival included.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Authentication, status, route and role checks of the gate; the body is not shown to it.
#[async_trait]
pub trait Authorize: Send + Sync {
    async fn authorize(&self, request: &HttpRequest<'_>) -> Result<Caller, Denial>;
}

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct HttpState {
    pub authorize: Arc<dyn Authorize>,
    pub store: SharedStore,
    /// The configuration in force; live reload swaps it.
    pub config: Arc<ArcSwap<Config>>,
    pub adjuster: Arc<dyn SpendAdjuster>,
    pub now: fn() -> Timestamp,
}

impl HttpState {
    fn manager(&self) -> Manager {
        Manager::new(self.store.clone(), self.config.load_full(), self.adjuster.clone(), (self.now)())
    }
}

/// The router of port 9002. The server adds a [`Peer`] to each request's extensions; without one the peer is unknown.
pub fn router(state: HttpState) -> Router {
    let guarded = keys::router()
        .merge(resources::router())
        .fallback(answer::unknown_route)
        .method_not_allowed_fallback(answer::wrong_method)
        .route_layer(middleware::from_fn_with_state(state.clone(), authorize::authorize));
    health::router()
        .merge(guarded)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, TIME_LIMIT))
        .layer(CatchPanicLayer::custom(answer::panicked))
        .with_state(state)
}
