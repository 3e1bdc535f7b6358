//! The operator's own rules, asked with what the gate knows by then: the last check that costs nothing.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Purpose, Settings};
use crate::authz::policy::{Facts, Judgement, ModelFacts};
use crate::domain::{Caller, Denial, Timestamp, Trace};
use crate::request::RequestView;

/// Ends of paths that ask for a stream, whatever the body says.
const STREAMS: [&str; 3] = [":streamGenerateContent", "/converse-stream", "/invoke-with-response-stream"];

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
    let body = view.body.as_ref().ok();
    // An end user that the directory must know and does not is still the one that the request names.
    let told = caller.grant.as_ref().and_then(|grant| grant.end_user.as_deref().map(Cow::Borrowed));
    let end_user = told.or_else(|| view.end_user(&settings.read.end_user));
    let facts = Facts {
        method: view.http.method,
        path: &view.route.path,
        api: view.route.api,
        headers: &view.http.headers,
        credential_header: settings.read.credential.key_header_name.as_deref(),
        client,
        stream: is_stream(view),
        max_tokens: body.and_then(|body| body.max_tokens),
        end_user: end_user.as_deref(),
        tags: &purpose.tags,
        extensions: &view.http.extensions,
        parameters: body.map_or(&[], |body| &body.keys),
        body_bytes: view.http.body.map_or(0, |body| body.len() as u64),
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

fn is_stream(view: &RequestView<'_>) -> bool {
    let by_body = view.body.as_ref().is_ok_and(|body| body.stream == Some(true));
    by_body || STREAMS.iter().any(|end| view.route.path.ends_with(end))
}
