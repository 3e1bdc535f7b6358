//! The engine: gate, quota and metrics as the Envoy edge and the management API ask them.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::config::Config;
use crate::directory::{Difference, DirectoryError, KeyFilter, SharedStore, Verification};
use crate::domain::{
    Account, BudgetDuration, Caller, CounterKey, Decision, Denial, HoldId, Key, Kind, Limits, Money, Scope, ScopeKind,
    Window,
};
use crate::gate::Gate;
use crate::grpc::{Decide, EdgeSettings, MeterSession};
use crate::http::Authorize;
use crate::manage::SpendAdjuster;
use crate::quota::Session;
use crate::quota::counters::CountersError;
use crate::request::HttpRequest;
use crate::spend::ledger::Ledger;
use crate::telemetry::Metrics;

/// What the listeners ask.
pub struct Engine {
    gate: Arc<Gate>,
    store: SharedStore,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    edge: ArcSwap<EdgeSettings>,
}

impl Engine {
    #[must_use]
    pub fn new(gate: Arc<Gate>, store: SharedStore, ledger: Arc<Ledger>, metrics: Arc<Metrics>) -> Self {
        let config = Arc::clone(&gate.settings().config);
        tell_shadow(&config, &metrics);
        Engine { gate, store, ledger, metrics, edge: ArcSwap::from_pointee(edge_settings(&config)) }
    }

    /// Puts a new configuration in force for all requests that begin from now on.
    pub fn reload(&self, config: Arc<Config>) -> Result<(), String> {
        let edge = Arc::new(edge_settings(&config));
        let calendar = |config: &Config| {
            let litellm = &config.litellm_settings;
            (litellm.timezone.clone(), litellm.budget_reset_time.clone())
        };
        let (before, after) = (calendar(&self.gate.settings().config), calendar(&config));
        self.gate.reload(config)?;
        if before != after {
            tracing::warn!("timezone or budget_reset_time changed: budgets that follow them begin anew");
        }
        self.edge.store(edge);
        tell_shadow(&self.gate.settings().config, &self.metrics);
        Ok(())
    }

    /// The periods of a scope's budgets, those of a linked budget row included.
    async fn durations(&self, scope: &Scope) -> Result<Vec<BudgetDuration>, DirectoryError> {
        let names = scope.names();
        let first = names.first().map_or("", String::as_str);
        let found: Option<(Limits, Option<String>)> = match scope.kind() {
            ScopeKind::Key => self.key_of_books(first).await?.map(|key| (key.limits, key.budget_id)),
            ScopeKind::Team => self.store.team(first).await?.map(|team| (team.limits, None)),
            ScopeKind::User => self.store.user(first).await?.map(|user| (user.limits, None)),
            ScopeKind::Organization => {
                let organization = self.store.organization(first).await?;
                organization.map(|organization| (organization.limits, organization.budget_id))
            }
            _ => None,
        };
        let Some((mut limits, budget_id)) = found else { return Ok(Vec::new()) };
        if let Some(budget_id) = budget_id
            && let Some(budget) = self.store.budget(&budget_id).await?
        {
            limits = limits.or(&budget.limits);
        }
        let windows = limits.budget_limits.iter().map(|window| window.budget_duration);
        Ok(limits.budget_duration.into_iter().chain(windows).collect())
    }

    /// The key whose books have this name.
    async fn key_of_books(&self, name: &str) -> Result<Option<Key>, DirectoryError> {
        let Ok(first_token) = name.parse() else { return Ok(None) };
        let filter = KeyFilter { first_token: Some(first_token), decides: true, limit: 1, ..KeyFilter::default() };
        Ok(self.store.list_keys(&filter).await?.rows.pop())
    }
}

impl Engine {
    /// What a budget counter and the books say of one account, where they differ. Requests settle meanwhile, so a
    /// difference counts only if it is still there when both are read again.
    async fn difference(&self, account: &Account, mut counted: Money) -> Result<Option<Difference>, CountersError> {
        let quota = self.gate.quota();
        let counter = CounterKey {
            scope: account.scope.clone(),
            kind: Kind::Spend,
            window: Window::Period(account.period.clone()),
        };
        let mut booked = Money::ZERO;
        for _ in 0..READINGS {
            booked = quota.books().spent(account).await?;
            if booked == counted {
                return Ok(None);
            }
            match quota.counters().read(&counter).await? {
                Some((spent, _)) => counted = Money::nanos(spent),
                // It left the table, and is loaded from the books when it is needed again.
                None => return Ok(None),
            }
        }
        Ok(Some(Difference {
            place: "counters".to_owned(),
            account: format!("{} {}", account.scope, account.period.id),
            expected_nanodollars: booked.as_nanos(),
            found_nanodollars: counted.as_nanos(),
        }))
    }
}

/// How often a budget counter is compared with the books before it is said to differ.
const READINGS: usize = 5;

/// Nobody should take a gate in shadow mode for one that guards.
fn tell_shadow(config: &Config, metrics: &Metrics) {
    metrics.check.shadow.set(i64::from(config.shadow.enabled));
    if config.shadow.enabled {
        tracing::warn!("the whole gate is in shadow mode (shadow.enabled): nothing is refused");
    }
}

fn edge_settings(config: &Config) -> EdgeSettings {
    EdgeSettings {
        on_error: config.request.on_error,
        shadow: config.shadow.enabled,
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

    async fn verify(&self) -> Result<Verification, DirectoryError> {
        let unavailable = |error: &dyn std::fmt::Display| DirectoryError::Unavailable(error.to_string());
        self.ledger.flush().await.map_err(|error| unavailable(&error))?;
        let mut proof = self.ledger.verify().await.map_err(|error| unavailable(&error))?;
        let counters = self.gate.quota().counters().budgets().await.map_err(|error| unavailable(&error))?;
        for (account, counted) in counters {
            let found = self.difference(&account, counted).await.map_err(|error| unavailable(&error))?;
            proof.differences.extend(found);
        }
        Ok(proof)
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
