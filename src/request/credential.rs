//! Where a caller's key stands. The first source that is present wins, even if its value is unusable: a request never
//! falls through from a bad credential to another one. Two different values of one source are refused.

use std::borrow::Cow;

use memchr::memchr;

use super::{Credential, CredentialRead, CredentialSource, HttpRequest, Route, cookie, is_alike, query, subprotocol};

/// Every header a credential is read from, in order; all of them are removed from what goes upstream.
pub const CREDENTIAL_HEADERS: [&str; 7] = [
    "x-litellm-api-key",
    "x-litellm-key",
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

/// AWS Signature Version 4, whose access key id may carry a key.
const AWS_V4: &str = "AWS4-HMAC-SHA256";

/// How credentials are read.
#[derive(Clone, Debug, Default)]
pub struct CredentialSettings {
    /// A header, in lower case, that where present replaces every other source; its value needs `Bearer `.
    pub key_header_name: Option<String>,
    /// The cookie that holds a session token; the last source, after all others.
    pub session_cookie: Option<String>,
}

/// What a source may hold.
#[derive(Clone, Copy)]
enum Form {
    /// The key itself.
    Raw,
    /// `Bearer <key>`, `Basic <key>` (not decoded) or an AWS signature.
    Scheme,
    /// Either.
    Any,
}

/// Reads the credential of a request.
pub fn read<'a>(http: &HttpRequest<'a>, route: &Route<'a>, settings: &CredentialSettings) -> CredentialRead<'a> {
    if let Some(name) = &settings.key_header_name
        && let Some((name, _)) = http.headers.0.iter().find(|(field, _)| field == name)
    {
        let found = header(http, name, Form::Scheme);
        let source = CredentialSource::Header(Cow::Borrowed(*name));
        return found.unwrap_or(CredentialRead::Malformed { source });
    }
    let of_cookie = || settings.session_cookie.as_deref().and_then(|name| cookie::read(http, name));
    if route.is_websocket {
        return header(http, "authorization", Form::Scheme)
            .or_else(|| header(http, "api-key", Form::Raw))
            .or_else(|| subprotocol::read(http))
            .or_else(of_cookie)
            .unwrap_or(CredentialRead::Missing);
    }
    CREDENTIAL_HEADERS
        .iter()
        .find_map(|name| header(http, name, form_of(name)))
        .or_else(|| of_query(route))
        .or_else(of_cookie)
        .unwrap_or(CredentialRead::Missing)
}

fn form_of(header: &str) -> Form {
    match header {
        "x-litellm-api-key" => Form::Any,
        "authorization" => Form::Scheme,
        _ => Form::Raw,
    }
}

/// The credential of one header; `None` where it is absent or empty.
fn header<'a>(http: &HttpRequest<'a>, name: &'a str, form: Form) -> Option<CredentialRead<'a>> {
    let source = CredentialSource::Header(Cow::Borrowed(name));
    let mut values = http.headers.all(name).map(<[u8]>::trim_ascii).filter(|value| !value.is_empty());
    let first = values.next()?;
    let secret = if values.all(|other| other == first) { std::str::from_utf8(first).ok() } else { None };
    let secret = secret.map(undouble).and_then(|value| match form {
        Form::Raw => Some(value),
        Form::Scheme => of_scheme(value),
        Form::Any => of_scheme(value).or_else(|| (!is_scheme(value)).then_some(value)),
    });
    Some(result(secret.map(Cow::Borrowed), source))
}

pub(super) fn result<'a>(secret: Option<Cow<'a, str>>, source: CredentialSource<'a>) -> CredentialRead<'a> {
    // No key holds a space. What does is two values that a proxy has joined, or another scheme. A token has hundreds of
    // bytes: looked at without a branch for each.
    let is_plain = |secret: &str| secret.bytes().fold(true, |plain, byte| plain & byte.is_ascii_graphic());
    let is_one = |secret: &str| is_plain(secret) || !secret.chars().any(|c| c.is_whitespace() || c.is_control());
    match secret.filter(|secret| !secret.is_empty() && is_one(secret)) {
        Some(secret) => CredentialRead::Found(Credential { secret, source }),
        None => CredentialRead::Malformed { source },
    }
}

/// Envoy joins fields of one name with a comma; equal ones say no more than one.
fn undouble(value: &str) -> &str {
    if memchr(b',', value.as_bytes()).is_none() {
        return value.trim();
    }
    let mut items = value.split(',').map(str::trim);
    match items.next() {
        Some(first) if items.all(|item| item == first) => first,
        _ => value,
    }
}

fn is_scheme(value: &str) -> bool {
    let word = value.split([' ', '\t']).next().unwrap_or_default();
    ["bearer", "basic", AWS_V4].iter().any(|scheme| word.eq_ignore_ascii_case(scheme))
}

/// The key behind a scheme. Only the scheme at the beginning is taken off, so that a key may hold its name.
fn of_scheme(value: &str) -> Option<&str> {
    if let Some(signature) = value.strip_prefix(AWS_V4) {
        let mut credentials = signature.split("Credential=").skip(1);
        let scope = credentials.next()?;
        if credentials.next().is_some() {
            return None;
        }
        let key = scope.split_once('/')?.0;
        return Some(bearer(key).unwrap_or(key));
    }
    bearer(value)
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    let is_known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("basic");
    is_known.then(|| key.trim_matches(' '))
}

/// The headers that are read for a credential, or that a server may take for one of them, where `is_meant` is true of
/// name and value.
pub fn places<'a>(
    http: &HttpRequest<'a>,
    settings: &CredentialSettings,
    is_meant: impl Fn(&str, &[u8]) -> bool,
) -> Vec<&'a str> {
    let read = |name: &str| {
        let own = settings.key_header_name.as_deref();
        CREDENTIAL_HEADERS.into_iter().chain(own).any(|known| is_alike(known, name))
    };
    let mut names: Vec<&'a str> = Vec::new();
    for (name, value) in &http.headers.0 {
        if read(name) && is_meant(name, value) && !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// Whether the value of a header shows this secret, by itself or behind a scheme.
#[must_use]
pub fn shows(value: &[u8], secret: &str) -> bool {
    let value = String::from_utf8_lossy(value);
    let is_it = |item: &str| item == secret || of_scheme(item) == Some(secret);
    is_it(value.trim()) || value.split(',').map(str::trim).any(is_it)
}

/// Parameters of the query, undecoded, that show this secret where Google's clients send a key.
pub fn parameters<'q>(query: &'q str, secret: &str) -> impl Iterator<Item = &'q str> {
    let is_it = |text: &str, wanted: &str| query::percent_decode(text).is_some_and(|text| text == wanted);
    query::members(query).filter(move |(name, value)| is_it(name, "key") && is_it(value, secret)).map(|(name, _)| name)
}

/// `?key=` of Google's API, only where Google's clients send it.
fn of_query<'a>(route: &Route<'a>) -> Option<CredentialRead<'a>> {
    let verb = route.path.rsplit_once(':')?.1;
    if !matches!(verb, "generateContent" | "streamGenerateContent") {
        return None;
    }
    let mut values = query::values(route.query, "key");
    let first = values.next()?;
    let secret = first.filter(|first| values.all(|other| other.as_ref() == Some(first)));
    if secret.as_ref().is_some_and(|secret| secret.is_empty()) {
        return None;
    }
    Some(result(secret, CredentialSource::Query))
}

#[cfg(test)]
mod tests;
