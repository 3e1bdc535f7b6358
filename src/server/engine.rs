//! The engine: gate, quota and metrics as the Envoy edge and the management API ask them.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::config::Config;
use crate::directory::DirectoryError;
use crate::domain::{BudgetDuration, Caller, Decision, Denial, HoldId, Limits, Money, Scope, ScopeKind};
use crate::gate::Gate;
use crate::grpc::{Decide, EdgeSettings, MeterSession};
use crate::http::Authorize;
use crate::manage::SpendAdjuster;
use crate::quota::Session;
use crate::quota::counters::CountersError;
use crate::request::HttpRequest;
use crate::telemetry::Metrics;

/// What the listeners ask.
pub struct Engine {
    gate: Arc<Gate>,
    store: crate::directory::SharedStore,
    metrics: Arc<Metrics>,
    edge: ArcSwap<EdgeSettings>,
}

impl Engine {
    #[must_use]
    pub fn new(gate: Arc<Gate>, store: crate::directory::SharedStore, metrics: Arc<Metrics>) -> Self {
        let edge = ArcSwap::from_pointee(edge_settings(&gate.settings().config));
        Engine { gate, store, metrics, edge }
    }

    /// Puts a new configuration in force for all requests that begin from now on.
    pub fn reload(&self, config: Arc<Config>) -> Result<(), String> {
        let edge = Arc::new(edge_settings(&config));
        self.gate.reload(config)?;
        self.edge.store(edge);
        Ok(())
    }

    /// The periods of a scope's budgets.
    async fn durations(&self, scope: &Scope) -> Result<Vec<BudgetDuration>, DirectoryError> {
        let names = scope.names();
        let first = names.first().map_or("", String::as_str);
        let limits: Option<Limits> = match scope.kind() {
            ScopeKind::Key => match first.parse() {
                Ok(token) => self.store.key(&token).await?.map(|key| key.limits),
                Err(_) => None,
            },
            ScopeKind::Team => self.store.team(first).await?.map(|team| team.limits),
            ScopeKind::User => self.store.user(first).await?.map(|user| user.limits),
            ScopeKind::Organization => self.store.organization(first).await?.map(|organization| organization.limits),
            _ => None,
        };
        let Some(limits) = limits else { return Ok(Vec::new()) };
        let windows = limits.budget_limits.iter().map(|window| window.budget_duration);
        let mut durations: Vec<BudgetDuration> = limits.budget_duration.into_iter().chain(windows).collect();
        durations.dedup();
        Ok(durations)
    }
}

fn edge_settings(config: &Config) -> EdgeSettings {
    EdgeSettings {
        on_error: config.request.on_error,
        log_denials: config.telemetry.log_denials,
        log_allows: config.telemetry.log_allows,
    }
}

impl Decide for Engine {
    async fn decide(&self, request: &HttpRequest<'_>) -> Decision {
        self.gate.decide(request).await
    }

    fn release(&self, hold: HoldId) {
        self.gate.quota().release(hold);
    }

    fn settings(&self) -> Arc<EdgeSettings> {
        self.edge.load_full()
    }

    fn meter(&self, token: &str, gateway: IpAddr) -> Option<Box<dyn MeterSession>> {
        let settings = self.gate.settings().session;
        let session = self.gate.quota().open(token, gateway, settings)?;
        Some(Box::new(Metered { session, metrics: Arc::clone(&self.metrics) }))
    }
}

#[async_trait]
impl Authorize for Engine {
    async fn authorize(&self, request: &HttpRequest<'_>) -> Result<Caller, Denial> {
        self.gate.authorize(request).await
    }
}

#[async_trait]
impl SpendAdjuster for Engine {
    async fn adjust(&self, scope: Scope, to: Money) -> Result<(), DirectoryError> {
        let durations = self.durations(&scope).await?;
        let settings = self.gate.settings();
        let changed = self.gate.quota().set_spend(&scope, &durations, settings.periods(), to).await;
        changed.map(|_| ()).map_err(|error: CountersError| DirectoryError::Unavailable(error.to_string()))
    }
}

/// A session whose end is counted.
struct Metered {
    session: Session,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl MeterSession for Metered {
    fn rewrite_request(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        self.session.rewrite_request(body)
    }

    async fn started(&mut self) {
        self.session.started().await;
    }

    fn response_headers(&mut self, status: u16, content_type: Option<&str>, content_encoding: Option<&str>) {
        self.session.response_headers(status, content_type, content_encoding);
    }

    fn response_body(&mut self, chunk: &[u8]) {
        self.session.response_body(chunk);
    }

    async fn finished(&mut self, complete: bool) {
        let Some(ended) = self.session.finished(complete).await else { return };
        if ended.estimated {
            self.metrics.settlements.estimated.inc();
        }
        if ended.cost > ended.held {
            self.metrics.settlements.overrun.inc();
        }
    }
}
