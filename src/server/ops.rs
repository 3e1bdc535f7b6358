//! The operations port: `/metrics` for Prometheus, `/livez` and `/readyz` for whoever starts and stops us.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use super::shutdown::Shutdown;
use crate::domain::Secret;
use crate::telemetry::Metrics;

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What must be well before requests are sent here, part by part. Probes answer from memory and never wait.
#[derive(Default)]
pub struct Readiness(Vec<Part>);

struct Part {
    name: &'static str,
    probe: Probe,
    /// Whether requests can be answered without it.
    dispensable: bool,
}

impl Readiness {
    #[must_use]
    pub fn new() -> Self {
        Readiness::default()
    }

    /// Adds a part; its error says what is wrong.
    #[must_use]
    pub fn part(mut self, name: &'static str, probe: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.0.push(Part { name, probe: Box::new(probe), dispensable: false });
        self
    }

    /// Adds a part without which requests are still answered: what is wrong with it is told, and nothing else.
    #[must_use]
    pub fn degradable(
        mut self,
        name: &'static str,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.0.push(Part { name, probe: Box::new(probe), dispensable: true });
        self
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|part| part.name)).finish()
    }
}

#[derive(Clone)]
struct Ops {
    /// Where set, `/metrics` needs it as a bearer token.
    metrics_key: Option<Secret>,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    shutdown: Shutdown,
}

/// The port's routes. With a `metrics_key`, `/metrics` needs it as a bearer token.
pub fn router(metrics: Arc<Metrics>, metrics_key: Option<Secret>, readiness: Readiness, shutdown: Shutdown) -> Router {
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { Json(json!({"status": "alive"})) }))
        .route("/readyz", get(ready))
        .with_state(Ops { metrics_key, metrics, readiness: Arc::new(readiness), shutdown })
}

async fn metrics_page(State(ops): State<Ops>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    if ops.metrics_key.as_ref().is_some_and(|key| !given.is_some_and(|given| key.matches(given))) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPEN_METRICS)], ops.metrics.page()).into_response()
}

async fn ready(State(ops): State<Ops>) -> Response {
    let mut parts = Map::new();
    let mut all = !ops.shutdown.is_draining();
    let mut degraded = false;
    for part in &ops.readiness.0 {
        let state = (part.probe)();
        if part.dispensable {
            degraded |= state.is_err();
        } else {
            all &= state.is_ok();
        }
        parts.insert(part.name.to_owned(), Value::String(state.err().unwrap_or_else(|| "ok".to_owned())));
    }
    if ops.shutdown.is_draining() {
        parts.insert("shutdown".to_owned(), Value::String("draining".to_owned()));
    }
    let (code, status) = match (all, degraded) {
        (true, false) => (StatusCode::OK, "ready"),
        (true, true) => (StatusCode::OK, "degraded"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (code, Json(json!({"status": status, "parts": parts}))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn metrics_are_open_unless_a_key_is_asked_for() {
        for (key, given, expected) in [
            (None, None, StatusCode::OK),
            (Some("sk-master"), None, StatusCode::UNAUTHORIZED),
            (Some("sk-master"), Some("Bearer sk-other"), StatusCode::UNAUTHORIZED),
            (Some("sk-master"), Some("Bearer sk-master"), StatusCode::OK),
        ] {
            let router = router(Arc::default(), key.map(Secret::new), Readiness::new(), Shutdown::new());
            let mut request = Request::get("/metrics");
            if let Some(given) = given {
                request = request.header(header::AUTHORIZATION, given);
            }
            let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), expected, "{key:?} {given:?}");
        }
    }
}
