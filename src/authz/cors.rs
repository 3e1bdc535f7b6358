//! What a browser needs: preflights are let through to the upstream, which answers them, and a denial carries the
//! headers without which a page cannot read it.

use std::borrow::Cow;

use crate::domain::decision::Header;
use crate::domain::glob;
use crate::request::HttpRequest;

/// Response headers a page may read besides those every browser shows.
const EXPOSED: &str = "retry-after, x-should-retry, x-tollward-request-id, x-ratelimit-limit-requests, \
                       x-ratelimit-remaining-requests, x-ratelimit-reset-requests, x-ratelimit-limit-tokens, \
                       x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, ratelimit, ratelimit-policy";

/// Whether this is a CORS preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method` (Fetch, CORS
/// protocol). It never carries a credential, and no browser makes it another method by a header of the page's: a preflight
/// asks whether such headers may be sent.
#[must_use]
pub fn is_preflight(http: &HttpRequest<'_>) -> bool {
    http.method == "OPTIONS"
        && http.headers.get("origin").is_some()
        && http.headers.get("access-control-request-method").is_some()
        && !http.overrides_method()
}

/// The headers a denial carries so that a page of an allowed origin can read it; none for other origins and for
/// requests that come from no page. Origins of the list may hold `*`; `*` alone is any.
#[must_use]
pub fn denial_headers(http: &HttpRequest<'_>, allowed: &[String]) -> Vec<Header> {
    let Some(origin) = http.headers.text("origin") else { return Vec::new() };
    let any = allowed.iter().any(|entry| entry == "*");
    if !any && !allowed.iter().any(|entry| glob::matches(entry, origin)) {
        return Vec::new();
    }
    let shown = if any { "*" } else { origin };
    vec![
        (Cow::Borrowed("access-control-allow-origin"), shown.to_owned()),
        (Cow::Borrowed("vary"), "origin".to_owned()),
        (Cow::Borrowed("access-control-expose-headers"), EXPOSED.to_owned()),
    ]
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::request::Headers;

    fn request<'a>(method: &'a str, headers: &[(&'a str, &'a str)]) -> HttpRequest<'a> {
        HttpRequest {
            method,
            path: "/v1/chat/completions",
            headers: Headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        }
    }

    #[test]
    fn a_preflight_is_options_with_both_headers() {
        let (origin, method) = (("origin", "https://a.example"), ("access-control-request-method", "POST"));
        assert!(is_preflight(&request("OPTIONS", &[origin, method])));
        assert!(!is_preflight(&request("OPTIONS", &[origin])));
        assert!(!is_preflight(&request("OPTIONS", &[method])));
        assert!(!is_preflight(&request("POST", &[origin, method])));
    }

    #[test]
    fn what_asks_for_another_method_is_no_preflight() {
        let (origin, method) = (("origin", "https://a.example"), ("access-control-request-method", "POST"));
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method_override"] {
            assert!(!is_preflight(&request("OPTIONS", &[origin, method, (name, "POST")])), "{name}");
        }
    }

    #[test]
    fn a_denial_is_readable_from_allowed_origins_only() {
        for (allowed, origin, expected) in [
            (vec!["*"], "https://a.example", Some("*")),
            (vec!["https://a.example"], "https://a.example", Some("https://a.example")),
            (vec!["https://*.example"], "https://a.example", Some("https://a.example")),
            (vec!["https://a.example"], "https://a.example.evil", None),
            (vec![], "https://a.example", None),
        ] {
            let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
            let headers = denial_headers(&request("POST", &[("origin", origin)]), &allowed);
            let found = headers.iter().find(|(name, _)| name == "access-control-allow-origin");
            assert_eq!(found.map(|(_, value)| value.as_str()), expected, "{allowed:?}");
            assert_eq!(headers.is_empty(), expected.is_none());
        }
        assert!(denial_headers(&request("POST", &[]), &["*".to_owned()]).is_empty());
    }
}
