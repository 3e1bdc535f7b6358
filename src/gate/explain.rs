//! Explanations: a decision with every step that led to it, for `tollward check`.

use serde::Serialize;

use super::admission::check_meterable;
use super::{Gate, Settings, Vetted};
use crate::domain::{Denial, Kind, Money, Step, Timestamp, Trace};
use crate::quota::headers;
use crate::request::HttpRequest;

/// A decision and how it came about.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    pub allowed: bool,
    /// It would be refused, as told here, and passes because of shadow mode.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
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
            Err(denial) => return refused(trace, &denial, settings.shadow.whole),
        };
        let shadow = match self.explain_limits(&settings, &vetted, now, &mut trace).await {
            Ok(shadow) => shadow,
            Err(denial) => return refused(trace, &denial, settings.shadow.whole),
        };
        if let Some(denial) = vetted.shadow.as_deref().or(shadow.as_ref()) {
            return refused(trace, denial, true);
        }
        let allow = self.preview(&settings, http, &vetted);
        trace.step("decision", "allow");
        Explanation {
            allowed: true,
            shadow: false,
            steps: trace.into_steps(),
            status: None,
            error: None,
            reason: None,
            upstream_headers: allow,
        }
    }

    /// What limits refuse, or limits in shadow mode would.
    async fn explain_limits(
        &self,
        settings: &Settings,
        vetted: &Vetted<'_>,
        now: Timestamp,
        trace: &mut Trace,
    ) -> Result<Option<Denial>, Denial> {
        if vetted.is_public || !super::worst::is_charged(settings, vetted) {
            trace.step("limits", "none: the request costs nothing");
            return Ok(None);
        }
        let worst = self.worst(settings, vetted)?;
        let plan = settings.plans.of(&vetted.caller, &settings.config, now);
        let bound = self.bind(settings, vetted, &plan, &worst, now).await?;
        let mut shadow = None;
        if let Err(denial) = check_meterable(settings, vetted, &bound) {
            let lifted = settings.shadow.without(&bound).unwrap_or_else(|| bound.clone());
            check_meterable(settings, vetted, &lifted)?;
            shadow = Some(denial);
        }
        trace.step("price", format_args!("at most {} ({} input tokens estimated)", worst.cost, worst.input_tokens));
        for (charge, bounds) in bound.charges().zip(bound.binding.limits()) {
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
                denial.reason = kind.reason(scope.kind()).into();
                if !settings.shadow.holds(bounds) {
                    return Err(denial);
                }
                shadow.get_or_insert(denial);
            }
        }
        Ok(shadow)
    }
}

fn refused(mut trace: Trace, denial: &Denial, passes: bool) -> Explanation {
    let wait = denial.retry_after.map(|after| format!(", retry after {} s", headers::seconds(after)));
    let (status, reason, wait) = (denial.status, &denial.reason, wait.unwrap_or_default());
    if passes {
        trace.step("decision", format_args!("would be refused ({status}: {reason}{wait}), passes: shadow"));
    } else {
        trace.step("decision", format_args!("deny {status}: {reason}{wait}"));
    }
    Explanation {
        allowed: passes,
        shadow: passes,
        steps: trace.into_steps(),
        status: Some(denial.status),
        error: serde_json::from_str(&denial.body()).ok(),
        reason: Some(denial.reason.clone().into_owned()),
        upstream_headers: Vec::new(),
    }
}
