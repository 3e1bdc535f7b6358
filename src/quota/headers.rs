//! What a client is told of its limits: OpenAI's `x-ratelimit-*` and the IETF's `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers), of the tightest scope.

use std::borrow::Cow;
use std::time::Duration;

use smallvec::SmallVec;

use super::counters::Remaining;
use crate::domain::decision::Header;
use crate::domain::{Amount, Charge, Fields, Kind, Limit};

/// Adds the headers of an admission: for requests and for tokens, the limit that has least left, of those that are told.
pub fn of_admission(limits: &[Limit], remaining: &[Remaining], is_told: impl Fn(&Limit) -> bool, headers: &mut Fields) {
    let mut states: SmallVec<[State; 2]> = SmallVec::new();
    for kind in [Kind::Requests, Kind::Tokens] {
        let of_kind = limits.iter().zip(remaining).filter(|(limit, _)| limit.counter.kind == kind && is_told(limit));
        let tightest = of_kind.min_by_key(|(_, left)| left.remaining);
        if let Some((limit, left)) = tightest {
            states.push(State { kind, limit: limit.limit, remaining: left.remaining.max(0), reset: left.reset });
        }
    }
    write(&states, headers);
}

/// The headers of a refusal by a rate limit.
#[must_use]
pub fn of_refusal(charge: Charge<'_>, remaining: Amount, reset: Duration) -> Vec<Header> {
    let kind = charge.counter.kind;
    let mut headers = Fields::default();
    if matches!(kind, Kind::Requests | Kind::Tokens) {
        write(&[State { kind, limit: charge.limit, remaining: remaining.max(0), reset }], &mut headers);
    }
    headers.iter().map(|(name, value)| (Cow::Owned(name.to_owned()), value.to_owned())).collect()
}

/// Where a client stands with one limit.
struct State {
    kind: Kind,
    limit: Amount,
    remaining: Amount,
    reset: Duration,
}

fn write(states: &[State], headers: &mut Fields) {
    let mut number = itoa::Buffer::new();
    for State { kind, limit, remaining, reset } in states {
        let names = match kind {
            Kind::Tokens => ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
            _ => ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
        };
        headers.push(names[0], number.format(*limit));
        headers.push(names[1], number.format(*remaining));
        headers.push_with(names[2], |out| push_span(*reset, out));
    }
    if states.is_empty() {
        return;
    }
    headers.push_with("ratelimit-policy", |out| {
        for (at, State { kind, limit, .. }) in states.iter().enumerate() {
            let (name, limit) = (kind.as_str(), number.format(*limit));
            push_all(out, &[if at > 0 { ", \"" } else { "\"" }, name, "\";q=", limit, ";w=60;qu=\"", name, "\""]);
        }
    });
    headers.push_with("ratelimit", |out| {
        for (at, State { kind, remaining, reset, .. }) in states.iter().enumerate() {
            push_all(
                out,
                &[if at > 0 { ", \"" } else { "\"" }, kind.as_str(), "\";r=", number.format(*remaining), ";t="],
            );
            out.push_str(number.format(seconds(*reset)));
        }
    });
}

fn push_all(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// Whole seconds, rounded up: waiting them is enough.
#[must_use]
pub fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// As OpenAI writes spans: `250ms`, `12s`, `1m5s`.
fn push_span(duration: Duration, out: &mut String) {
    let mut number = itoa::Buffer::new();
    let whole = seconds(duration);
    match duration.as_millis() {
        millis @ 0..1_000 => push_all(out, &[number.format(millis), "ms"]),
        1_000..60_000 => push_all(out, &[number.format(whole), "s"]),
        _ => {
            push_all(out, &[number.format(whole / 60), "m"]);
            push_all(out, &[number.format(whole % 60), "s"]);
        }
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

    fn told(limits: &[Limit], remaining: &[Remaining]) -> Fields {
        let mut headers = Fields::default();
        of_admission(limits, remaining, |_| true, &mut headers);
        headers
    }

    #[test]
    fn the_tightest_scope_is_shown_in_both_styles() {
        let limits = [limit(Kind::Requests, 100), limit(Kind::Requests, 10), limit(Kind::Tokens, 5_000)];
        let headers = told(&limits, &[left(50, 60), left(9, 65), left(4_000, 30)]);
        let get = |name: &str| headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value);
        for (name, value) in [
            ("x-ratelimit-limit-requests", "10"),
            ("x-ratelimit-remaining-requests", "9"),
            ("x-ratelimit-reset-requests", "1m5s"),
            ("x-ratelimit-remaining-tokens", "4000"),
            ("x-ratelimit-reset-tokens", "30s"),
            ("ratelimit-policy", "\"requests\";q=10;w=60;qu=\"requests\", \"tokens\";q=5000;w=60;qu=\"tokens\""),
            ("ratelimit", "\"requests\";r=9;t=65, \"tokens\";r=4000;t=30"),
        ] {
            assert_eq!(get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_caller_without_rate_limits_is_told_nothing() {
        let limits = [limit(Kind::Spend, 1), limit(Kind::InFlight, 1)];
        assert!(told(&limits, &[left(1, 1), left(1, 1)]).is_empty());
    }

    #[test]
    fn spans_are_written_as_openai_writes_them() {
        for (millis, text) in [(0, "0ms"), (250, "250ms"), (1_000, "1s"), (11_001, "12s"), (65_000, "1m5s")] {
            let mut span = String::new();
            push_span(Duration::from_millis(millis), &mut span);
            assert_eq!(span, text);
        }
    }
}
