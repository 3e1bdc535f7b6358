//! Bindings, kept: what a caller asked lately, and what bound it. A caller mostly asks the same few things, and what is
//! worked out about a binding (the seats of its counters, the beginning of its token, the headers of its answer) is
//! kept with it.

use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::scopes::{Ask, AskModel};
use crate::directory::Registry;
use crate::domain::{Binding, EndUser, Period, Timestamp};

/// Bindings kept for one plan; the oldest makes room.
const KEPT: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bindings(RwLock<Recent>);

#[derive(Debug, Default)]
struct Recent {
    kept: Vec<Kept>,
    /// The place that makes room next.
    next: usize,
}

/// The time within which a binding holds: until one of its budget periods ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    from: Timestamp,
    until: Timestamp,
}

impl Default for Span {
    fn default() -> Self {
        Span { from: Timestamp::millis(i64::MIN), until: Timestamp::millis(i64::MAX) }
    }
}

impl Span {
    pub(super) fn narrow(&mut self, period: &Period) {
        self.from = self.from.max(period.start);
        self.until = self.until.min(period.end);
    }

    fn contains(self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// A binding, and all of a request that it depends on.
#[derive(Debug)]
struct Kept {
    models: Vec<KeptModel>,
    end_user: Option<Arc<EndUser>>,
    /// Weak: a caller who comes no more must not keep the tags and groups of its last minute. What is pointed at is not
    /// freed while this is there, so that its address stays its own.
    registry: Weak<Registry>,
    spends: bool,
    span: Span,
    binding: Arc<Binding>,
}

/// A model asked for, with what its access groups were: prices tell providers, and providers groups.
#[derive(Debug)]
struct KeptModel {
    names: [Box<str>; 2],
    groups: Box<[Arc<str>]>,
}

impl KeptModel {
    fn of(model: &AskModel<'_>) -> Self {
        KeptModel { names: model.names.map(Box::from), groups: model.groups.into() }
    }

    fn is(&self, model: &AskModel<'_>) -> bool {
        *self.names[0] == *model.names[0] && *self.names[1] == *model.names[1] && *self.groups == *model.groups
    }
}

impl Kept {
    fn of(ask: &Ask<'_>, binding: Arc<Binding>, span: Span) -> Self {
        Kept {
            models: ask.models.iter().map(KeptModel::of).collect(),
            end_user: ask.end_user.cloned(),
            registry: Arc::downgrade(ask.registry),
            spends: ask.cost.is_some(),
            span,
            binding,
        }
    }

    /// Whether it binds this request too. Defaults of a model are given by its names.
    fn binds(&self, ask: &Ask<'_>, now: Timestamp) -> bool {
        let same_user = match (&self.end_user, ask.end_user) {
            (None, None) => true,
            (Some(kept), Some(asked)) => Arc::ptr_eq(kept, asked) || kept == asked,
            _ => false,
        };
        self.span.contains(now)
            && std::ptr::eq(self.registry.as_ptr(), Arc::as_ptr(ask.registry))
            && self.spends == ask.cost.is_some()
            && self.binding.model == *ask.model
            && self.models.len() == ask.models.len()
            && self.models.iter().zip(ask.models).all(|(kept, asked)| kept.is(asked))
            && same_user
            && self.binding.parties.tags == ask.tags
    }
}

impl Bindings {
    /// The binding of a request: one that is kept, or a new one.
    pub(super) fn get_or_insert(
        &self,
        ask: &Ask<'_>,
        now: Timestamp,
        compile: impl FnOnce() -> (Binding, Span),
    ) -> Arc<Binding> {
        let known = |recent: &Recent| {
            recent.kept.iter().find(|kept| kept.binds(ask, now)).map(|kept| Arc::clone(&kept.binding))
        };
        if let Some(binding) = known(&self.0.read()) {
            return binding;
        }
        let (binding, span) = compile();
        let binding = Arc::new(binding);
        let kept = Kept::of(ask, Arc::clone(&binding), span);
        let recent = &mut *self.0.write();
        if recent.kept.len() < KEPT {
            recent.kept.push(kept);
        } else {
            recent.kept[recent.next] = kept;
            recent.next = (recent.next + 1) % KEPT;
        }
        binding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::domain::{AuthMethod, BudgetDuration, Calendar, Caller, Identity, Key, KeyHash, Limits, Money, Role};
    use crate::quota::{Periods, Plan, TokenHold};

    const NOON: Timestamp = Timestamp::millis(1_764_072_000_000);

    #[test]
    fn who_asks_the_same_is_bound_by_the_same_until_anything_differs() {
        let mut key = Key::new(KeyHash::of("sk-1"), NOON);
        let day: BudgetDuration = "1d".parse().unwrap();
        key.limits = Limits { max_budget: Some(Money::nanos(9)), budget_duration: Some(day), ..Limits::default() };
        let identity = Arc::new(Identity { key: Some(key), ..Identity::default() });
        let caller = Caller::new(AuthMethod::VirtualKey, Role::InternalUser, identity);
        let periods = Periods::new(Calendar::new("UTC", "00:00").unwrap());
        let plan = Plan::of(&caller, &Config::default(), NOON);
        let (registry, model, other): (_, Arc<str>, Arc<str>) = (Arc::default(), "gpt-4o".into(), "o3".into());
        let names = |asked, target| [AskModel { names: [asked, target], groups: &[], default_limits: None }];
        let plain = names("gpt-4o", "gpt-4o");
        let aliased = names("gpt-4o", "gpt-4o-mini");
        let groups = [Arc::from("cheap")];
        let grouped = [AskModel { groups: &groups, ..plain[0] }];
        let user = |id: &str| Arc::new(EndUser { user_id: id.into(), ..EndUser::default() });
        let (ann, ann_again, bob) = (user("ann"), user("ann"), user("bob"));
        let (tags, fresh) = ([Arc::from("t")], Arc::default());
        let ask = || Ask {
            models: &plain,
            model: &model,
            end_user: None,
            tags: &[],
            registry: &registry,
            tokens: TokenHold::default(),
            cost: Some(Money::nanos(1)),
        };
        let bind = |ask: &Ask<'_>, now| plan.bind(&caller, ask, &periods, now).binding;
        let first = bind(&ask(), NOON);
        let dearer =
            Ask { cost: Some(Money::nanos(2)), tokens: TokenHold { input: 7, ..TokenHold::default() }, ..ask() };
        for same in [ask(), dearer] {
            assert!(Arc::ptr_eq(&first, &bind(&same, NOON)));
        }
        let ann = bind(&Ask { end_user: Some(&ann), ..ask() }, NOON);
        assert!(Arc::ptr_eq(&ann, &bind(&Ask { end_user: Some(&ann_again), ..ask() }, NOON)));
        let others = [
            ann,
            bind(&Ask { end_user: Some(&bob), ..ask() }, NOON),
            bind(&Ask { tags: &tags, ..ask() }, NOON),
            bind(&Ask { models: &aliased, ..ask() }, NOON),
            bind(&Ask { models: &grouped, ..ask() }, NOON),
            bind(&Ask { model: &other, ..ask() }, NOON),
            bind(&Ask { cost: None, ..ask() }, NOON),
            bind(&Ask { registry: &fresh, ..ask() }, NOON),
            bind(&ask(), NOON.plus_millis(86_400_000)),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(!Arc::ptr_eq(&first, other), "case {at}");
        }
        assert_ne!(first.limits()[0].counter, others[8].limits()[0].counter, "a new day has a counter of its own");
        // More than are kept: the first was forgotten, and is made again alike.
        assert_eq!(*bind(&ask(), NOON), *first);
    }
}
