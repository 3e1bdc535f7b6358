//! Which limits bind a caller. What hangs on the identity alone is compiled once into a [`Plan`]; what hangs on the
//! request (end user, tags, model) is added to it.

use std::sync::Arc;

use super::bindings::{Bindings, Span};
use super::lines::{Line, ModelLimits, Which, of_limits};
use super::periods::Periods;
use crate::config::Config;
use crate::directory::Registry;
use crate::domain::{
    Account, Amount, Amounts, Binding, BudgetDuration, Caller, Charge, CounterKey, EndUser, Kind, Limit, Limits,
    ModelBudget, Money, Parties, Period, Scope, ScopeKind, Timestamp, Window,
};

/// All limits that bind one identity whatever it asks, and the scopes its spend is added to.
#[derive(Debug)]
pub struct Plan {
    pub parties: Parties,
    lines: Vec<Line>,
    totals: Vec<Scope>,
    /// Periods of budgets that do not bind, and that what is spent counts on.
    booked: Vec<(Scope, BudgetDuration)>,
    models: Vec<PerModel>,
    /// What was bound lately.
    bindings: Bindings,
    /// Until when this holds: a temporary budget increase may end.
    pub valid_until: Timestamp,
}

/// Limits on single models of one entity.
#[derive(Debug)]
struct PerModel {
    kind: ScopeKind,
    names: Vec<Arc<str>>,
    limits: ModelLimits,
}

/// What one request adds to a plan.
pub struct Ask<'a> {
    /// Every model the request may use: limits on each of them bind, whichever answers.
    pub models: &'a [AskModel<'a>],
    /// The model that is held and booked.
    pub model: &'a Arc<str>,
    pub end_user: Option<&'a Arc<EndUser>>,
    pub tags: &'a [Arc<str>],
    pub registry: &'a Arc<Registry>,
    pub tokens: TokenHold,
    /// Money to hold. `None`: a model priced 0 on purpose, not charged to budgets.
    pub cost: Option<Money>,
}

/// One model a request may use.
#[derive(Clone, Copy, Debug)]
pub struct AskModel<'a> {
    /// As asked, and what aliases made of it.
    pub names: [&'a str; 2],
    /// Access groups it belongs to.
    pub groups: &'a [Arc<str>],
    /// Limits of the key on this model where it has none of its own (`model_info.default_api_key_*`).
    pub default_limits: Option<&'a ModelBudget>,
}

/// Tokens to hold against the limits on tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenHold {
    pub input: Amount,
    /// Of all choices.
    pub output: Amount,
    /// Choices of a request whose output is only guessed at. A guess never fills a limit by itself: each choice holds a
    /// quarter of the limit at most, and what it was is charged at settlement.
    pub guessed_choices: Option<Amount>,
}

impl TokenHold {
    /// Tokens to hold against this limit; one at least.
    fn under(&self, limit: Amount) -> Amount {
        let output = match self.guessed_choices {
            Some(choices) => self.output.min((limit / 4).max(1).saturating_mul(choices)),
            None => self.output,
        };
        self.input.saturating_add(output).max(1)
    }
}

impl Ask<'_> {
    /// What is held under one limit.
    fn amount(&self, limit: &Limit) -> Amount {
        match limit.counter.kind {
            Kind::Requests | Kind::InFlight => 1,
            Kind::Tokens => self.tokens.under(limit.limit),
            // What never refuses reserves nothing: amounts without a bound would add up past what a number holds.
            Kind::Spend if limit.limit == Amount::MAX => 1,
            Kind::Spend => self.cost.unwrap_or_default().as_nanos().max(1),
        }
    }
}

/// What a request is charged with, and where its settled cost is booked.
#[derive(Clone, Debug)]
pub struct Bound {
    pub binding: Arc<Binding>,
    /// What is held under each limit of the binding.
    pub amounts: Amounts,
}

impl Bound {
    /// The same under these limits. What it costs is booked to the same accounts.
    #[must_use]
    pub fn with_limits(binding: &Binding, limits: impl Iterator<Item = (Limit, Amount)>) -> Bound {
        let (limits, amounts): (Vec<Limit>, Vec<Amount>) = limits.unzip();
        let Binding { accounts, parties, model, .. } = binding;
        let binding = Binding::new(limits, accounts.clone(), parties.clone(), Arc::clone(model));
        Bound { binding: Arc::new(binding), amounts: amounts.into() }
    }

    /// Every limit with the amount held under it.
    pub fn charges(&self) -> impl Iterator<Item = Charge<'_>> {
        self.binding.limits().iter().zip(&self.amounts).map(|(limit, amount)| limit.charge(*amount))
    }

    /// Whether a money or token limit binds: such a request must be metered. A soft budget alone is only watched.
    #[must_use]
    pub fn needs_meter(&self) -> bool {
        let refuses = |limit: &Limit| limit.limit < Amount::MAX;
        let is_metered = |limit: &Limit| matches!(limit.counter.kind, Kind::Spend | Kind::Tokens);
        self.binding.limits().iter().any(|limit| is_metered(limit) && refuses(limit))
    }
}

impl Plan {
    /// Compiles what binds this caller. A user's budget binds personal keys only, unless
    /// `apply_user_budget_to_team_keys`; its rate limits bind team keys too.
    #[must_use]
    pub fn of(caller: &Caller, config: &Config, now: Timestamp) -> Plan {
        let identity = &*caller.identity;
        let mut plan = Plan {
            parties: Parties {
                key: identity.key.as_ref().map(|key| key.token),
                user_id: caller.user_id().cloned(),
                team_id: caller.team_id().cloned(),
                organization_id: caller.organization_id().cloned(),
                project_id: identity.project.as_ref().map(|project| project.project_id.clone()),
                end_user_id: None,
                tags: Vec::new(),
            },
            lines: Vec::new(),
            totals: Vec::new(),
            booked: Vec::new(),
            models: Vec::new(),
            bindings: Bindings::default(),
            valid_until: Timestamp::millis(i64::MAX),
        };
        let global = Limits {
            max_budget: Some(config.litellm_settings.max_budget).filter(|budget| !budget.is_zero()),
            budget_duration: config.litellm_settings.budget_duration,
            max_parallel_requests: config.general_settings.global_max_parallel_requests,
            ..Limits::default()
        };
        plan.add(ScopeKind::Global, &[], &global, Which::All, None);
        if let Some(organization) = &identity.organization {
            let id = &organization.organization_id;
            let per_model = Some(ScopeKind::ModelPerOrganization);
            plan.add(ScopeKind::Organization, &[id], &organization.limits, Which::All, per_model);
        }
        if let Some(project) = &identity.project {
            let per_model = Some(ScopeKind::ModelPerProject);
            plan.add(ScopeKind::Project, &[&project.project_id], &project.limits, Which::All, per_model);
        }
        if let Some(team) = &identity.team {
            plan.add(ScopeKind::Team, &[&team.team_id], &team.limits, Which::All, Some(ScopeKind::ModelPerTeam));
        }
        if let Some(member) = &identity.member {
            let names = [&member.team_id, &member.user_id];
            plan.add(ScopeKind::Member, &names, &member.limits, Which::All, Some(ScopeKind::ModelPerMember));
        }
        if let Some(user) = &identity.user {
            let personal = identity.team.is_none() || config.general_settings.apply_user_budget_to_team_keys;
            let (which, per_model) =
                if personal { (Which::All, Some(ScopeKind::ModelPerUser)) } else { (Which::Rates, None) };
            plan.add(ScopeKind::User, &[&user.user_id], &user.limits, which, per_model);
            if !personal {
                // What a user spends on a team's key is spent, though it is the team that is asked.
                let scope = Scope::new(ScopeKind::User, &[&user.user_id]);
                let windows = user.limits.budget_limits.iter().map(|window| window.budget_duration);
                let durations = user.limits.budget_duration.into_iter().chain(windows);
                plan.booked.extend(durations.map(|duration| (scope.clone(), duration)));
            }
        } else if let Some(user_id) = &plan.parties.user_id {
            plan.totals.push(Scope::new(ScopeKind::User, &[user_id]));
        }
        if let Some(key) = &identity.key {
            let mut limits = key.limits.clone();
            if let (Some(increase), Some(expiry)) = (key.temp_budget_increase, key.temp_budget_expiry)
                && expiry > now
            {
                limits.max_budget = limits.max_budget.map(|budget| budget + increase);
                plan.valid_until = expiry;
            }
            let first: Arc<str> = key.first_token.to_string().into();
            plan.add(ScopeKind::Key, &[&first], &limits, Which::All, Some(ScopeKind::ModelPerKey));
        }
        plan
    }

    fn add(
        &mut self,
        kind: ScopeKind,
        names: &[&Arc<str>],
        limits: &Limits,
        which: Which,
        per_model: Option<ScopeKind>,
    ) {
        let texts: Vec<&str> = names.iter().map(|name| &***name).collect();
        let scope = Scope::new(kind, &texts);
        of_limits(&scope, limits, which, &mut self.lines);
        self.totals.push(scope);
        let models = ModelLimits::of(limits);
        // A key without an entry of its own may still get the model's defaults.
        if let Some(kind) = per_model.filter(|kind| !models.is_empty() || *kind == ScopeKind::ModelPerKey) {
            self.models.push(PerModel {
                kind,
                names: names.iter().map(|name| (*name).clone()).collect(),
                limits: models,
            });
        }
    }

    /// The charges and accounts of one request. Limits come outermost first, so that a refusal names the widest. Who asks
    /// the same again is bound by the same binding.
    #[must_use]
    pub fn bind(&self, caller: &Caller, ask: &Ask<'_>, periods: &Periods, now: Timestamp) -> Bound {
        let compile = || self.compile(caller, ask, periods, now);
        let binding = self.bindings.get_or_insert(ask, now, compile);
        let amounts = binding.limits().iter().map(|limit| ask.amount(limit)).collect();
        Bound { binding, amounts }
    }

    fn compile(&self, caller: &Caller, ask: &Ask<'_>, periods: &Periods, now: Timestamp) -> (Binding, Span) {
        let mut own = Vec::new();
        let mut totals: Vec<Scope> = Vec::new();
        self.bind_end_user(ask, &mut own, &mut totals);
        self.bind_tags(caller, ask, &mut own, &mut totals);
        self.bind_models(ask, &mut own, &mut totals);

        let total = |scope: &Scope| Account { scope: scope.clone(), period: Period::total() };
        let mut compiled = Compiled {
            limits: Vec::with_capacity(self.lines.len() + own.len()),
            accounts: self.totals.iter().chain(&totals).map(total).collect(),
            span: Span::default(),
        };
        for line in self.lines.iter().chain(&own) {
            compiled.push(line, ask, periods, now);
        }
        for (scope, duration) in self.booked.iter().filter(|_| ask.cost.is_some()) {
            compiled.account(scope, periods.at(Some(*duration), now));
        }
        let mut parties = self.parties.clone();
        parties.end_user_id = ask.end_user.map(|end_user| Arc::clone(&end_user.user_id));
        parties.tags = ask.tags.to_vec();
        let binding = Binding::new(compiled.limits, compiled.accounts, parties, Arc::clone(ask.model));
        (binding, compiled.span)
    }

    fn bind_end_user(&self, ask: &Ask<'_>, own: &mut Vec<Line>, totals: &mut Vec<Scope>) {
        let Some(end_user) = ask.end_user else { return };
        let scope = Scope::new(ScopeKind::EndUser, &[&end_user.user_id]);
        of_limits(&scope, &end_user.limits, Which::All, own);
        totals.push(scope);
        let limits = ModelLimits::of(&end_user.limits);
        for model in ask.models {
            for (name, limits) in limits.binding(&model.names, &groups_of(ask, model), None) {
                let scope = Scope::new(ScopeKind::ModelPerEndUser, &[&end_user.user_id, name]);
                of_limits(&scope, &limits, Which::All, own);
            }
        }
    }

    fn bind_tags(&self, caller: &Caller, ask: &Ask<'_>, own: &mut Vec<Line>, totals: &mut Vec<Scope>) {
        let key = caller.identity.key.as_ref();
        for name in ask.tags {
            if let Some(tag) = ask.registry.tag(name) {
                let scope = Scope::new(ScopeKind::Tag, &[name]);
                of_limits(&scope, &tag.limits, Which::All, own);
                totals.push(scope);
            }
            if let Some(key) = key
                && let Some(limit) = key.tag_rpm_limit.get(&**name)
            {
                let scope = Scope::new(ScopeKind::TagPerKey, &[&key.first_token.to_string(), name]);
                let limits = Limits { rpm_limit: Some(*limit), ..Limits::default() };
                of_limits(&scope, &limits, Which::Rates, own);
            }
        }
    }

    fn bind_models(&self, ask: &Ask<'_>, own: &mut Vec<Line>, totals: &mut Vec<Scope>) {
        for model in ask.models {
            for group in model.groups {
                let Some(group) = ask.registry.access_group(group) else { continue };
                let scope = Scope::new(ScopeKind::AccessGroup, &[&group.access_group_name]);
                // Several models of one group are one request to it, and one cost.
                if !totals.contains(&scope) {
                    of_limits(&scope, &group.limits, Which::All, own);
                    totals.push(scope);
                }
            }
            let groups = groups_of(ask, model);
            for per_model in &self.models {
                let of_key = per_model.kind == ScopeKind::ModelPerKey;
                let defaults = model.default_limits.filter(|_| of_key).map(|limits| (model.names[1], limits));
                for (name, limits) in per_model.limits.binding(&model.names, &groups, defaults) {
                    let mut names: Vec<&str> = per_model.names.iter().map(|name| &**name).collect();
                    names.push(name);
                    of_limits(&Scope::new(per_model.kind, &names), &limits, Which::All, own);
                }
            }
        }
    }
}

/// The access groups of a model, those of the directory by id and by name.
fn groups_of<'a>(ask: &Ask<'a>, model: &AskModel<'a>) -> Vec<&'a str> {
    let names = model.groups.iter().filter_map(|group| Some(&*ask.registry.access_group(group)?.access_group_name));
    model.groups.iter().map(|group| &**group).chain(names).collect()
}

/// A binding in the making.
struct Compiled {
    limits: Vec<Limit>,
    accounts: Vec<Account>,
    /// While all its periods last.
    span: Span,
}

impl Compiled {
    /// What is spent counts on this account.
    fn account(&mut self, scope: &Scope, period: Period) {
        self.span.narrow(&period);
        let account = Account { scope: scope.clone(), period };
        if !self.accounts.contains(&account) {
            self.accounts.push(account);
        }
    }

    fn push(&mut self, line: &Line, ask: &Ask<'_>, periods: &Periods, now: Timestamp) {
        let window = match line.kind {
            Kind::Requests | Kind::Tokens => Window::Minute,
            Kind::InFlight => Window::InFlight,
            Kind::Spend if ask.cost.is_none() => return,
            Kind::Spend => {
                let period = periods.at(line.duration, now);
                self.account(&line.scope, period.clone());
                Window::Period(period)
            }
        };
        let counter = CounterKey { scope: line.scope.clone(), kind: line.kind, window };
        // Two budgets of one scope and period share a counter: the tighter one binds.
        if let Some(same) = self.limits.iter_mut().find(|limit| limit.counter == counter) {
            same.limit = same.limit.min(line.limit);
            same.soft_limit = same.soft_limit.min(line.soft_limit).or(same.soft_limit).or(line.soft_limit);
            return;
        }
        self.limits.push(Limit { counter, limit: line.limit, soft_limit: line.soft_limit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AuthMethod, Calendar, Identity, Key, KeyHash, Role, Team, User};

    const NOW: Timestamp = Timestamp::millis(1_000_000);

    fn caller(limits: Limits) -> Caller {
        let mut key = Key::new(KeyHash::of("sk-1"), NOW);
        key.limits = limits;
        let identity = Arc::new(Identity { key: Some(key), ..Identity::default() });
        Caller::new(AuthMethod::VirtualKey, Role::InternalUser, identity)
    }

    fn bound(limits: Limits, models: &[&str]) -> Bound {
        bound_for(&caller(limits), models)
    }

    fn bound_for(caller: &Caller, models: &[&str]) -> Bound {
        let models: Vec<AskModel<'_>> =
            models.iter().map(|name| AskModel { names: [name, name], groups: &[], default_limits: None }).collect();
        let (registry, model) = (Arc::default(), Arc::from(models[0].names[0]));
        let ask = Ask {
            models: &models,
            model: &model,
            end_user: None,
            tags: &[],
            registry: &registry,
            tokens: TokenHold { input: 10, ..TokenHold::default() },
            cost: Some(Money::nanos(7)),
        };
        let periods = Periods::new(Calendar::new("UTC", "00:00").unwrap());
        Plan::of(caller, &Config::default(), NOW).bind(caller, &ask, &periods, NOW)
    }

    #[test]
    fn what_a_user_spends_on_a_teams_key_counts_on_the_budget_that_binds_personal_ones() {
        let limits = Limits {
            max_budget: Some(Money::nanos(9)),
            budget_duration: Some("30d".parse().unwrap()),
            ..Limits::default()
        };
        let user = User { user_id: "u".into(), limits, ..User::default() };
        let personal = Identity { user: Some(Arc::new(user)), ..Identity::default() };
        let of_team = Identity { team: Some(Arc::new(Team::default())), ..personal.clone() };
        let [personal, of_team] = [personal, of_team].map(|identity| {
            let caller = Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity));
            bound_for(&caller, &["a"])
        });
        let budgets = |bound: &Bound| bound.charges().filter(|charge| charge.counter.kind == Kind::Spend).count();
        assert_eq!((budgets(&personal), budgets(&of_team)), (1, 0));
        let account = |bound: &Bound| {
            let of_user = |account: &&Account| account.scope.kind() == ScopeKind::User && !account.period.is_total();
            bound.binding.accounts.iter().find(of_user).cloned()
        };
        assert!(account(&personal).is_some());
        assert_eq!(account(&of_team), account(&personal));
    }

    #[test]
    fn limits_on_every_model_a_request_may_use_bind_and_a_shared_one_is_charged_once() {
        let requests = |rpm| ModelBudget { rpm_limit: Some(rpm), ..ModelBudget::default() };
        let limits = Limits {
            model_max_budget: [("cheap".to_owned(), requests(1)), ("gpt-*".to_owned(), requests(2))].into(),
            ..Limits::default()
        };
        let mut charged: Vec<_> = bound(limits, &["gpt-4o", "cheap", "gpt-5"])
            .charges()
            .map(|charge| (charge.counter.scope.names().last().unwrap().clone(), charge.limit, charge.amount))
            .collect();
        charged.sort();
        assert_eq!(charged, [("cheap".to_owned(), 1, 1), ("gpt-*".to_owned(), 2, 1)]);
    }

    #[test]
    fn an_account_stands_once_in_a_record_however_many_models_lead_to_it() {
        let budget = ModelBudget { max_budget: Some(Money::nanos(9)), ..ModelBudget::default() };
        let limits = Limits { model_max_budget: [("*".to_owned(), budget)].into(), ..Limits::default() };
        let bound = bound(limits, &["a", "b"]);
        let accounts = &bound.binding.accounts;
        for (at, account) in accounts.iter().enumerate() {
            assert!(!accounts[..at].contains(account), "{account:?}");
        }
    }

    #[test]
    fn a_soft_budget_reserves_nothing_unless_a_hard_one_shares_its_counter() {
        use crate::domain::{BudgetDuration, BudgetWindow};
        let day: BudgetDuration = "1d".parse().unwrap();
        let soft = Limits { soft_budget: Some(Money::nanos(5)), budget_duration: Some(day), ..Limits::default() };
        let window = BudgetWindow { budget_duration: day, max_budget: Money::nanos(9) };
        let hard = Limits { budget_limits: vec![window], ..soft.clone() };
        let charges = |limits| -> Vec<_> {
            bound(limits, &["a"]).charges().map(|charge| (charge.amount, charge.limit)).collect()
        };
        assert_eq!(charges(soft), [(1, Amount::MAX)]);
        assert_eq!(charges(hard), [(7, 9)]);
    }

    #[test]
    fn only_what_can_refuse_needs_a_meter() {
        let money = |nanos| Some(Money::nanos(nanos));
        for (limits, needed) in [
            (Limits { max_budget: money(5), ..Limits::default() }, true),
            (Limits { tpm_limit: Some(5), ..Limits::default() }, true),
            (Limits { soft_budget: money(5), ..Limits::default() }, false),
            (Limits { rpm_limit: Some(5), ..Limits::default() }, false),
        ] {
            assert_eq!(bound(limits.clone(), &["a"]).needs_meter(), needed, "{limits:?}");
        }
    }

    #[test]
    fn a_guessed_output_fills_a_quarter_of_a_limit_at_most_and_a_known_one_counts_in_full() {
        let guess = |choices| TokenHold { input: 5, output: 4_096, guessed_choices: Some(choices) };
        let known = TokenHold { input: 5, output: 4_096, guessed_choices: None };
        // Limit, choices, what is held.
        let cases = [(1, 1, 6), (20, 1, 10), (1_000, 1, 255), (1_000, 3, 755), (1_000_000, 1, 4_101)];
        for (limit, choices, held) in cases {
            assert_eq!(guess(choices).under(limit), held, "{choices} choices under {limit}");
            assert_eq!(known.under(limit), 4_101, "known, under {limit}");
        }
        assert_eq!(TokenHold::default().under(1_000), 1, "nothing reserved: one token, so that a spent limit refuses");
        let most = TokenHold { input: Amount::MAX, output: Amount::MAX, guessed_choices: Some(Amount::MAX) };
        assert_eq!(most.under(Amount::MAX), Amount::MAX);
    }
}
