//! What a client is told of its limits: OpenAI's `x-ratelimit-*` and the IETF's `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers), of the tightest scope.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use super::counters::Remaining;
use crate::domain::decision::Header;
use crate::domain::{Amount, Charge, Kind, Limit};

/// The headers of an admission: for requests and for tokens, the limit that has least left.
#[must_use]
pub fn of_admission(limits: &[Limit], remaining: &[Remaining]) -> Vec<Header> {
    let mut headers = Headers::default();
    for kind in [Kind::Requests, Kind::Tokens] {
        let tightest = limits
            .iter()
            .zip(remaining)
            .filter(|(limit, _)| limit.counter.kind == kind)
            .min_by_key(|(_, left)| left.remaining);
        if let Some((limit, left)) = tightest {
            headers.add(kind, limit.limit, left.remaining, left.reset);
        }
    }
    headers.finish()
}

/// The headers of a refusal by a rate limit.
#[must_use]
pub fn of_refusal(charge: Charge<'_>, remaining: Amount, reset: Duration) -> Vec<Header> {
    let mut headers = Headers::default();
    headers.add(charge.counter.kind, charge.limit, remaining, reset);
    headers.finish()
}

#[derive(Default)]
struct Headers {
    list: Vec<Header>,
    policy: String,
    state: String,
}

impl Headers {
    fn add(&mut self, kind: Kind, limit: Amount, remaining: Amount, reset: Duration) {
        let names = match kind {
            Kind::Requests => {
                ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
            }
            Kind::Tokens => ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
            Kind::InFlight | Kind::Spend => return,
        };
        let remaining = remaining.max(0);
        let values = [limit.to_string(), remaining.to_string(), span(reset)];
        self.list.extend(names.into_iter().map(Cow::Borrowed).zip(values));
        let separator = if self.policy.is_empty() { "" } else { ", " };
        let name = kind.as_str();
        let _ = write!(self.policy, "{separator}\"{name}\";q={limit};w=60;qu=\"{name}\"");
        let _ = write!(self.state, "{separator}\"{name}\";r={remaining};t={}", seconds(reset));
    }

    fn finish(mut self) -> Vec<Header> {
        if !self.policy.is_empty() {
            self.list.push((Cow::Borrowed("ratelimit-policy"), self.policy));
            self.list.push((Cow::Borrowed("ratelimit"), self.state));
        }
        self.list
    }
}

/// Whole seconds, rounded up: waiting them is enough.
#[must_use]
pub fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// As OpenAI writes spans: `250ms`, `12s`, `1m5s`.
fn span(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..60_000 => format!("{}s", seconds(duration)),
        _ => format!("{}m{}s", seconds(duration) / 60, seconds(duration) % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CounterKey, Scope, Window};

    fn limit(kind: Kind, limit: Amount) -> Limit {
        let counter = CounterKey { scope: Scope::global(), kind, window: Window::Minute };
        Limit { counter, limit, soft_limit: None }
    }

    fn left(remaining: Amount, seconds: u64) -> Remaining {
        Remaining { remaining, reset: Duration::from_secs(seconds), soft_limit_passed: false }
    }

    #[test]
    fn the_tightest_scope_is_shown_in_both_styles() {
        let limits = [limit(Kind::Requests, 100), limit(Kind::Requests, 10), limit(Kind::Tokens, 5_000)];
        let headers = of_admission(&limits, &[left(50, 60), left(9, 65), left(4_000, 30)]);
        let get = |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str());
        for (name, value) in [
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "1m5s"),
            ("x-ratelimit-remaining-tokens", "4000"),
            ("ratelimit-policy", "\"requests\";q=10;w=60;qu=\"requests\", \"tokens\";q=5000;w=60;qu=\"tokens\""),
            ("ratelimit", "\"requests\";r=9;t=65, \"tokens\";r=4000;t=30"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_caller_without_rate_limits_is_told_nothing() {
        assert!(of_admission(&[limit(Kind::Spend, 1), limit(Kind::InFlight, 1)], &[left(1, 1), left(1, 1)]).is_empty());
    }
}
