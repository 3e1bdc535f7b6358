//! An authoriser that speaks ext_authz: it is sent what Envoy sent us (`envoy.service.auth.v3.CheckRequest`).

use std::collections::HashMap;
use std::sync::OnceLock;

use http::uri::PathAndQuery;
use prost_types::value::Kind;
use prost_types::{Struct, Value as ProtoValue};
use serde_json::{Map, Value};
use tonic::client::Grpc;
use tonic::metadata::{Ascii, AsciiMetadataKey, AsciiMetadataValue, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::connect::Target;
use super::fields::{Answer, HEADERS};
use super::question::Question;
use super::verdict::{Refusal, Source, Trouble, Verdict};
use crate::proto::envoy::config::core::v3 as core;
use crate::proto::envoy::service::auth::v3 as auth;
use auth::attribute_context::{HttpRequest, Peer, Request as Described};
use auth::check_response::HttpResponse;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The deepest nesting of metadata that is read.
const MAX_NESTING: usize = 16;

/// See the module.
pub(super) struct Service {
    target: Target,
    metadata: Vec<(AsciiMetadataKey, AsciiMetadataValue)>,
    is_unchecked: bool,
    /// Made when it is first used, since it lives on a runtime.
    channel: OnceLock<Result<Channel, String>>,
}

impl Service {
    pub(super) fn new<'a>(
        target: Target,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        is_unchecked: bool,
    ) -> Result<Self, String> {
        let mut metadata = Vec::new();
        for (name, value) in headers {
            let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
            let key = key.map_err(|_| format!("the header {name} cannot be sent by gRPC"))?;
            let mut value: MetadataValue<Ascii> =
                value.parse().map_err(|_| format!("the value of the header {name} cannot be sent by gRPC"))?;
            value.set_sensitive(true);
            metadata.push((key, value));
        }
        Ok(Service { target, metadata, is_unchecked, channel: OnceLock::new() })
    }

    pub(super) async fn ask(&self, question: &Question) -> Result<Verdict, Trouble> {
        let channel = self.channel.get_or_init(|| self.target.channel()).clone().map_err(Trouble::Failed)?;
        let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
        client.ready().await.map_err(|_| Trouble::Failed("no connection could be made".to_owned()))?;
        let mut request = Request::new(described(question));
        for (name, value) in &self.metadata {
            request.metadata_mut().insert(name.clone(), value.clone());
        }
        let path = PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");
        let codec: ProstCodec<auth::CheckRequest, auth::CheckResponse> = ProstCodec::default();
        // The text of a status is the authoriser's own, and may repeat what it was sent.
        let answer = client.unary(request, path, codec).await.map_err(|status| unanswered(status.code()))?;
        verdict(answer.into_inner(), self.is_unchecked)
    }
}

/// Why a call ended without an answer. Some codes are the authoriser's word on this one request, and say nothing of how
/// it does (`google.rpc.Code`).
fn unanswered(code: Code) -> Trouble {
    match code {
        // The code of an answer beyond the bound, too.
        Code::OutOfRange => {
            Trouble::Declined(format!("gRPC status {code:?}, or its answer is larger than {MAX_ANSWER} bytes"))
        }
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::FailedPrecondition => Trouble::Declined(format!("gRPC status {code:?}")),
        code => Trouble::Failed(format!("gRPC status {code:?}")),
    }
}

/// A request as Envoy describes it.
fn described(question: &Question) -> auth::CheckRequest {
    let mut http = HttpRequest {
        method: question.method.clone(),
        path: question.path.clone(),
        host: question.host.clone(),
        ..HttpRequest::default()
    };
    match question.joined() {
        Some(headers) => {
            http.headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        }
        // As with `encode_raw_headers`: all of them, as they stand.
        None => {
            let raw = |(name, value): &(String, Vec<u8>)| core::HeaderValue {
                key: name.clone(),
                raw_value: value.clone(),
                ..core::HeaderValue::default()
            };
            http.header_map = Some(core::HeaderMap { headers: question.headers.iter().map(raw).collect() });
        }
    }
    http.scheme = http.headers.get(":scheme").cloned().unwrap_or_default();
    http.size = http.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(-1);
    if let Some(body) = &question.body {
        match std::str::from_utf8(body) {
            Ok(text) => http.body = text.to_owned(),
            Err(_) => http.raw_body = body.clone(),
        }
    }
    let address = question.source.map(|address| core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: address.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
            ..core::SocketAddress::default()
        })),
    });
    auth::CheckRequest {
        attributes: Some(auth::AttributeContext {
            source: Some(Peer { address, principal: question.principal.clone(), ..Peer::default() }),
            request: Some(Described { http: Some(http), ..Described::default() }),
            context_extensions: question.extensions.iter().cloned().collect::<HashMap<_, _>>(),
            ..auth::AttributeContext::default()
        }),
    }
}

/// What an answer says. Envoy looks at its status alone; here, one that allows and holds a denial does not allow.
fn verdict(answer: auth::CheckResponse, is_unchecked: bool) -> Result<Verdict, Trouble> {
    let status = answer.status.unwrap_or_default();
    let code = Code::from_i32(status.code);
    match answer.http_response {
        Some(HttpResponse::ErrorResponse(_)) => Err(Trouble::Failed("it tells of trouble of its own".to_owned())),
        Some(HttpResponse::DeniedResponse(denied)) => {
            let http = denied.status.map_or(0, |status| status.code);
            let message = if denied.body.is_empty() { &status.message } else { &denied.body };
            refused(u16::try_from(http).unwrap_or_default(), message)
        }
        _ if code != Code::Ok => match code {
            Code::Unauthenticated => refused(401, &status.message),
            Code::ResourceExhausted => refused(429, &status.message),
            Code::Unavailable | Code::Internal | Code::DeadlineExceeded => {
                Err(Trouble::Failed(format!("it tells of trouble of its own: {code:?}")))
            }
            _ => refused(403, &status.message),
        },
        ok => {
            let headers = match ok {
                Some(HttpResponse::OkResponse(ok)) => named_by(ok.headers),
                _ => Vec::new(),
            };
            let object = answer.dynamic_metadata.map(object).transpose()?.unwrap_or_default();
            Answer { object, source: Source::Metadata, headers }.verdict(is_unchecked)
        }
    }
}

fn refused(status: u16, message: &str) -> Result<Verdict, Trouble> {
    if status >= 500 {
        return Err(Trouble::Failed(format!("it answers for the request with HTTP {status}")));
    }
    Ok(Verdict::Refused(Refusal::new(status, &super::webhook::message(message.as_bytes())).into()))
}

/// The fields that headers stand for; the last of one name counts, as it does where they are set.
fn named_by(headers: Vec<core::HeaderValueOption>) -> Vec<(&'static str, &'static str, String)> {
    let mut named: Vec<(&'static str, &'static str, String)> = Vec::new();
    for header in headers.into_iter().filter_map(|option| option.header) {
        let Some((name, field)) = HEADERS.iter().find(|(name, _)| header.key.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let value = if header.value.is_empty() { String::from_utf8(header.raw_value).ok() } else { Some(header.value) };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            named.retain(|(other, ..)| other != name);
            named.push((*name, *field, value));
        }
    }
    named
}

fn object(metadata: Struct) -> Result<Map<String, Value>, Trouble> {
    fields(metadata, 0)
        .ok_or_else(|| Trouble::Unusable("its dynamic metadata are no JSON, or nested too deep".to_owned()))
}

fn fields(metadata: Struct, depth: usize) -> Option<Map<String, Value>> {
    metadata.fields.into_iter().map(|(name, value)| Some((name, json(value, depth + 1)?))).collect()
}

fn json(value: ProtoValue, depth: usize) -> Option<Value> {
    if depth > MAX_NESTING {
        return None;
    }
    Some(match value.kind? {
        Kind::NullValue(_) => Value::Null,
        Kind::NumberValue(number) => Value::Number(serde_json::Number::from_f64(number)?),
        Kind::StringValue(text) => Value::String(text),
        Kind::BoolValue(value) => Value::Bool(value),
        Kind::StructValue(inner) => Value::Object(fields(inner, depth)?),
        Kind::ListValue(list) => {
            Value::Array(list.values.into_iter().map(|value| json(value, depth + 1)).collect::<Option<_>>()?)
        }
    })
}
