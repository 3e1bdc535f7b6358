//! Envoy's own messages, sent by hand: what a gateway, or someone who poses as one, can say to the gRPC port.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest};
use envoy_types::pb::google::protobuf::Struct;
pub use envoy_types::pb::google::protobuf::value::Kind;
use tonic::transport::Channel;

/// The namespace of what Check returned.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";

pub async fn channel(port: u16) -> Channel {
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{port}")).expect("an address");
    endpoint.connect().await.expect("the gRPC port answers")
}

/// A POST as Envoy describes it with `encode_raw_headers` and `pack_as_bytes`.
pub fn check_request(path: &str, headers: &[(&str, &str)], body: &str) -> CheckRequest {
    let mut list: Vec<HeaderValue> =
        [(":method", "POST"), (":path", path), (":authority", "model.example"), (":scheme", "http")]
            .iter()
            .chain(headers)
            .map(|(name, value)| HeaderValue {
                key: (*name).to_owned(),
                raw_value: value.as_bytes().to_vec(),
                ..HeaderValue::default()
            })
            .collect();
    list.push(HeaderValue {
        key: "x-envoy-auth-partial-body".to_owned(),
        raw_value: b"false".to_vec(),
        ..HeaderValue::default()
    });
    wrap(HttpRequest {
        header_map: Some(HeaderMap { headers: list }),
        raw_body: body.as_bytes().to_vec(),
        ..http(path)
    })
}

/// The same as an Envoy without those options (Istio's) describes it.
pub fn plain_check_request(path: &str, headers: &[(&str, &str)], body: &str) -> CheckRequest {
    let list = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    wrap(HttpRequest { headers: list, body: body.to_owned(), ..http(path) })
}

fn http(path: &str) -> HttpRequest {
    HttpRequest {
        id: "1".to_owned(),
        method: "POST".to_owned(),
        path: path.to_owned(),
        host: "model.example".to_owned(),
        scheme: "http".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        ..HttpRequest::default()
    }
}

fn wrap(http: HttpRequest) -> CheckRequest {
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http), ..Request::default() }),
            ..AttributeContext::default()
        }),
    }
}

pub async fn check(port: u16, request: CheckRequest) -> CheckResponse {
    let mut client = AuthorizationClient::new(channel(port).await);
    client.check(request).await.expect("Check answers").into_inner()
}

/// The answer of an allowed request.
#[track_caller]
pub fn allowed(response: &CheckResponse) -> &OkHttpResponse {
    match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("allowed: {other:?}"),
    }
}

/// The status of a denied request.
#[track_caller]
pub fn denied(response: &CheckResponse) -> i32 {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied.status.as_ref().map_or(0, |status| status.code),
        other => panic!("denied: {other:?}"),
    }
}

/// What the meter sees of one request: its head, the answer's head, the answer's body in one piece.
pub async fn meter(port: u16, metadata: Struct, answer: &str) {
    let context =
        Metadata { filter_metadata: HashMap::from([(NAMESPACE.to_owned(), metadata)]), ..Metadata::default() };
    let message = |request| ProcessingRequest {
        observability_mode: true,
        metadata_context: Some(context.clone()),
        request: Some(request),
        ..ProcessingRequest::default()
    };
    let head = |pairs: &[(&str, &str)]| HttpHeaders {
        headers: Some(HeaderMap {
            headers: pairs
                .iter()
                .map(|(name, value)| HeaderValue {
                    key: (*name).to_owned(),
                    raw_value: value.as_bytes().to_vec(),
                    ..HeaderValue::default()
                })
                .collect(),
        }),
        ..HttpHeaders::default()
    };
    let request = head(&[(":method", "POST"), (":path", "/v1/chat/completions"), (":authority", "model.example")]);
    let response = head(&[(":status", "200"), ("content-type", "application/json")]);
    let body = HttpBody { body: answer.as_bytes().to_vec(), end_of_stream: true, ..HttpBody::default() };
    let messages = vec![
        message(processing_request::Request::RequestHeaders(request)),
        message(processing_request::Request::ResponseHeaders(response)),
        message(processing_request::Request::ResponseBody(body)),
    ];
    let mut client = ExternalProcessorClient::new(channel(port).await);
    // A refusal is an answer too; what counts is what was booked.
    if let Ok(stream) = client.process(tokio_stream::iter(messages)).await {
        let mut stream = stream.into_inner();
        while let Ok(Some(_)) = stream.message().await {}
    }
}

/// Changes every text in it, one character each: the token among them is no longer what was signed.
pub fn forge(metadata: &Struct, place: usize) -> Struct {
    let mut forged = metadata.clone();
    for value in forged.fields.values_mut() {
        if let Some(Kind::StringValue(text)) = &mut value.kind {
            let place = place % text.len().max(1);
            let mut bytes = text.clone().into_bytes();
            if let Some(byte) = bytes.get_mut(place) {
                *byte = if *byte == b'A' { b'B' } else { b'A' };
            }
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    forged
}
