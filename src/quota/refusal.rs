//! Refusals in words: which limit, how much, and when to come back.

use std::borrow::Cow;
use std::time::Duration;

use super::admission::Refused;
use super::counters::Refusal;
use super::headers;
use crate::domain::{Caller, Charge, Denial, ErrorType, Hold, Kind, Money, ScopeKind, Timestamp, Window};

/// The denial of an admission that was refused. `budget_status` is what a spent budget is answered with.
#[must_use]
pub fn denial(refused: &Refused, caller: &Caller, budget_status: u16, now: Timestamp) -> Denial {
    match refused {
        Refused::Limit { hold, refusal } => of_limit(hold, refusal, caller, budget_status, now),
        Refused::WrongPeriod { .. } => unavailable("quota.wrong_period", "A budget period just ended; try again"),
        Refused::MeterDead { retry_after } => {
            let mut denial = unavailable(
                "quota.meter_dead",
                "Spend on this gateway is not metered at the moment, so requests under a budget or token limit are not \
                 served; the operator must enable the metering filter (ext_proc)",
            );
            denial.retry_after = Some(*retry_after);
            denial
        }
        Refused::Unavailable(error) => {
            tracing::warn!(%error, "the counters do not answer");
            unavailable("counters.unavailable", "Limits cannot be checked at the moment; try again")
        }
    }
}

fn unavailable(reason: &'static str, message: &str) -> Denial {
    let mut denial = Denial::new(ErrorType::ServiceUnavailable, reason, message);
    denial.retry_after = Some(Duration::from_secs(1));
    denial
}

fn of_limit(hold: &Hold, refusal: &Refusal, caller: &Caller, budget_status: u16, now: Timestamp) -> Denial {
    let Some(charge) = hold.charge(refusal.charge) else {
        return unavailable("counters.unavailable", "Limits cannot be checked at the moment; try again");
    };
    let who = name(charge, caller);
    let scope = charge.counter.scope.kind();
    if charge.counter.kind == Kind::Spend {
        return of_budget(charge, refusal, &who, budget_status);
    }
    let what = match charge.counter.kind {
        Kind::Requests => format!("{} requests per minute", charge.limit),
        Kind::Tokens => format!("{} tokens per minute", charge.limit),
        Kind::InFlight | Kind::Spend => format!("{} parallel requests", charge.limit),
    };
    let used = refusal.spent.saturating_add(refusal.held);
    let advice = if refusal.never {
        format!("this request alone needs {}, so waiting does not help", charge.amount)
    } else {
        format!(
            "used {used}, this request needs {}; try again in {} s",
            charge.amount,
            headers::seconds(refusal.retry_after)
        )
    };
    let message = format!("Rate limit exceeded for {who}: {what} ({advice})");
    let mut denial = Denial::new(ErrorType::RateLimit, "rate_limit", message);
    denial.reason = Cow::Owned(charge.counter.kind.reason(scope));
    denial.headers = headers::of_refusal(charge, charge.limit.saturating_sub(used), refusal.retry_after);
    denial.headers.push((Cow::Borrowed("rate_limit_type"), charge.counter.kind.as_str().to_owned()));
    if refusal.never {
        denial.should_retry = Some(false);
    } else {
        denial.retry_after = Some(refusal.retry_after);
        let reset_at = now.plus(refusal.retry_after).to_string();
        denial.headers.push((Cow::Borrowed("reset_at"), reset_at));
    }
    denial
}

fn of_budget(charge: Charge<'_>, refusal: &Refusal, who: &str, status: u16) -> Denial {
    let window = match &charge.counter.window {
        Window::Period(period) if !period.is_total() => {
            format!(" per {}", period.id.split('@').next().unwrap_or_default())
        }
        _ => String::new(),
    };
    let spent = Money::nanos(refusal.spent);
    let held = Money::nanos(refusal.held);
    let limit = Money::nanos(charge.limit);
    let mut message = format!("Budget has been exceeded! {who}: current cost {spent}, max budget {limit}{window}");
    if !held.is_zero() {
        message.push_str(&format!(", held by running requests {held}"));
    }
    message.push_str(&format!("; this request may cost {}", Money::nanos(charge.amount)));
    let mut denial = Denial::new(ErrorType::BudgetExceeded, "budget", message);
    denial.status = status;
    denial.reason = Cow::Owned(Kind::Spend.reason(charge.counter.scope.kind()));
    let lifetime = matches!(&charge.counter.window, Window::Period(period) if period.is_total());
    if refusal.may_be_released {
        denial.retry_after = Some(Duration::from_secs(1));
    } else if refusal.never || lifetime {
        denial.should_retry = Some(false);
    } else {
        denial.retry_after = Some(refusal.retry_after);
        // Clients retry by themselves within seconds; a budget that returns in hours is not worth that.
        denial.should_retry = (refusal.retry_after > Duration::from_secs(60)).then_some(false);
    }
    denial
}

/// Whose limit it is, in words that hold no hash and no secret.
fn name(charge: Charge<'_>, caller: &Caller) -> String {
    let scope = &charge.counter.scope;
    let kind = scope.kind();
    let names = scope.names();
    let key = || {
        let key = caller.identity.key.as_ref();
        let alias = key.and_then(|key| key.key_alias.as_deref());
        let shown = alias.or(key.and_then(|key| key.key_name.as_deref())).unwrap_or("this key");
        format!("Key={shown}")
    };
    let last = names.last().map_or("", String::as_str);
    match kind {
        ScopeKind::Global => "the whole gateway".to_owned(),
        ScopeKind::Key => key(),
        ScopeKind::ModelPerKey => format!("{} Model={last}", key()),
        ScopeKind::TagPerKey => format!("{} Tag={last}", key()),
        ScopeKind::Organization => format!("Organization={last}"),
        ScopeKind::Project => format!("Project={last}"),
        ScopeKind::Team => format!("Team={last}"),
        ScopeKind::Member => format!("Team member={last}"),
        ScopeKind::User => format!("User={last}"),
        ScopeKind::EndUser => format!("End user={last}"),
        ScopeKind::Tag => format!("Tag={last}"),
        ScopeKind::AccessGroup => format!("Access group={last}"),
        ScopeKind::ModelPerOrganization
        | ScopeKind::ModelPerProject
        | ScopeKind::ModelPerTeam
        | ScopeKind::ModelPerMember
        | ScopeKind::ModelPerUser
        | ScopeKind::ModelPerEndUser => {
            let entity = kind.as_str().trim_start_matches("model_per_");
            let owner = names.len().checked_sub(2).and_then(|at| names.get(at)).map_or("", String::as_str);
            format!("{entity} {owner} Model={last}")
        }
    }
}
