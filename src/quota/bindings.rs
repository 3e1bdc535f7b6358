//! Bindings, kept: what a caller asked lately, and what bound it. A caller mostly asks the same few things, and what is
//! worked out about a binding (the seats of its counters, the beginning of its token, the headers of its answer) is
//! kept with it.

use std::sync::Arc;

use parking_lot::RwLock;

use super::scopes::Ask;
use crate::directory::Registry;
use crate::domain::{Binding, EndUser, Period, Timestamp};

/// Bindings kept for one plan; the oldest makes room.
const KEPT: usize = 8;

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
    names: Vec<[Box<str>; 2]>,
    end_user: Option<Arc<EndUser>>,
    registry: Arc<Registry>,
    spends: bool,
    span: Span,
    binding: Arc<Binding>,
}

impl Kept {
    fn of(ask: &Ask<'_>, binding: Arc<Binding>, span: Span) -> Self {
        Kept {
            names: ask.models.iter().map(|model| model.names.map(Box::from)).collect(),
            end_user: ask.end_user.cloned(),
            registry: Arc::clone(ask.registry),
            spends: ask.cost.is_some(),
            span,
            binding,
        }
    }

    /// Whether it binds this request too. Groups and defaults of a model are given by its names and the registry.
    fn binds(&self, ask: &Ask<'_>, now: Timestamp) -> bool {
        let same_user = match (&self.end_user, ask.end_user) {
            (None, None) => true,
            (Some(kept), Some(asked)) => Arc::ptr_eq(kept, asked) || kept == asked,
            _ => false,
        };
        let is_same = |(kept, asked): (&[Box<str>; 2], &[&str; 2])| *kept[0] == *asked[0] && *kept[1] == *asked[1];
        self.span.contains(now)
            && Arc::ptr_eq(&self.registry, ask.registry)
            && self.spends == ask.cost.is_some()
            && self.binding.model == *ask.model
            && self.names.len() == ask.models.len()
            && self.names.iter().zip(ask.models.iter().map(|model| &model.names)).all(is_same)
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
