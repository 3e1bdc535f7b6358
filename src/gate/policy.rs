//! The operator's own rules, asked with what the gate knows by then: the last check that costs nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Purpose, Settings};
use crate::authz::policy::{Facts, Judgement, ModelFacts, RequestFacts};
use crate::domain::{Caller, Denial, Timestamp, Trace};
use crate::request::RequestView;

/// Refuses what a rule in force refuses, and returns what the first one in shadow mode would have.
pub(super) fn judge(
    settings: &Settings,
    view: &RequestView<'_>,
    caller: &Caller,
    client: Option<IpAddr>,
    purpose: &Purpose,
    now: Timestamp,
    trace: &mut Trace,
) -> Result<Option<Box<Denial>>, Denial> {
    if settings.policies.is_empty() {
        return Ok(None);
    }
    // An end user that the directory must know and does not is still the one that the request names.
    let told = caller.grant.as_ref().and_then(|grant| grant.end_user.as_deref().map(Cow::Borrowed));
    let end_user = told.or_else(|| view.end_user(&settings.read.end_user));
    let facts = Facts {
        request: RequestFacts::of(view, &settings.read, client, end_user.as_deref(), &purpose.tags),
        caller,
        claims: caller.grant.as_ref().map(|grant| &grant.claims),
        now,
    };
    let models = purpose.models.iter().map(|model| ModelFacts {
        name: &model.name,
        target: &model.target,
        access_groups: &model.groups,
    });
    let Judgement { denial, shadows } = settings.policies.judge(&facts, models);
    for shadow in &shadows {
        tracing::debug!(policy = %shadow.name, "a policy in shadow mode would have refused");
        trace.step("policy", format_args!("{} would refuse, if it were in force", shadow.name));
    }
    match denial {
        Some(denial) => Err(denial),
        None => {
            trace.step("policy", "no rule refuses");
            Ok(shadows.into_iter().next().map(|shadow| Box::new(shadow.denial)))
        }
    }
}
