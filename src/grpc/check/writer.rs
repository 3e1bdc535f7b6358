//! Writes a `CheckResponse` from a [`Decision`] straight into one buffer, lengths first, without building messages. What
//! Envoy reads differently from release to release is written so that all of them read the same.

use std::borrow::Cow;
use std::time::Duration;

use bytes::BytesMut;

use super::wire::{bytes_len, put_bytes, put_number, put_text, varint_len};
use crate::config::OnError;
use crate::domain::{Allow, Decision, Denial, ErrorType, Fields, Standing};

/// Codes of `google.rpc.Status`.
const PERMISSION_DENIED: u64 = 7;
const RESOURCE_EXHAUSTED: u64 = 8;
const UNAVAILABLE: u64 = 14;
const UNAUTHENTICATED: u64 = 16;

/// What is sent back to Envoy.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A `CheckResponse` was written.
    Message,
    /// A gRPC error instead of a message: UNAVAILABLE with this text.
    Unavailable(String),
}

/// Appends the response for `decision` to `out`, or says that a gRPC error takes its place.
pub fn write(decision: &Decision, on_error: OnError, out: &mut BytesMut) -> Answer {
    match decision {
        Decision::Allow(allow) => write_allow(allow, out),
        Decision::Deny(denial) if !denial.is_infrastructure() => write_denial(denial, DENIED_RESPONSE, out),
        Decision::Deny(denial) => match on_error {
            OnError::GrpcStatus => return Answer::Unavailable(denial.message.clone()),
            OnError::DenyResponse => write_denial(denial, DENIED_RESPONSE, out),
            OnError::ErrorResponse => write_denial(denial, ERROR_RESPONSE, out),
        },
    }
    Answer::Message
}

/// Appends the refusal of a check that has no HTTP request in it (Envoy's network filter looks at the code alone).
pub fn write_connection_refused(out: &mut BytesMut) {
    const MESSAGE: &str = "only HTTP requests can be authorized: use the ext_authz HTTP filter";
    put_bytes(1, 2 + bytes_len(2, MESSAGE.len()), out);
    put_number(1, PERMISSION_DENIED, out);
    put_text(2, MESSAGE, out);
}

// Field numbers of `CheckResponse`.
const STATUS: u32 = 1;
const DENIED_RESPONSE: u32 = 2;
const OK_RESPONSE: u32 = 3;
const DYNAMIC_METADATA: u32 = 4;
const ERROR_RESPONSE: u32 = 5;

/// The part of an answer that is the same for all requests with one standing.
struct Written {
    /// Options of `OkHttpResponse.headers`, and entries of `dynamic_metadata`.
    headers: Box<[u8]>,
    metadata: Box<[u8]>,
}

impl Written {
    fn of(standing: &Standing) -> Self {
        let (mut headers, mut metadata) = (BytesMut::new(), BytesMut::new());
        put_header_options(2, safe(&standing.upstream_headers).iter(), &mut headers);
        put_entries(standing.metadata.iter(), &mut metadata);
        Written { headers: headers[..].into(), metadata: metadata[..].into() }
    }
}

/// Fields whose values cannot end their line.
fn safe(fields: &Fields) -> Cow<'_, Fields> {
    if has_control(fields.values()) {
        Cow::Owned(fields.iter().map(|(name, value)| (name.to_owned(), header_value(value))).collect())
    } else {
        Cow::Borrowed(fields)
    }
}

fn write_allow(allow: &Allow, out: &mut BytesMut) {
    let fresh;
    let standing = match allow.standing.written.get_or_init_again(|| Written::of(&allow.standing)) {
        Some(written) => written,
        None => {
            fresh = Written::of(&allow.standing);
            &fresh
        }
    };
    // Envoy removes after it has set: a name that is set must not stand among those to remove.
    let removed = || allow.remove_headers.iter().filter(|name| !allow.sets(name));
    let (headers, response) = (safe(&allow.upstream_headers), safe(&allow.response_headers));
    let ok = standing.headers.len()
        + header_options_len(headers.iter())
        + removed().map(|name| bytes_len(5, name.len())).sum::<usize>()
        + header_options_len(response.iter())
        + allow.remove_query.iter().map(|name| bytes_len(8, name.len())).sum::<usize>();
    let metadata = standing.metadata.len() + struct_len(allow.metadata.iter());
    out.reserve(ok + metadata + 32);

    // Present and empty: code OK.
    put_bytes(STATUS, 0, out);
    put_bytes(OK_RESPONSE, ok, out);
    out.extend_from_slice(&standing.headers);
    put_header_options(2, headers.iter(), out);
    removed().for_each(|name| put_text(5, name, out));
    put_header_options(6, response.iter(), out);
    allow.remove_query.iter().for_each(|name| put_text(8, name, out));
    if metadata > 0 {
        put_bytes(DYNAMIC_METADATA, metadata, out);
        out.extend_from_slice(&standing.metadata);
        put_entries(allow.metadata.iter(), out);
    }
}

fn write_denial(denial: &Denial, response_field: u32, out: &mut BytesMut) {
    let body = denial.body();
    let headers = denial_headers(denial);
    let fields = || headers.iter().map(|(name, value)| (*name, value.as_ref()));
    let metadata = denial_metadata(denial);
    let metadata = || metadata.iter().map(|(name, value)| (*name, value.as_ref()));

    let code = status_code(denial);
    let status = 1 + varint_len(code);
    let http_status = 1 + varint_len(u64::from(denial.status));
    let response = bytes_len(1, http_status) + header_options_len(fields()) + bytes_len(3, body.len());
    out.reserve(response + struct_len(metadata()) + 32);

    put_bytes(STATUS, status, out);
    put_number(1, code, out);
    put_bytes(response_field, response, out);
    put_bytes(1, http_status, out);
    put_number(1, u64::from(denial.status), out);
    put_header_options(2, fields(), out);
    put_text(3, &body, out);
    put_metadata(metadata(), out);
}

/// The code of `CheckResponse.status`; for people and logs, since Envoy only asks whether it is OK.
fn status_code(denial: &Denial) -> u64 {
    match denial.kind {
        _ if denial.is_infrastructure() => UNAVAILABLE,
        ErrorType::RateLimit | ErrorType::BudgetExceeded => RESOURCE_EXHAUSTED,
        _ if denial.status == 401 => UNAUTHENTICATED,
        _ => PERMISSION_DENIED,
    }
}

/// The headers the client is told, ours after those the gate gave; one that the gate gave stands.
fn denial_headers(denial: &Denial) -> Vec<(&str, Cow<'_, str>)> {
    let mut headers: Vec<(&str, Cow<'_, str>)> =
        denial.headers.iter().map(|(name, value)| (name.as_ref(), header_value(value))).collect();
    let mut add = |name: &'static str, value: Cow<'static, str>| {
        if !headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            headers.push((name, value));
        }
    };
    add("content-type", Cow::Borrowed("application/json"));
    if let Some(after) = denial.retry_after {
        add("retry-after", Cow::Owned(ceil_seconds(after).to_string()));
    }
    if let Some(should) = denial.should_retry {
        add("x-should-retry", Cow::Borrowed(if should { "true" } else { "false" }));
    }
    if denial.status == 401 {
        add("www-authenticate", Cow::Borrowed("Bearer"));
    }
    headers
}

/// What access logs and later filters read under `envoy.filters.http.ext_authz`.
fn denial_metadata(denial: &Denial) -> Vec<(&'static str, Cow<'_, str>)> {
    let mut metadata = vec![("decision", Cow::Borrowed("deny")), ("reason", Cow::Borrowed(denial.reason.as_ref()))];
    if let Some(caller) = &denial.caller {
        if let Some(key) = &caller.identity.key {
            metadata.push(("key_hash", Cow::Owned(key.token.to_string())));
        }
        if let Some(team) = caller.team_id() {
            metadata.push(("team_id", Cow::Borrowed(team.as_ref())));
        }
        if let Some(user) = caller.user_id() {
            metadata.push(("user_id", Cow::Borrowed(user.as_ref())));
        }
    }
    metadata
}

/// Whole seconds, rounded up and never 0: a client that waits so long is not early.
fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// A value that cannot end its line: control characters become spaces, so that no name or alias can add a header of its
/// own.
fn header_value(value: &str) -> Cow<'_, str> {
    let is_control = |c: char| c.is_ascii_control() && c != '\t';
    if has_control(value) { Cow::Owned(value.replace(is_control, " ")) } else { Cow::Borrowed(value) }
}

/// Byte by byte and without a branch in the loop: this is asked of everything that is written.
fn has_control(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f))
}

/// `append: false`, present and empty, which releases before 1.37 read; then `append_action:
/// OVERWRITE_IF_EXISTS_OR_ADD`, which later ones read.
const OVERWRITE: [u8; 4] = [0x12, 0x00, 0x18, 0x02];

fn header_len(name: &str, value: &str) -> usize {
    bytes_len(1, name.len()) + bytes_len(2, value.len())
}

fn header_option_len(name: &str, value: &str) -> usize {
    bytes_len(1, header_len(name, value)) + OVERWRITE.len()
}

fn header_options_len<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    headers.map(|(name, value)| bytes_len(2, header_option_len(name, value))).sum()
}

fn put_header_options<'a>(field: u32, headers: impl Iterator<Item = (&'a str, &'a str)>, out: &mut BytesMut) {
    for (name, value) in headers {
        put_bytes(field, header_option_len(name, value), out);
        put_bytes(1, header_len(name, value), out);
        put_text(1, name, out);
        put_text(2, value, out);
        out.extend_from_slice(&OVERWRITE);
    }
}

/// A `google.protobuf.Value` that is text.
fn value_len(value: &str) -> usize {
    bytes_len(3, value.len())
}

fn struct_entry_len(name: &str, value: &str) -> usize {
    bytes_len(1, name.len()) + bytes_len(2, value_len(value))
}

fn struct_len<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    fields.map(|(name, value)| bytes_len(1, struct_entry_len(name, value))).sum()
}

fn put_metadata<'a>(fields: impl Iterator<Item = (&'a str, &'a str)> + Clone, out: &mut BytesMut) {
    let length = struct_len(fields.clone());
    if length > 0 {
        put_bytes(DYNAMIC_METADATA, length, out);
        put_entries(fields, out);
    }
}

/// Entries of a `google.protobuf.Struct`.
fn put_entries<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>, out: &mut BytesMut) {
    for (name, value) in fields {
        put_bytes(1, struct_entry_len(name, value), out);
        put_text(1, name, out);
        put_bytes(2, value_len(value), out);
        put_text(3, value, out);
    }
}

#[cfg(test)]
mod tests;
