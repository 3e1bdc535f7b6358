//! Lines: every limit an entity carries, as one flat list that admission turns into charges.

use std::collections::BTreeMap;

use crate::domain::{Amount, BudgetDuration, Kind, Limits, ModelBudget, Money, Scope, glob};

/// One limit of one scope, before a request's amount is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub scope: Scope,
    pub kind: Kind,
    pub limit: Amount,
    /// Of a budget: its period; `None` is for life.
    pub duration: Option<BudgetDuration>,
    pub soft_limit: Option<Money>,
}

/// Which of an entity's limits bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Requests, tokens and in-flight, without budgets: a user's on a team key.
    Rates,
}

fn amount(limit: u64) -> Amount {
    Amount::try_from(limit).unwrap_or(Amount::MAX)
}

/// The lines of one entity's limits, budgets last.
pub fn of_limits(scope: &Scope, limits: &Limits, which: Which, lines: &mut Vec<Line>) {
    let mut rate = |kind, limit: Option<u64>| {
        if let Some(limit) = limit {
            lines.push(Line { scope: scope.clone(), kind, limit: amount(limit), duration: None, soft_limit: None });
        }
    };
    rate(Kind::InFlight, limits.max_parallel_requests);
    rate(Kind::Requests, limits.rpm_limit);
    rate(Kind::Tokens, limits.tpm_limit);
    if which == Which::Rates {
        return;
    }
    if limits.max_budget.is_some() || limits.soft_budget.is_some() {
        lines.push(Line {
            scope: scope.clone(),
            kind: Kind::Spend,
            limit: limits.max_budget.unwrap_or(Money::MAX).as_nanos(),
            duration: limits.budget_duration,
            soft_limit: limits.soft_budget,
        });
    }
    for window in &limits.budget_limits {
        lines.push(Line {
            scope: scope.clone(),
            kind: Kind::Spend,
            limit: window.max_budget.as_nanos(),
            duration: Some(window.budget_duration),
            soft_limit: None,
        });
    }
}

/// Limits of one entity on single models.
#[derive(Clone, Debug, Default)]
pub struct ModelLimits {
    entries: BTreeMap<String, ModelBudget>,
}

impl ModelLimits {
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        ModelLimits { entries: limits.by_model() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What binds a model, with the name of the entry that says so. Requests, tokens and the budget are looked for one by
    /// one: under the model's own name, else under one of its access groups, else under the longest `*` pattern that has
    /// that limit, else in `defaults`. All models of a group or a pattern share that entry's counters, so an alias never
    /// doubles a quota.
    #[must_use]
    pub fn binding<'l>(
        &'l self,
        names: &[&str],
        groups: &[impl AsRef<str>],
        defaults: Option<(&'l str, &'l ModelBudget)>,
    ) -> Vec<(&'l str, Limits)> {
        let mut bound: Vec<(&str, Limits)> = Vec::new();
        let parts: [fn(&ModelBudget) -> Limits; 3] = [
            |entry| Limits { rpm_limit: entry.rpm_limit, ..Limits::default() },
            |entry| Limits { tpm_limit: entry.tpm_limit, ..Limits::default() },
            |entry| Limits {
                max_budget: entry.max_budget,
                budget_duration: entry.max_budget.and(entry.budget_duration),
                ..Limits::default()
            },
        ];
        for part in parts {
            let has = |(name, entry): (&'l String, &'l ModelBudget)| {
                let limits = part(entry);
                (!limits.is_unlimited()).then_some((name.as_str(), limits))
            };
            let exact = || names.iter().find_map(|name| has(self.entries.get_key_value(*name)?));
            let group = || groups.iter().find_map(|group| has(self.entries.get_key_value(group.as_ref())?));
            let pattern = || {
                let matching = self.entries.iter().filter(|(pattern, _)| {
                    glob::is_pattern(pattern) && names.iter().any(|name| glob::matches(pattern, name))
                });
                matching.filter_map(has).max_by_key(|(pattern, _)| pattern.len())
            };
            let default = || {
                let (name, limits) = (defaults?.0, part(defaults?.1));
                (!limits.is_unlimited()).then_some((name, limits))
            };
            bound.extend(exact().or_else(group).or_else(pattern).or_else(default));
        }
        bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_bound_by_its_own_name_then_its_group_then_the_longest_pattern() {
        let limit = |rpm| ModelBudget { rpm_limit: Some(rpm), ..ModelBudget::default() };
        let limits = Limits {
            model_max_budget: [("gpt-4o", 1), ("cheap", 2), ("gpt-*", 3), ("gpt-4*", 4)]
                .map(|(name, rpm)| (name.to_owned(), limit(rpm)))
                .into(),
            ..Limits::default()
        };
        let models = ModelLimits::of(&limits);
        let bound = |name, groups: &[&str]| models.binding(&[name], groups, None).first().map(|(entry, _)| *entry);
        for (name, groups, expected) in [
            ("gpt-4o", &["cheap"][..], Some("gpt-4o")),
            ("gpt-4o-mini", &["cheap"], Some("cheap")),
            ("gpt-4o-mini", &[], Some("gpt-4*")),
            ("gpt-3.5", &[], Some("gpt-*")),
            ("claude", &[], None),
        ] {
            assert_eq!(bound(name, groups), expected, "{name} {groups:?}");
        }
    }

    #[test]
    fn an_entry_hides_no_limit_that_it_does_not_have() {
        let budget = ModelBudget { max_budget: Some(Money::nanos(5)), ..ModelBudget::default() };
        let limits = Limits {
            model_max_budget: [("gpt-*".to_owned(), budget)].into(),
            model_rpm_limit: [("gpt-4o".to_owned(), 100)].into(),
            ..Limits::default()
        };
        let models = ModelLimits::of(&limits);
        let defaults = ModelBudget { rpm_limit: Some(7), tpm_limit: Some(8), ..ModelBudget::default() };
        let bound = models.binding(&["gpt-4o"], &[] as &[&str], Some(("base", &defaults)));
        let bound: Vec<_> = bound
            .into_iter()
            .map(|(name, limits)| (name, limits.rpm_limit, limits.tpm_limit, limits.max_budget.map(Money::as_nanos)))
            .collect();
        assert_eq!(
            bound,
            [("gpt-4o", Some(100), None, None), ("base", None, Some(8), None), ("gpt-*", None, None, Some(5))]
        );
    }

    #[test]
    fn a_soft_budget_alone_refuses_nothing_but_is_watched() {
        let mut lines = Vec::new();
        let limits = Limits { soft_budget: Some(Money::nanos(5)), ..Limits::default() };
        of_limits(&Scope::global(), &limits, Which::All, &mut lines);
        assert_eq!(lines[0].limit, Amount::MAX);
        assert_eq!(lines[0].soft_limit, Some(Money::nanos(5)));
    }
}
