//! The Check that is sent: a chat of one turn as Envoy describes it, fourteen headers, about a kibibyte.

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message;

/// How Envoy sends headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The map `headers`.
    Map,
    /// The list `header_map`, with `encode_raw_headers`.
    RawHeaders,
}

/// A route that nothing in a directory of callers opens to them.
pub const CLOSED: &str = "/config/update";
const CHAT: &str = "/v1/chat/completions";
const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You are brief."},{"role":"user","content":"What is a toll?"}],"max_tokens":64,"temperature":0.2}"#;

/// The framed message, ready to be sent as it is.
pub fn check(form: Form, key: &str) -> Bytes {
    of_path(form, key, CHAT)
}

/// The same request to another route.
pub fn of_path(form: Form, key: &str, path: &str) -> Bytes {
    let bearer = format!("Bearer {key}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        (":method", "POST"),
        (":path", path),
        (":authority", "gateway.example.com"),
        (":scheme", "https"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("content-length", "158"),
        ("accept", "application/json"),
        ("user-agent", "OpenAI/Python 1.99.1"),
        ("x-request-id", "3f0c6f0e-7d0a-4a86-9d5e-1b6f4c2f7a10"),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("traceparent", trace),
        ("x-envoy-auth-partial-body", "false"),
    ];
    let mut http = HttpRequest {
        id: "17059135283541233".to_owned(),
        method: "POST".to_owned(),
        path: path.to_owned(),
        host: "gateway.example.com".to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        size: 158,
        raw_body: BODY.as_bytes().to_vec(),
        ..HttpRequest::default()
    };
    match form {
        Form::Map => {
            http.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        }
        Form::RawHeaders => {
            let headers = headers.iter().map(|(name, value)| HeaderValue {
                key: (*name).to_owned(),
                raw_value: value.as_bytes().to_vec(),
                ..HeaderValue::default()
            });
            http.header_map = Some(HeaderMap { headers: headers.collect() });
        }
    }
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer("203.0.113.7", 51_234)),
            destination: Some(peer("10.0.0.5", 10_000)),
            request: Some(Request { http: Some(http), ..Request::default() }),
            ..AttributeContext::default()
        }),
    };
    framed(&request)
}

fn peer(address: &str, port: u32) -> Peer {
    let socket = SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..SocketAddress::default()
    };
    Peer { address: Some(Address { address: Some(AddressKind::SocketAddress(socket)) }), ..Peer::default() }
}

/// A gRPC frame: no compression, the length, the message.
pub fn framed(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("a small message"));
    message.encode(&mut frame).expect("room grows");
    frame.freeze()
}
