//! The facts of a request alone: what expressions read as `request`, before anybody is known too.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use super::Kept;
use crate::domain::Api;
use crate::expression::{Found, flag, kept, list, map, number, text};
use crate::request::{CREDENTIAL_HEADERS, Headers, ReadSettings, RequestView};

/// What expressions may know of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    pub method: &'a str,
    /// Normalised.
    pub path: &'a str,
    pub api: Api,
    pub headers: &'a Headers<'a>,
    /// A header that credentials are read from besides the usual ones.
    pub credential_header: Option<&'a str>,
    pub client: Option<IpAddr>,
    pub stream: bool,
    pub max_tokens: Option<u64>,
    pub end_user: Option<&'a str>,
    pub tags: &'a [Arc<str>],
    pub extensions: &'a [(&'a str, &'a str)],
    /// Names of the body's top-level keys.
    pub parameters: &'a [Cow<'a, str>],
    pub body_bytes: u64,
}

impl<'a> RequestFacts<'a> {
    /// Of a request that was read by these settings. A body that cannot be read says nothing.
    #[must_use]
    pub fn of(
        view: &'a RequestView<'a>,
        read: &'a ReadSettings,
        client: Option<IpAddr>,
        end_user: Option<&'a str>,
        tags: &'a [Arc<str>],
    ) -> Self {
        let body = view.body.as_ref().ok();
        RequestFacts {
            method: view.http.method,
            path: &view.route.path,
            api: view.route.api,
            headers: &view.http.headers,
            credential_header: read.credential.key_header_name.as_deref(),
            client,
            stream: view.is_stream(),
            max_tokens: body.and_then(|body| body.max_tokens),
            end_user,
            tags,
            extensions: &view.http.extensions,
            parameters: body.map_or(&[], |body| &body.keys),
            body_bytes: view.http.body.map_or(0, |body| body.len() as u64),
        }
    }
}

/// The facts of one request, with what was made of them.
pub struct KnownRequest<'a> {
    facts: RequestFacts<'a>,
    client: OnceLock<String>,
    headers: Kept<'a>,
    tags: Kept<'a>,
    extensions: Kept<'a>,
    parameters: Kept<'a>,
}

impl<'a> KnownRequest<'a> {
    #[must_use]
    pub fn new(facts: RequestFacts<'a>) -> Self {
        KnownRequest {
            facts,
            client: OnceLock::new(),
            headers: Kept::new(),
            tags: Kept::new(),
            extensions: Kept::new(),
            parameters: Kept::new(),
        }
    }

    /// The value of a field of `request`.
    pub fn get(&self, field: &str) -> Option<Found<'_>> {
        let facts = self.facts;
        match field {
            "method" => Some(text(facts.method)),
            "path" => Some(text(facts.path)),
            "api" => Some(text(facts.api.as_str())),
            "headers" => kept(&self.headers, || Some(map(shown_headers(facts)))),
            "client_ip" => {
                let shown = || facts.client.map(|client| client.to_canonical().to_string()).unwrap_or_default();
                Some(text(self.client.get_or_init(shown)))
            }
            "stream" => Some(flag(facts.stream)),
            "max_tokens" => Some(number(facts.max_tokens.map_or(-1, whole))),
            "end_user" => Some(text(facts.end_user.unwrap_or_default())),
            "tags" => kept(&self.tags, || Some(list(facts.tags.iter().map(AsRef::as_ref)))),
            "extensions" => kept(&self.extensions, || Some(map(facts.extensions.iter().copied()))),
            "parameters" => kept(&self.parameters, || Some(list(facts.parameters.iter().map(AsRef::as_ref)))),
            "body_bytes" => Some(number(whole(facts.body_bytes))),
            _ => None,
        }
    }
}

/// What expressions may read of the headers: no credential, and nothing that is no text.
fn shown_headers<'a>(facts: RequestFacts<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_secret = move |name: &str| {
        CREDENTIAL_HEADERS.contains(&name)
            || matches!(name, "cookie" | "proxy-authorization" | "sec-websocket-protocol")
            || facts.credential_header == Some(name)
    };
    let shown = facts.headers.0.iter().filter(move |(name, _)| !is_secret(name));
    shown.filter_map(|(name, value)| Some((*name, std::str::from_utf8(value).ok()?)))
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
