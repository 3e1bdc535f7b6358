//! Limits of a child beside those of its parent.

use std::fmt::Display;

use super::super::Result;
use super::{Parent, exceeds};
use crate::domain::{BudgetDuration, BudgetWindow, Limits};

/// Gives the child what it left unset and the parent has bounded.
pub(super) fn inherit(limits: &mut Limits, bound: &Limits) {
    // An amount and its period belong together.
    if limits.max_budget.is_none() && bound.max_budget.is_some() {
        (limits.max_budget, limits.budget_duration) = (bound.max_budget, bound.budget_duration);
    }
    limits.rpm_limit = limits.rpm_limit.or(bound.rpm_limit);
    limits.tpm_limit = limits.tpm_limit.or(bound.tpm_limit);
    limits.tpd_limit = limits.tpd_limit.or(bound.tpd_limit);
    limits.max_parallel_requests = limits.max_parallel_requests.or(bound.max_parallel_requests);
    let missing = |window: &&BudgetWindow| !limits.budget_limits.iter().any(|own| is_within(own, window));
    let missing: Vec<BudgetWindow> = bound.budget_limits.iter().filter(missing).cloned().collect();
    limits.budget_limits.extend(missing);
    for (model, limit) in &bound.model_max_budget {
        limits.model_max_budget.entry(model.clone()).or_insert_with(|| limit.clone());
    }
    for (model, limit) in &bound.model_rpm_limit {
        limits.model_rpm_limit.entry(model.clone()).or_insert(*limit);
    }
    for (model, limit) in &bound.model_tpm_limit {
        limits.model_tpm_limit.entry(model.clone()).or_insert(*limit);
    }
    let entries = bound.by_model();
    for (model, own) in limits.by_model() {
        let Some(bound) = entries.get(&model) else { continue };
        if let (None, Some(budget)) = (own.max_budget, bound.max_budget) {
            let entry = limits.model_max_budget.entry(model.clone()).or_default();
            (entry.max_budget, entry.budget_duration) = (Some(budget), bound.budget_duration);
        }
        if let (None, Some(limit)) = (own.rpm_limit, bound.rpm_limit) {
            limits.model_rpm_limit.insert(model.clone(), limit);
        }
        if let (None, Some(limit)) = (own.tpm_limit, bound.tpm_limit) {
            limits.model_tpm_limit.insert(model, limit);
        }
    }
}

/// Whether one window of a budget never lets more through than another. Windows of two lengths do not begin together: less
/// in a longer one may be more in a shorter.
fn is_within(window: &BudgetWindow, other: &BudgetWindow) -> bool {
    window.budget_duration == other.budget_duration && window.max_budget <= other.max_budget
}

/// Refuses what is above a limit of the parent's.
pub(super) fn check(child: &Limits, parent: &Parent) -> Result<()> {
    let limit = &parent.grant.limits;
    at_most("max_budget", child.max_budget, limit.max_budget, parent)?;
    at_most("rpm_limit", child.rpm_limit, limit.rpm_limit, parent)?;
    at_most("tpm_limit", child.tpm_limit, limit.tpm_limit, parent)?;
    at_most("tpd_limit", child.tpd_limit, limit.tpd_limit, parent)?;
    at_most("max_parallel_requests", child.max_parallel_requests, limit.max_parallel_requests, parent)?;
    for window in &child.budget_limits {
        let same = limit.budget_limits.iter().find(|other| other.budget_duration == window.budget_duration);
        at_most("budget_limits", Some(window.max_budget), same.map(|other| other.max_budget), parent)?;
    }
    for (model, child) in &child.model_max_budget {
        let limit = limit.model_max_budget.get(model);
        at_most("model_max_budget", child.max_budget, limit.and_then(|limit| limit.max_budget), parent)?;
    }
    for (model, child) in &child.model_rpm_limit {
        at_most("model_rpm_limit", Some(*child), limit.model_rpm_limit.get(model).copied(), parent)?;
    }
    for (model, child) in &child.model_tpm_limit {
        at_most("model_tpm_limit", Some(*child), limit.model_tpm_limit.get(model).copied(), parent)?;
    }
    Ok(())
}

/// What is compared besides where no request with the child is held to the parent's limits. The same amount more often is
/// more. And an entry that only the child has may bind a model in place of one of the parent's, by a group or an alias or
/// because it is more exact.
pub(super) fn check_handed_on(child: &Limits, parent: &Parent) -> Result<()> {
    let limit = &parent.grant.limits;
    if child.max_budget.is_some() && limit.max_budget.is_some() {
        period("budget_duration", child.budget_duration, limit.budget_duration, parent)?;
    }
    let entries = limit.by_model();
    if entries.is_empty() {
        return Ok(());
    }
    for (model, child) in child.by_model() {
        let Some(limit) = entries.get(&model) else {
            return Err(exceeds("model_max_budget", parent, &format!("{model:?} would count apart from its models")));
        };
        at_most("model_max_budget", child.max_budget, limit.max_budget, parent)?;
        if child.max_budget.is_some() && limit.max_budget.is_some() {
            period("model_max_budget", child.budget_duration, limit.budget_duration, parent)?;
        }
        at_most("model_rpm_limit", child.rpm_limit, limit.rpm_limit, parent)?;
        at_most("model_tpm_limit", child.tpm_limit, limit.tpm_limit, parent)?;
    }
    Ok(())
}

/// A budget may start anew no more often than the parent's.
fn period(
    name: &'static str,
    child: Option<BudgetDuration>,
    limit: Option<BudgetDuration>,
    parent: &Parent,
) -> Result<()> {
    let Some(child) = child else { return Ok(()) };
    match limit {
        Some(limit) if child.as_duration() >= limit.as_duration() => Ok(()),
        Some(limit) => Err(exceeds(name, parent, &format!("its budget starts anew every {limit}, not every {child}"))),
        None => Err(exceeds(name, parent, &format!("its budget never starts anew, this one every {child}"))),
    }
}

fn at_most<T: PartialOrd + Display>(
    name: &'static str,
    child: Option<T>,
    limit: Option<T>,
    parent: &Parent,
) -> Result<()> {
    match (child, limit) {
        (Some(child), Some(limit)) if child > limit => {
            Err(exceeds(name, parent, &format!("{name} {child} is above its {limit}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::Money;
    use crate::manage::delegation::Grant;

    fn bounded(limits: Limits) -> Parent {
        Parent { name: "the calling key".into(), grant: Grant { limits, ..Grant::default() } }
    }

    #[test]
    fn limits_of_a_child_stay_within_those_of_its_parent() {
        let limits = |budget: i64, rpm: u64| Limits {
            max_budget: Some(Money::nanos(budget)),
            rpm_limit: Some(rpm),
            ..Limits::default()
        };
        let parent = bounded(limits(100, 10));
        for (child, expected) in [
            (limits(100, 10), None),
            (Limits::default(), None),
            (limits(101, 10), Some("max_budget")),
            (limits(100, 11), Some("rpm_limit")),
        ] {
            let refused = check(&child, &parent).err();
            assert_eq!(refused.and_then(|error| error.param).as_deref(), expected);
        }
    }

    #[test]
    fn a_budget_that_is_handed_on_starts_anew_no_more_often() {
        let limits = |period: &str| -> Limits {
            let period = if period.is_empty() { json!(null) } else { json!(period) };
            serde_json::from_value(json!({"max_budget": 10, "budget_duration": period,
                "model_max_budget": {"gpt-4o": {"max_budget": 1, "budget_duration": period}}}))
            .unwrap()
        };
        for (parent, child, expected) in [
            ("30d", "30d", true),
            ("30d", "60d", true),
            ("30d", "", true),
            ("30d", "1d", false),
            ("", "", true),
            ("", "30d", false),
        ] {
            let parent = bounded(limits(parent));
            assert_eq!(check_handed_on(&limits(child), &parent).is_ok(), expected, "{child:?} of {parent:?}");
            // Those of a team are budgets of the team, whatever its keys have.
            assert!(check(&limits(child), &parent).is_ok());
            let other = Limits { max_budget: None, ..limits(child) };
            let refused = check_handed_on(&other, &parent).err().and_then(|error| error.param);
            assert_eq!(refused.as_deref(), (!expected).then_some("model_max_budget"));
        }
    }

    #[test]
    fn a_model_of_a_key_is_bounded_as_its_maker_is() {
        let limits = |value: serde_json::Value| -> Limits { serde_json::from_value(value).unwrap() };
        let budget = |name: &str, dollars: f64| limits(json!({"model_max_budget": {name: {"max_budget": dollars}}}));
        for (parent, child, inherited, refused) in [
            // Nothing of its own is what the maker has.
            (budget("gpt-4o", 1.0), limits(json!({"model_max_budget": {"gpt-4o": {}}})), Some(1.0), None),
            (budget("gpt-4o", 1.0), budget("gpt-4o", 0.5), Some(0.5), None),
            (budget("gpt-4o", 1.0), budget("gpt-4o", 2.0), Some(2.0), Some("model_max_budget")),
            (Limits::default(), budget("gpt-4o", 2.0), Some(2.0), None),
            (budget("gpt-*", 1.0), budget("gpt-*", 1.0), None, None),
            // A more exact name, a model of a group, a group, an alias: each may bind in place of what the maker has.
            (budget("gpt-*", 1.0), budget("gpt-4o", 0.5), Some(0.5), Some("model_max_budget")),
            (budget("cheap", 1.0), limits(json!({"model_rpm_limit": {"haiku": 3}})), None, Some("model_max_budget")),
            (budget("gpt-*", 1.0), budget("cheap", 0.5), None, Some("model_max_budget")),
            (budget("gpt-4o", 1.0), budget("fast", 0.5), Some(1.0), Some("model_max_budget")),
            // Rates stand in two places.
            (
                limits(json!({"model_rpm_limit": {"gpt-4o": 5}})),
                limits(json!({"model_max_budget": {"gpt-4o": {"rpm_limit": 9}}})),
                None,
                None,
            ),
            (
                limits(json!({"model_max_budget": {"gpt-4o": {"tpm_limit": 5}}})),
                limits(json!({"model_max_budget": {"gpt-4o": {"tpm_limit": 9}}})),
                None,
                Some("model_tpm_limit"),
            ),
        ] {
            let parent = bounded(parent);
            let mut whole = child.clone();
            inherit(&mut whole, &parent.grant.limits);
            let got = check(&whole, &parent).and_then(|()| check_handed_on(&whole, &parent));
            let got = got.err().and_then(|error| error.param);
            assert_eq!(got.as_deref(), refused, "{child:?} of {:?}", parent.grant.limits);
            let of_gpt = whole.model_max_budget.get("gpt-4o").and_then(|entry| entry.max_budget);
            assert_eq!(of_gpt.map(|money| money.as_nanos() as f64 / 1e9), inherited, "{child:?}");
        }
    }

    #[test]
    fn a_key_has_every_window_of_its_maker_or_one_within_it() {
        let window = |period: &str, dollars: i64| BudgetWindow {
            budget_duration: period.parse().unwrap(),
            max_budget: Money::nanos(dollars * 1_000_000_000),
        };
        let maker = Limits { budget_limits: vec![window("1d", 10), window("30d", 100)], ..Limits::default() };
        for (own, expected) in [
            (vec![], vec![("1d", 10), ("30d", 100)]),
            (vec![("1h", 1)], vec![("1h", 1), ("1d", 10), ("30d", 100)]),
            (vec![("1d", 5)], vec![("1d", 5), ("30d", 100)]),
            (vec![("60d", 10)], vec![("60d", 10), ("1d", 10), ("30d", 100)]),
        ] {
            let windows = |list: &[(&str, i64)]| -> Vec<BudgetWindow> {
                list.iter().map(|(period, dollars)| window(period, *dollars)).collect()
            };
            let mut child = Limits { budget_limits: windows(&own), ..Limits::default() };
            inherit(&mut child, &maker);
            assert_eq!(child.budget_limits, windows(&expected), "{own:?}");
        }
    }
}
