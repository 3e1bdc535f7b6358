//! Requests to identity providers: every one bounded in time and size, to addresses that were checked, and never led
//! elsewhere by a redirect. Neither errors nor anything shown hold what was sent or answered.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, Url};
use serde_json::Value;

/// The largest answer that is read, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;
/// Lists of headers of HTTP/2 beyond this are refused by the connection.
const MAX_HEADERS: u32 = 64 * 1024;
const USER_AGENT: &str = concat!("tollward/", env!("CARGO_PKG_VERSION"));

/// An address that requests may go to: see [`check_url`]. What is shown of it ends before its query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint(Url);

/// The URL, where requests may go there: `https`, or `http` on the machine itself; no user, no password and no
/// fragment. Addresses from the configuration and those that a provider names pass here alike.
pub fn check_url(text: &str) -> Result<Endpoint, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the URL names no host")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err("http is used on loopback addresses only; write https".to_owned()),
        scheme => return Err(format!("the scheme {scheme} is not supported; write https")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not hold a user or a password".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL to fetch has no fragment (#…)".to_owned());
    }
    Ok(Endpoint(url))
}

/// Whether this host is the machine itself.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Endpoint {
    /// The whole URL, its query too.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether what is sent there is not encrypted: only ever on the machine itself.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a provider answered, whatever its status. Redirects are no answers.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer {{ status: {}, body: {} bytes }}", self.status, self.body.len())
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("no connection could be made")]
    Unreachable,
    #[error("the answer is larger than {MAX_BODY} bytes")]
    TooLarge,
    #[error("the answer is a redirect (HTTP {0}), which is never followed")]
    Redirected(u16),
    #[error("the connection broke, or what came is not HTTP")]
    Broken,
    /// A header of the request holds what no header can. Nothing was sent.
    #[error("the request cannot be written: a header holds characters that are not allowed")]
    Unwritable,
}

/// The client for all providers: cheap to clone, with one pool of connections. A request is part of the future that
/// asks for it and ends with it: whoever may be dropped and wants the answer for others spawns it.
#[derive(Clone, Debug)]
pub struct Fetch {
    client: Client,
    /// For the machine itself: a proxy from the environment never sees what goes there in plain text.
    local: Client,
    timeout: Duration,
}

impl Fetch {
    /// A client whose requests take at most `timeout`, from connecting to the last byte of the answer.
    pub fn new(timeout: Duration) -> Result<Fetch, String> {
        Fetch::build(timeout, Client::builder)
    }

    /// The same, for a provider whose certificate must be signed by one of these authorities (PEM).
    pub fn trusting(timeout: Duration, pem: &[u8]) -> Result<Fetch, String> {
        let authorities = Certificate::from_pem_bundle(pem).ok().filter(|authorities| !authorities.is_empty());
        let authorities = authorities.ok_or("the file of authorities holds no certificate that can be read")?;
        Fetch::build(timeout, || Client::builder().tls_certs_only(authorities.clone()))
    }

    fn build(timeout: Duration, begin: impl Fn() -> ClientBuilder) -> Result<Fetch, String> {
        let builder = || {
            begin()
                .user_agent(USER_AGENT)
                .redirect(Policy::none())
                .referer(false)
                .timeout(timeout)
                .connect_timeout(timeout)
                .http2_max_header_list_size(MAX_HEADERS)
                .pool_max_idle_per_host(8)
        };
        let failed = |error: reqwest::Error| format!("the client for identity providers cannot be made: {error}");
        let client = builder().build().map_err(failed)?;
        Ok(Fetch { client, local: builder().no_proxy().build().map_err(failed)?, timeout })
    }

    pub async fn get(&self, to: &Endpoint, headers: &[(&str, &str)]) -> Result<Answer, FetchError> {
        self.send(self.client(to).get(to.0.clone()), headers).await
    }

    /// Sends a form (`application/x-www-form-urlencoded`).
    pub async fn post_form(
        &self,
        to: &Endpoint,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Result<Answer, FetchError> {
        let mut form = String::new();
        for (name, value) in fields {
            if !form.is_empty() {
                form.push('&');
            }
            form_encode(name, &mut form);
            form.push('=');
            form_encode(value, &mut form);
        }
        let request = self.client(to).post(to.0.clone()).body(form);
        self.send(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded"), headers).await
    }

    pub async fn post_json(&self, to: &Endpoint, headers: &[(&str, &str)], body: &Value) -> Result<Answer, FetchError> {
        let request = self.client(to).post(to.0.clone()).body(body.to_string());
        self.send(request.header(CONTENT_TYPE, "application/json"), headers).await
    }

    fn client(&self, to: &Endpoint) -> &Client {
        if to.0.host_str().is_some_and(is_loopback) { &self.local } else { &self.client }
    }

    async fn send(&self, mut request: RequestBuilder, headers: &[(&str, &str)]) -> Result<Answer, FetchError> {
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("accept")) {
            request = request.header(ACCEPT, "application/json, */*;q=0.5");
        }
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| FetchError::Unwritable)?;
            let mut value = HeaderValue::from_str(value).map_err(|_| FetchError::Unwritable)?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| self.failure(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(FetchError::Redirected(status.as_u16()));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failure(&error))? {
            if chunk.len() > MAX_BODY - body.len() {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status: status.as_u16(), body: body.freeze() })
    }

    fn failure(&self, error: &reqwest::Error) -> FetchError {
        if error.is_timeout() {
            FetchError::Timeout(self.timeout)
        } else if error.is_connect() {
            FetchError::Unreachable
        } else {
            FetchError::Broken
        }
    }
}

/// The rules of forms (WHATWG URL, section 5.2): also what RFC 6749, section 2.3.1 asks for names and passwords in
/// Basic credentials.
pub fn form_encode(text: &str, out: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.extend(['%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Body;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::{get, post};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    /// A provider on a port of its own, and the address of a path on it.
    async fn provider(routes: Router) -> impl Fn(&str) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        move |path| check_url(&format!("http://127.0.0.1:{port}{path}")).unwrap()
    }

    fn fetch() -> Fetch {
        Fetch::new(Duration::from_secs(5)).unwrap()
    }

    #[test]
    fn urls_are_https_or_loopback_and_hold_no_credentials() {
        let good = [
            "https://id.example.com/jwks",
            "https://id.example.com:8443/jwks?tenant=a",
            "http://localhost:8080/jwks",
            "http://127.0.0.1/",
            "http://127.8.9.10:1/",
            "http://[::1]:9/jwks",
        ];
        for url in good {
            assert_eq!(check_url(url).unwrap().as_str(), url);
        }
        let bad = [
            "http://id.example.com/jwks",
            "http://localhost.example.com/",
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://[::ffff:10.0.0.1]/",
            "https://user@id.example.com/",
            "https://user:password@id.example.com/",
            "https://id.example.com/#keys",
            "https://",
            "file:///etc/passwd",
            "ftp://id.example.com/",
            "id.example.com/jwks",
            "",
        ];
        for url in bad {
            let error = check_url(url).expect_err(url);
            assert!(!error.contains("password@"), "{error}");
        }
    }

    #[test]
    fn what_is_shown_of_an_address_ends_before_its_query() {
        let url = check_url("https://id.example.com:8443/a/b?token=hidden").unwrap();
        assert_eq!(url.to_string(), "https://id.example.com:8443/a/b");
        assert_eq!(format!("{url:?}"), "https://id.example.com:8443/a/b");
    }

    #[tokio::test]
    async fn an_answer_comes_with_its_status_and_the_request_says_who_asks() {
        let at = provider(Router::new().route(
            "/",
            get(|headers: HeaderMap| async move {
                let shown = |name: &str| headers[name].to_str().unwrap().to_owned();
                (StatusCode::IM_A_TEAPOT, format!("{} {}", shown("user-agent"), shown("authorization")))
            }),
        ))
        .await;
        let answer = fetch().get(&at("/"), &[("authorization", "Bearer t")]).await.unwrap();
        assert_eq!(answer.status, 418);
        assert_eq!(answer.body, format!("{USER_AGENT} Bearer t"));
        assert_eq!(format!("{answer:?}"), format!("Answer {{ status: 418, body: {} bytes }}", answer.body.len()));
    }

    #[tokio::test]
    async fn forms_and_json_arrive_as_they_were_given() {
        let echo = |headers: HeaderMap, body: String| async move {
            format!("{} {body}", headers["content-type"].to_str().unwrap())
        };
        let at = provider(Router::new().route("/", post(echo))).await;
        let form = fetch().post_form(&at("/"), &[], &[("token", "a b+c&d=é"), ("hint", "")]).await.unwrap();
        assert_eq!(form.body, "application/x-www-form-urlencoded token=a+b%2Bc%26d%3D%C3%A9&hint=");
        let json = fetch().post_json(&at("/"), &[], &json!({"a": [1]})).await.unwrap();
        assert_eq!(json.body, r#"application/json {"a":[1]}"#);
    }

    #[tokio::test]
    async fn a_redirect_is_never_followed() {
        let to = |status: u16| {
            get(move || async move { (StatusCode::from_u16(status).unwrap(), [("location", "http://127.0.0.1:1/")]) })
        };
        let at = provider(Router::new().route("/301", to(301)).route("/302", to(302)).route("/307", to(307))).await;
        for status in [301, 302, 307] {
            let answer = fetch().get(&at(&format!("/{status}")), &[]).await;
            assert_eq!(answer.unwrap_err(), FetchError::Redirected(status));
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off_at_the_bound() {
        let endless = || async {
            let chunk = Bytes::from_static(&[b' '; 64 * 1024]);
            Body::from_stream(futures_util::stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone())))
        };
        let full = || async { vec![b' '; MAX_BODY] };
        let at = provider(Router::new().route("/endless", get(endless)).route("/full", get(full))).await;
        assert_eq!(fetch().get(&at("/endless"), &[]).await.unwrap_err(), FetchError::TooLarge);
        assert_eq!(fetch().get(&at("/full"), &[]).await.unwrap().body.len(), MAX_BODY);
    }

    #[tokio::test]
    async fn silence_ends_at_the_bound_before_and_within_an_answer() {
        let drip = || async {
            let first = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{"))]);
            Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
        };
        let at =
            provider(Router::new().route("/silent", get(std::future::pending::<()>)).route("/drip", get(drip))).await;
        let bound = Duration::from_millis(50);
        let fetch = Fetch::new(bound).unwrap();
        for path in ["/silent", "/drip"] {
            assert_eq!(fetch.get(&at(path), &[]).await.unwrap_err(), FetchError::Timeout(bound), "{path}");
        }
    }

    #[tokio::test]
    async fn what_does_not_listen_or_does_not_speak_http_is_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = closed.local_addr().unwrap().port();
        drop(closed);
        let closed = check_url(&format!("http://127.0.0.1:{port}/")).unwrap();
        assert_eq!(fetch().get(&closed, &[]).await.unwrap_err(), FetchError::Unreachable);

        let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = check_url(&format!("http://{}/", rude.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = rude.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example.com\r\n\r\n").await.unwrap();
        });
        assert_eq!(fetch().get(&to, &[]).await.unwrap_err(), FetchError::Broken);
    }

    #[tokio::test]
    async fn a_header_that_would_smuggle_a_line_is_not_sent() {
        let nobody = check_url("http://127.0.0.1:1/").unwrap();
        let answer = fetch().get(&nobody, &[("authorization", "a\r\nb: c")]).await;
        assert_eq!(answer.unwrap_err(), FetchError::Unwritable);
    }
}
