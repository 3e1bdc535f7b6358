//! An authoriser that is written into the configuration: one expression over the request, whose value is what a webhook
//! would answer. Nobody is asked, so there is nothing to wait for and nothing to keep.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::super::Ask;
use super::fields::Answer;
use super::verdict::{Source, Trouble, Verdict};
use crate::authz::policy::{KnownRequest, RequestFacts};
use crate::config::Config;
use crate::domain::{Denial, ErrorType, Timestamp, Trace};
use crate::expression::{Fields, Found, Variables, text, timestamp};
use crate::request::ReadSettings;
use crate::telemetry::Seldom;

/// See the module.
pub(super) struct Written {
    expression: Fields,
    read: ReadSettings,
    is_unchecked: bool,
    unevaluated: Seldom,
}

impl Written {
    /// # Errors
    /// What is wrong with the expression, and where in it.
    pub(super) fn new(config: &Config, expression: &str) -> Result<Self, String> {
        let failed = |error| format!("general_settings.custom_auth_settings.expression: {error}");
        Ok(Written {
            expression: Fields::over_credentials(expression).map_err(failed)?,
            read: ReadSettings::new(config),
            is_unchecked: config.general_settings.custom_auth_run_common_checks == Some(false),
            unevaluated: Seldom::default(),
        })
    }

    /// What it says of a request.
    ///
    /// # Errors
    /// 401 where it has no value, or one that cannot be used: what it would have said is not known.
    pub(super) fn verdict(&self, ask: &Ask<'_>, client: Option<IpAddr>, trace: &mut Trace) -> Result<Verdict, Denial> {
        let tags: Vec<Arc<str>> = ask.view.tags().into_iter().map(|tag| Arc::from(&*tag)).collect();
        let end_user = ask.view.end_user(&self.read.end_user);
        let facts = RequestFacts::of(ask.view, &self.read, client, end_user.as_deref(), &tags);
        let known = Known { request: KnownRequest::new(facts), credential: ask.secret(), now: ask.now };
        let object = match self.expression.evaluate_with(&known) {
            Ok(Some(object)) => object,
            Ok(None) => return Ok(Verdict::Nobody),
            Err(error) => return Err(self.refused(&error, trace)),
        };
        let answer = Answer { object, source: Source::Expression, headers: Vec::new() };
        answer.judged(self.is_unchecked).map_err(|trouble| match trouble {
            Trouble::Unusable(why) => self.refused(&why, trace),
            trouble => self.refused(&trouble, trace),
        })
    }

    /// The refusal of what cannot be told. The reason holds nothing of the request.
    fn refused(&self, reason: &dyn Display, trace: &mut Trace) -> Denial {
        trace.step("custom_auth", format_args!("the expression has no value that can be used: {reason}"));
        if let Some(left_out) = self.unevaluated.due(Instant::now()) {
            tracing::warn!(%reason, left_out, "custom_auth_settings.expression cannot be evaluated; the request is refused");
        }
        let message = "Authentication Error: the expression that says who calls has no value for this request";
        Denial::new(ErrorType::AuthError, "custom_auth.unevaluated", message)
    }
}

/// What the expression may know.
struct Known<'a> {
    request: KnownRequest<'a>,
    credential: &'a str,
    now: Timestamp,
}

impl Variables for Known<'_> {
    fn get(&self, name: &str) -> Option<Found<'_>> {
        match name.split_once('.') {
            Some(("request", field)) => self.request.get(field),
            None if name == "credential" => Some(text(self.credential)),
            None if name == "now" => timestamp(self.now.as_millis().div_euclid(1_000)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
