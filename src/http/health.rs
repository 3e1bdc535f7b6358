//! What anyone may ask: whether the process lives, and which routes there are.

use axum::Router;
use axum::routing::get;
use serde_json::json;

use super::answer::Json;
use super::{HttpState, routes};

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/health/liveliness", get(alive))
        .route("/health/liveness", get(alive))
        .route("/routes", get(list))
}

async fn alive() -> Json {
    Json("I'm alive!".into())
}

async fn list() -> Json {
    let routes: Vec<_> =
        routes::ROUTES.iter().map(|(methods, path)| json!({"path": path, "methods": methods})).collect();
    Json(json!({"routes": routes}))
}
