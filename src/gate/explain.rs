//! Explanations: a decision with every step that led to it, for `tollward check`.

use serde::Serialize;

use super::{Gate, Settings, Vetted};
use crate::domain::{Denial, Kind, Money, Step, Timestamp, Trace};
use crate::quota::headers;
use crate::request::HttpRequest;

/// A decision and how it came about.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub allowed: bool,
    pub steps: Vec<Step>,
    /// Of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Headers the upstream would receive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstream_headers: Vec<(String, String)>,
}

impl Gate {
    /// The decision on a request with every step that led to it. Nothing is held or charged; budgets are read from the
    /// ledger, and rate limits are listed without what other requests used of them.
    pub async fn explain(&self, http: &HttpRequest<'_>) -> Explanation {
        let settings = self.settings();
        let now = Timestamp::now();
        let mut trace = Trace::on();
        let vetted = match self.vet(&settings, http, now, &mut trace).await {
            Ok(vetted) => vetted,
            Err(denial) => return refused(trace, &denial),
        };
        match self.explain_limits(&settings, &vetted, now, &mut trace).await {
            Ok(()) => {}
            Err(denial) => return refused(trace, &denial),
        }
        let allow = self.preview(&settings, http, &vetted);
        trace.step("decision", "allow");
        Explanation {
            allowed: true,
            steps: trace.into_steps(),
            status: None,
            error: None,
            reason: None,
            upstream_headers: allow,
        }
    }

    async fn explain_limits(
        &self,
        settings: &Settings,
        vetted: &Vetted<'_>,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<(), Denial> {
        if vetted.is_public || !super::worst::is_charged(settings, vetted) {
            trace.step("limits", "none: the request costs nothing");
            return Ok(());
        }
        let worst = self.worst(settings, vetted)?;
        let plan = settings.plans.of(&vetted.caller, &settings.config, now);
        let bound = self.bind(settings, vetted, &plan, &worst, now).await?;
        super::admission::check_meterable(settings, vetted, &bound)?;
        trace.step("price", format_args!("at most {} ({} input tokens estimated)", worst.cost, worst.input_tokens));
        for charge in bound.charges() {
            let scope = &charge.counter.scope;
            let kind = charge.counter.kind;
            let spent = self.quota.spent(charge).await.map_err(|error| {
                let refused = crate::quota::Refused::Unavailable(error);
                crate::quota::refusal::denial(&refused, &vetted.caller, 503, now)
            })?;
            let Some(spent) = spent else {
                trace.step("limit", format_args!("{scope} {}: {} of {}", kind.as_str(), charge.amount, charge.limit));
                continue;
            };
            debug_assert_eq!(kind, Kind::Spend);
            let (amount, limit) = (Money::nanos(charge.amount), Money::nanos(charge.limit));
            trace.step("budget", format_args!("{scope}: spent {}, holds {amount}, limit {limit}", Money::nanos(spent)));
            if spent.saturating_add(charge.amount) > charge.limit {
                let message = format!(
                    "Budget has been exceeded! {scope}: current cost {}, max budget {limit}",
                    Money::nanos(spent)
                );
                let mut denial = Denial::new(crate::domain::ErrorType::BudgetExceeded, "budget", message);
                denial.status = settings.config.litellm_settings.budget_exceeded_status_code;
                return Err(denial);
            }
        }
        Ok(())
    }
}

fn refused(mut trace: Trace, denial: &Denial) -> Explanation {
    let wait = denial.retry_after.map(|after| format!(", retry after {} s", headers::seconds(after)));
    trace.step("decision", format_args!("deny {}: {}{}", denial.status, denial.reason, wait.unwrap_or_default()));
    Explanation {
        allowed: false,
        steps: trace.into_steps(),
        status: Some(denial.status),
        error: serde_json::from_str(&denial.body()).ok(),
        reason: Some(denial.reason.clone().into_owned()),
        upstream_headers: Vec::new(),
    }
}
