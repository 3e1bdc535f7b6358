//! Our statement of the messages against the public one: what we encode they decode and encode to the same bytes, and the
//! other way round, every field of ours set.

use std::collections::BTreeMap;

use envoy_types::pb as theirs;
use prost::Message;
use prost_types::value::Kind;
use prost_types::{Any, Duration, Struct, Timestamp, Value};

use super::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, HeaderValueOption, Metadata, Pipe, QueryParameter, SocketAddress, address,
    socket_address,
};
use super::envoy::extensions::filters::http::ext_proc::v3::ProcessingMode;
use super::envoy::service::auth::v3 as auth;
use super::envoy::service::ext_proc::v3 as proc;
use super::envoy::r#type::v3::{HttpStatus, StatusCode};
use super::google::rpc::Status;

/// Ours to theirs and back, by value: nothing is lost, nothing is unknown to the other side.
fn same<Ours, Theirs>(ours: &Ours)
where
    Ours: Message + Default + PartialEq,
    Theirs: Message + Default,
{
    let bytes = ours.encode_to_vec();
    let theirs = Theirs::decode(&bytes[..]).expect("theirs decodes ours");
    // A field they do not know would be dropped here.
    let back = theirs.encode_to_vec();
    assert_eq!(back.len(), bytes.len());
    assert!(Ours::decode(&back[..]).expect("ours decodes theirs") == *ours);
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

fn structure() -> Struct {
    Struct { fields: BTreeMap::from([("field".into(), text("value"))]) }
}

fn metadata() -> Option<Metadata> {
    Some(Metadata { filter_metadata: [("namespace".into(), structure())].into() })
}

fn headers() -> Option<HeaderMap> {
    let field = |key: &str, value: &str, raw: &[u8]| HeaderValue {
        key: key.into(),
        value: value.into(),
        raw_value: raw.to_vec(),
    };
    Some(HeaderMap { headers: vec![field("a", "b", b""), field("c", "", b"\xff")] })
}

fn option() -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: "k".into(), value: "v".into(), raw_value: vec![1] }),
        append: Some(true),
        append_action: 3,
        keep_empty_value: true,
    }
}

fn peer(address: address::Address) -> Option<auth::attribute_context::Peer> {
    Some(auth::attribute_context::Peer {
        address: Some(Address { address: Some(address) }),
        service: "service".into(),
        labels: [("l".into(), "v".into())].into(),
        principal: "spiffe://p".into(),
        certificate: "pem".into(),
    })
}

#[test]
fn check_requests_are_the_public_ones() {
    let socket = SocketAddress {
        protocol: socket_address::Protocol::Udp.into(),
        address: "10.0.0.1".into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(1)),
    };
    let named = socket_address::PortSpecifier::NamedPort("http".into());
    let http = auth::attribute_context::HttpRequest {
        id: "1".into(),
        method: "POST".into(),
        headers: [("a".into(), "b".into())].into(),
        path: "/v1".into(),
        host: "h".into(),
        scheme: "https".into(),
        query: "q".into(),
        fragment: "f".into(),
        size: 9,
        protocol: "HTTP/2".into(),
        body: "body".into(),
        raw_body: vec![0xff],
        header_map: headers(),
    };
    let request = |source, destination| auth::CheckRequest {
        attributes: Some(auth::AttributeContext {
            source: peer(source),
            destination: peer(destination),
            request: Some(auth::attribute_context::Request {
                time: Some(Timestamp { seconds: 1, nanos: 2 }),
                http: Some(http.clone()),
            }),
            context_extensions: [("tollward_provider".into(), "openai".into())].into(),
            metadata_context: metadata(),
            tls_session: Some(auth::attribute_context::TlsSession { sni: "sni".into() }),
            route_metadata_context: metadata(),
        }),
    };
    let pipe = Pipe { path: "/run/x".into(), mode: 7 };
    let with_name = SocketAddress { port_specifier: Some(named), ..socket.clone() };
    same::<_, theirs::envoy::service::auth::v3::CheckRequest>(&request(
        address::Address::SocketAddress(socket),
        address::Address::Pipe(pipe.clone()),
    ));
    same::<_, theirs::envoy::service::auth::v3::CheckRequest>(&request(
        address::Address::Pipe(pipe),
        address::Address::SocketAddress(with_name),
    ));
}

#[test]
fn check_responses_are_the_public_ones() {
    use auth::check_response::HttpResponse;
    let denied = || auth::DeniedHttpResponse {
        status: Some(HttpStatus { code: StatusCode::TooManyRequests.into() }),
        headers: vec![option()],
        body: "body".into(),
    };
    let ok = auth::OkHttpResponse {
        headers: vec![option()],
        headers_to_remove: vec!["x".into()],
        response_headers_to_add: vec![option()],
        query_parameters_to_set: vec![QueryParameter { key: "k".into(), value: "v".into() }],
        query_parameters_to_remove: vec!["key".into()],
    };
    for response in
        [HttpResponse::DeniedResponse(denied()), HttpResponse::OkResponse(ok), HttpResponse::ErrorResponse(denied())]
    {
        same::<_, theirs::envoy::service::auth::v3::CheckResponse>(&auth::CheckResponse {
            status: Some(Status {
                code: 7,
                message: "m".into(),
                details: vec![Any { type_url: "t".into(), value: vec![1] }],
            }),
            dynamic_metadata: Some(structure()),
            http_response: Some(response),
        });
    }
}

#[test]
fn processing_messages_are_the_public_ones() {
    use proc::processing_request::Request as Part;
    use proc::processing_response::Response as Answer;
    let fields = || proc::HttpHeaders { headers: headers(), end_of_stream: true };
    let body = || proc::HttpBody {
        body: vec![1, 2].into(),
        end_of_stream: true,
        end_of_stream_without_message: true,
        grpc_message_compressed: true,
    };
    let trailers = || proc::HttpTrailers { trailers: headers() };
    for part in [
        Part::RequestHeaders(fields()),
        Part::ResponseHeaders(fields()),
        Part::RequestBody(body()),
        Part::ResponseBody(body()),
        Part::RequestTrailers(trailers()),
        Part::ResponseTrailers(trailers()),
    ] {
        same::<_, theirs::envoy::service::ext_proc::v3::ProcessingRequest>(&proc::ProcessingRequest {
            metadata_context: metadata(),
            attributes: [("envoy.filters.http.ext_proc".into(), structure())].into(),
            observability_mode: true,
            protocol_config: Some(proc::ProtocolConfiguration {
                request_body_mode: 2,
                response_body_mode: 4,
                send_body_without_waiting_for_header_response: true,
            }),
            request: Some(part),
        });
    }

    let streamed = || proc::StreamedBodyResponse {
        body: vec![3].into(),
        end_of_stream: true,
        end_of_stream_without_message: true,
        grpc_message_compressed: true,
    };
    let mutation =
        || Some(proc::HeaderMutation { set_headers: vec![option()], remove_headers: vec!["content-length".into()] });
    let common = |body| {
        Some(proc::CommonResponse {
            status: 1,
            header_mutation: mutation(),
            body_mutation: Some(proc::BodyMutation { mutation: Some(body) }),
            trailers: headers(),
            clear_route_cache: true,
        })
    };
    use proc::body_mutation::Mutation;
    use proc::streamed_immediate_response::Response as Streamed;
    let immediate = proc::ImmediateResponse {
        status: Some(HttpStatus { code: 503 }),
        headers: mutation(),
        body: b"b".to_vec(),
        grpc_status: Some(proc::GrpcStatus { status: 14 }),
        details: "d".into(),
    };
    let parts = |response| proc::StreamedImmediateResponse { response: Some(response) };
    for answer in [
        Answer::RequestHeaders(proc::HeadersResponse { response: common(Mutation::Body(vec![1].into())) }),
        Answer::ResponseHeaders(proc::HeadersResponse { response: common(Mutation::ClearBody(true)) }),
        Answer::RequestBody(proc::BodyResponse { response: common(Mutation::StreamedResponse(streamed())) }),
        Answer::ResponseBody(proc::BodyResponse { response: common(Mutation::Body(vec![1].into())) }),
        Answer::RequestTrailers(proc::TrailersResponse { header_mutation: mutation() }),
        Answer::ResponseTrailers(proc::TrailersResponse { header_mutation: mutation() }),
        Answer::ImmediateResponse(immediate),
        Answer::StreamedImmediateResponse(parts(Streamed::HeadersResponse(fields()))),
        Answer::StreamedImmediateResponse(parts(Streamed::BodyResponse(streamed()))),
        Answer::StreamedImmediateResponse(parts(Streamed::TrailersResponse(headers().unwrap()))),
    ] {
        same::<_, theirs::envoy::service::ext_proc::v3::ProcessingResponse>(&proc::ProcessingResponse {
            dynamic_metadata: Some(structure()),
            mode_override: Some(ProcessingMode {
                request_header_mode: 1,
                response_header_mode: 2,
                request_body_mode: 3,
                response_body_mode: 4,
                request_trailer_mode: 1,
                response_trailer_mode: 2,
            }),
            override_message_timeout: Some(Duration { seconds: 1, nanos: 5 }),
            response: Some(answer),
        });
    }
}
