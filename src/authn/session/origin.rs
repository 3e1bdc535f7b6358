//! Who may use a cookie: a browser sends it along whoever's page asks, so what may change something must come from a page
//! of the gate's own origin (or one the configuration allows). Fetch Metadata says so, and `Origin` where a browser is
//! too old for it.

use crate::domain::{Denial, ErrorType};
use crate::request::{HttpRequest, RequestView};

/// Methods that change nothing (RFC 9110, section 9.2.1).
const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// Fields by which some servers let a request choose another method than its own.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Origins besides the gate's own.
pub(super) struct Origins {
    allowed: Vec<String>,
}

impl Origins {
    pub(super) fn new(allowed: &[String]) -> Self {
        Origins { allowed: allowed.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect() }
    }

    /// Refuses what a page of another origin may have sent. Without a word of where it is from, that is any page.
    pub(super) fn admit(&self, view: &RequestView<'_>) -> Result<(), Denial> {
        let http = view.http;
        // The handshake of a WebSocket is a GET, and all that follows is not seen here.
        let is_safe = SAFE.contains(&http.method)
            && !view.route.is_websocket
            && METHOD_OVERRIDES.iter().all(|name| http.headers.get(name).is_none());
        if is_safe || self.is_own_page(http) {
            return Ok(());
        }
        let message = "a session cookie may change something only for pages of this origin; send the session token as \
                       Authorization: Bearer …, or add the page's origin to identity.session.allowed_origins";
        Err(Denial { status: 403, ..Denial::new(ErrorType::PermissionDenied, "session.cross_site", message) })
    }

    fn is_own_page(&self, http: &HttpRequest<'_>) -> bool {
        let (Ok(origin), Ok(site)) = (only(http, "origin"), only(http, "sec-fetch-site")) else { return false };
        if origin.is_some_and(|origin| self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))) {
            return true;
        }
        match (site, origin) {
            // `none`: no page at all, but the user: a bookmark, the address bar.
            (Some(site), _) => matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => {
                let host = http.headers.text(":authority").or_else(|| http.headers.text("host"));
                host.is_some_and(|host| is_origin_of(origin, host))
            }
            (None, None) => false,
        }
    }
}

/// The one field of this name; an error where there are two, or it is no text.
fn only<'a>(http: &HttpRequest<'a>, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = http.headers.0.iter().filter(|(field, _)| *field == name).map(|(_, value)| *value);
    let first = values.next();
    if values.next().is_some() {
        return Err(());
    }
    first.map(std::str::from_utf8).transpose().map_err(|_| ())
}

/// Whether an origin (RFC 6454, section 6.2) is of this host. The scheme the client used is not known here.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return false,
    };
    let plain = |authority: &str| authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase();
    !authority.is_empty() && plain(authority) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Headers, Route};

    fn is_admitted(method: &str, headers: &[(&str, &str)]) -> bool {
        let allowed = ["https://app.example.com".to_owned()];
        let http = HttpRequest {
            method,
            path: "/v1/chat/completions",
            headers: Headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        };
        let is_websocket = headers.contains(&("upgrade", "websocket"));
        let mut route = Route::read_below("", method, http.path).unwrap();
        route.is_websocket = is_websocket;
        let view = RequestView {
            http: &http,
            route,
            credential: crate::request::CredentialRead::Missing,
            body: Ok(crate::request::BodyView::default()),
            model: Ok(None),
        };
        let admitted = Origins::new(&allowed).admit(&view);
        assert!(admitted.as_ref().err().is_none_or(|denial| denial.status == 403));
        admitted.is_ok()
    }

    #[test]
    fn a_cookie_changes_something_only_for_pages_of_its_own_origin() {
        let host = (":authority", "gate.example.com");
        for (method, headers, expected) in [
            ("GET", vec![], true),
            ("HEAD", vec![("sec-fetch-site", "cross-site")], true),
            ("GET", vec![("upgrade", "websocket")], false),
            ("GET", vec![("upgrade", "websocket"), ("origin", "https://evil.example"), host], false),
            ("GET", vec![("upgrade", "websocket"), ("origin", "https://gate.example.com"), host], true),
            ("GET", vec![("x-http-method-override", "POST")], false),
            ("get", vec![], false),
            ("POST", vec![], false),
            ("POST", vec![host], false),
            ("POST", vec![("sec-fetch-site", "same-origin")], true),
            ("POST", vec![("sec-fetch-site", "none")], true),
            ("POST", vec![("sec-fetch-site", "same-site")], false),
            ("POST", vec![("sec-fetch-site", "cross-site")], false),
            ("POST", vec![("sec-fetch-site", "cross-site"), ("origin", "https://gate.example.com"), host], false),
            ("POST", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
            ("POST", vec![("sec-fetch-site", "cross-site"), ("origin", "https://app.example.com")], true),
            ("POST", vec![("origin", "https://APP.example.com")], true),
            ("POST", vec![("origin", "https://app.example.com.evil.org"), host], false),
            ("POST", vec![("origin", "https://app.example.com"), ("origin", "https://evil.example")], false),
            ("POST", vec![("origin", "https://gate.example.com"), host], true),
            ("POST", vec![("origin", "https://gate.example.com:443"), host], true),
            ("POST", vec![("origin", "https://gate.example.com:8443"), host], false),
            ("POST", vec![("origin", "http://gate.example.com:443"), host], false),
            ("POST", vec![("origin", "https://gate.example.com"), ("host", "gate.example.com:443")], true),
            ("POST", vec![("origin", "null"), host], false),
            ("POST", vec![("origin", "https://"), (":authority", "")], false),
            ("DELETE", vec![("origin", "https://evil.example"), host], false),
        ] {
            assert_eq!(is_admitted(method, &headers), expected, "{method} {headers:?}");
        }
    }
}
