//! What is counted. Handles are resolved when the process starts, so that the path of a Check adds to a number and hashes
//! no labels; only refusals are looked up by name, and their names are bounded.

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::histogram::Durations;
use crate::domain::{Decision, Money};

/// Different reasons of refusals shown at most; later ones are counted as `other`.
const MAX_REASONS: usize = 256;

type GaugeF64 = Gauge<f64, AtomicU64>;
type CounterF64 = Counter<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

/// Everything that is counted; shared as `Arc<Metrics>`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub check: CheckMetrics,
    pub holds: HoldMetrics,
    pub settlements: SettlementMetrics,
    pub ledger: LedgerMetrics,
    pub counters: CountersMetrics,
    pub meter: MeterMetrics,
    pub reload: ReloadMetrics,
    pub cache: CacheMetrics,
    /// Soft budgets passed, once a budget and period.
    pub soft_budgets: Counter,
    /// Connections open on the gRPC port, and those turned away (not in `grpc_clients`, too many, failed handshake).
    pub connections: Gauge,
    pub connections_refused: Counter,
}

/// Decisions of the Check.
#[derive(Debug)]
pub struct CheckMetrics {
    pub seconds: Durations,
    allowed: Counter,
    decisions: Family<Outcome, Counter>,
    reasons: Mutex<HashSet<String>>,
    failures: Family<Code, Counter>,
    /// 1 while the whole gate is in shadow mode.
    pub shadow: Gauge,
    shadow_denials: Family<ReasonLabel, Counter>,
    /// Checks without an HTTP request.
    pub refused_connections: Counter,
}

/// Holds open, by state.
#[derive(Debug)]
pub struct HoldMetrics {
    pub held: Gauge,
    pub started: Gauge,
    pub expired: Counter,
}

/// Settlements by the kind of record they book.
#[derive(Debug)]
pub struct SettlementMetrics {
    pub usage: Counter,
    pub unsettled: Counter,
    pub unmetered: Counter,
    pub adjustment: Counter,
    /// Of `usage`, those whose usage was estimated, and those that cost more than was held.
    pub estimated: Counter,
    pub overrun: Counter,
    spend: CounterF64,
}

/// The ledger's distance from the database.
#[derive(Debug)]
pub struct LedgerMetrics {
    /// Age of the oldest record that is not written, in seconds.
    pub lag_seconds: GaugeF64,
    pub pending: Gauge,
    pub failures: Counter,
}

/// Counters that several replicas share.
#[derive(Debug)]
pub struct CountersMetrics {
    /// 1 while Redis answers; of counters in memory always 1.
    pub up: Gauge,
    /// What Redis is to be told when it answers again.
    pub backlog: Gauge,
    /// Replicas last seen, this one included.
    pub replicas: Gauge,
}

/// Streams of the meter.
#[derive(Debug)]
pub struct MeterMetrics {
    pub open: Gauge,
    pub complete: Counter,
    pub broken_off: Counter,
    /// Streams without a token we signed: passed on, not metered.
    pub unsigned: Counter,
    pub rewritten: Counter,
}

/// What is read again while running.
#[derive(Debug)]
pub struct ReloadMetrics {
    pub config_ok: Counter,
    pub config_failed: Counter,
    pub price_map_ok: Counter,
    pub price_map_failed: Counter,
    pub tls_ok: Counter,
    pub tls_failed: Counter,
}

/// The cache in front of the directory.
#[derive(Debug)]
pub struct CacheMetrics {
    pub hits: Counter,
    pub misses: Counter,
    /// Entries used past their time because the directory did not answer.
    pub stale: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tollward");
        let check = CheckMetrics::register(&mut registry);
        let holds = Family::<StateLabel, Gauge>::default();
        let expired = Counter::default();
        registry.register("holds", "Holds open, by state", holds.clone());
        registry.register("holds_expired", "Holds whose time ran out before they were settled", expired.clone());
        let settlements = SettlementMetrics::register(&mut registry);
        let ledger = LedgerMetrics::register(&mut registry);
        let counters = CountersMetrics::register(&mut registry);
        let meter = MeterMetrics::register(&mut registry);
        let reload = ReloadMetrics::register(&mut registry);
        let cache = CacheMetrics::register(&mut registry);
        let (soft_budgets, connections, connections_refused) =
            (Counter::default(), Gauge::default(), Counter::default());
        registry.register("soft_budgets_passed", "Soft budgets passed, once a period", soft_budgets.clone());
        registry.register("connections", "Connections open on the gRPC port", connections.clone());
        registry.register("connections_refused", "Connections turned away", connections_refused.clone());
        Metrics {
            check,
            holds: HoldMetrics {
                held: holds.get_or_create_owned(&StateLabel { state: "held" }),
                started: holds.get_or_create_owned(&StateLabel { state: "started" }),
                expired,
            },
            settlements,
            ledger,
            counters,
            meter,
            reload,
            cache,
            soft_budgets,
            connections,
            connections_refused,
            registry,
        }
    }

    /// The page that Prometheus reads, in the OpenMetrics text format.
    #[must_use]
    pub fn page(&self) -> String {
        let mut page = String::with_capacity(8 * 1024);
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut page, &self.registry);
        page
    }
}

impl CheckMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (seconds, decisions) = (Durations::default(), Family::<Outcome, Counter>::default());
        let (failures, refused_connections) = (Family::default(), Counter::default());
        registry.register("check_duration_seconds", "From a Check's headers to its answer", seconds.clone());
        registry.register("decisions", "Decisions by outcome and reason", decisions.clone());
        registry.register("check_failures", "Checks answered by a gRPC error, by code", Family::clone(&failures));
        registry.register("check_connections", "Checks without an HTTP request", refused_connections.clone());
        let allowed = decisions.get_or_create_owned(&Outcome { outcome: "allow", reason: String::new() });
        let (shadow, shadow_denials) = (Gauge::default(), Family::<ReasonLabel, Counter>::default());
        registry.register("shadow", "1 while the whole gate is in shadow mode", shadow.clone());
        let help = "Requests that passed because what would have refused them is in shadow mode, by its reason";
        registry.register("shadow_denials", help, shadow_denials.clone());
        CheckMetrics {
            seconds,
            allowed,
            decisions,
            reasons: Mutex::default(),
            failures,
            shadow,
            shadow_denials,
            refused_connections,
        }
    }

    /// Counts a decision; one that shadow mode let pass is an allowed one, and counts as what it would have been too.
    pub fn decided(&self, decision: &Decision) {
        let denial = match decision {
            Decision::Allow(allow) => {
                self.allowed.inc();
                if let Some(denial) = &allow.shadow {
                    let reason = self.bounded(&denial.reason).to_owned();
                    self.shadow_denials.get_or_create(&ReasonLabel { reason }).inc();
                }
                return;
            }
            Decision::Deny(denial) => denial,
        };
        let outcome = if denial.is_infrastructure() { "error" } else { "deny" };
        let reason = self.bounded(&denial.reason).to_owned();
        self.decisions.get_or_create(&Outcome { outcome, reason }).inc();
    }

    fn bounded<'r>(&self, reason: &'r str) -> &'r str {
        let mut reasons = self.reasons.lock();
        if reasons.contains(reason) {
            return reason;
        }
        if reasons.len() >= MAX_REASONS {
            return "other";
        }
        reasons.insert(reason.to_owned());
        reason
    }

    /// Counts a Check that was answered by a gRPC error.
    pub fn failed(&self, code: tonic::Code) {
        let code = match code {
            tonic::Code::InvalidArgument => "invalid_argument",
            tonic::Code::ResourceExhausted => "resource_exhausted",
            tonic::Code::DeadlineExceeded => "deadline_exceeded",
            tonic::Code::Unavailable => "unavailable",
            tonic::Code::Unimplemented => "unimplemented",
            tonic::Code::Cancelled => "cancelled",
            _ => "internal",
        };
        self.failures.get_or_create(&Code { code }).inc();
    }
}

impl SettlementMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (kinds, spend) = (Family::<KindLabel, Counter>::default(), CounterF64::default());
        registry.register("settlements", "Settlements by the kind of record they book", kinds.clone());
        registry.register("spend_dollars", "Dollars booked", spend.clone());
        let (estimated, overrun) = (Counter::default(), Counter::default());
        registry.register("settlements_estimated", "Settlements whose usage was estimated", estimated.clone());
        registry.register("settlements_overrun", "Settlements that cost more than was held", overrun.clone());
        let of = |kind| kinds.get_or_create_owned(&KindLabel { kind });
        SettlementMetrics {
            usage: of("usage"),
            unsettled: of("unsettled"),
            unmetered: of("unmetered"),
            adjustment: of("adjustment"),
            estimated,
            overrun,
            spend,
        }
    }

    /// Adds what was booked; negative adjustments do not lower a counter.
    pub fn spent(&self, cost: Money) {
        let dollars = cost.as_nanos() as f64 / 1e9;
        if dollars > 0.0 {
            self.spend.inc_by(dollars);
        }
    }
}

impl LedgerMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (lag_seconds, pending, failures) = (GaugeF64::default(), Gauge::default(), Counter::default());
        registry.register("ledger_lag_seconds", "Age of the oldest record not yet written", lag_seconds.clone());
        registry.register("ledger_pending", "Records booked and not yet written", pending.clone());
        registry.register("ledger_failures", "Batches that the database did not take", failures.clone());
        LedgerMetrics { lag_seconds, pending, failures }
    }
}

impl CountersMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (up, backlog, replicas) = (Gauge::default(), Gauge::default(), Gauge::default());
        up.set(1);
        replicas.set(1);
        registry.register("counters_up", "Whether the counters answer", up.clone());
        registry.register(
            "counters_backlog",
            "What the counters are to be told when they answer again",
            backlog.clone(),
        );
        registry.register("counters_replicas", "Replicas last seen at the counters", replicas.clone());
        CountersMetrics { up, backlog, replicas }
    }
}

impl MeterMetrics {
    fn register(registry: &mut Registry) -> Self {
        let (open, ended) = (Gauge::default(), Family::<ResultLabel, Counter>::default());
        let (unsigned, rewritten) = (Counter::default(), Counter::default());
        registry.register("meter_streams", "Streams of the meter that are open", open.clone());
        registry.register("meter_ended", "Metered exchanges by how they ended", ended.clone());
        registry.register("meter_unsigned", "Streams without a token we signed", unsigned.clone());
        registry.register("meter_rewritten", "Request bodies rewritten", rewritten.clone());
        let of = |result| ended.get_or_create_owned(&ResultLabel { result });
        MeterMetrics { open, complete: of("complete"), broken_off: of("broken_off"), unsigned, rewritten }
    }
}

impl ReloadMetrics {
    fn register(registry: &mut Registry) -> Self {
        let mut family = |name: &str, help: &str| {
            let family = Family::<ResultLabel, Counter>::default();
            registry.register(name, help, family.clone());
            let of = |result| family.get_or_create_owned(&ResultLabel { result });
            (of("ok"), of("failed"))
        };
        let (config_ok, config_failed) = family("config_reloads", "The configuration, read again");
        let (price_map_ok, price_map_failed) = family("price_map_reloads", "The price map, read again");
        let (tls_ok, tls_failed) = family("tls_reloads", "Certificates, read again");
        ReloadMetrics { config_ok, config_failed, price_map_ok, price_map_failed, tls_ok, tls_failed }
    }
}

impl CacheMetrics {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        registry.register("directory_cache", "Look-ups of callers by what the cache had", family.clone());
        let of = |result| family.get_or_create_owned(&ResultLabel { result });
        CacheMetrics { hits: of("hit"), misses: of("miss"), stale: of("stale") }
    }
}
