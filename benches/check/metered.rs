//! The second half of a call: Envoy shows the response to the meter, as `deploy/envoy/envoy.yaml` has it do, and the hold
//! that Check opened is settled.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request as Part;
use envoy_types::pb::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders, ProcessingRequest};
use h2::client::SendRequest;
use http::Request;
use prost::Message;

use super::request::framed;

const NAMESPACE: &str = "envoy.filters.http.ext_authz";

/// A streamed answer as it passes, piece by piece; the last but one says what was used.
const PIECES: [&str; 6] = [
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"What one pays\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" to pass.\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":{\"prompt_tokens\":24,\"completion_tokens\":6,\"total_tokens\":30}}\n\n",
    "data: [DONE]\n\n",
];

/// Shows the exchange to the meter and waits until it is settled.
pub async fn settle(sender: SendRequest<Bytes>, port: u16, answer: &[u8]) {
    let answer = CheckResponse::decode(answer).expect("a CheckResponse");
    let filter_metadata = HashMap::from([(NAMESPACE.to_owned(), answer.dynamic_metadata.expect("a hold"))]);
    let first = ProcessingRequest {
        metadata_context: Some(Metadata { filter_metadata, ..Metadata::default() }),
        ..part(Part::RequestHeaders(headers(&[(":method", "POST"), (":path", "/v1/chat/completions")])))
    };
    let mut sent = vec![framed(&first)];
    let response = headers(&[(":status", "200"), ("content-type", "text/event-stream")]);
    sent.push(framed(&part(Part::ResponseHeaders(response))));
    for (index, piece) in PIECES.iter().enumerate() {
        let body = HttpBody { body: (*piece).into(), end_of_stream: index + 1 == PIECES.len(), ..HttpBody::default() };
        sent.push(framed(&part(Part::ResponseBody(body))));
    }
    let mut sender = sender.ready().await.expect("a stream");
    let head = Request::post(format!("http://127.0.0.1:{port}/envoy.service.ext_proc.v3.ExternalProcessor/Process"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let (response, mut stream) = sender.send_request(head, false).expect("a stream");
    let last = sent.len() - 1;
    for (index, frame) in sent.into_iter().enumerate() {
        stream.send_data(frame, index == last).expect("room in the window");
    }
    let mut body = response.await.expect("an answer").into_body();
    let mut said = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("the answer's body");
        let _ = body.flow_control().release_capacity(chunk.len());
        said.extend_from_slice(&chunk);
    }
    assert!(said.is_empty(), "nobody who observes is answered");
    let trailers = body.trailers().await.expect("trailers").unwrap_or_default();
    assert!(trailers.get("grpc-status").is_none_or(|status| status == "0"), "{trailers:?}");
}

fn part(part: Part) -> ProcessingRequest {
    ProcessingRequest { request: Some(part), observability_mode: true, ..ProcessingRequest::default() }
}

fn headers(fields: &[(&str, &str)]) -> HttpHeaders {
    let headers = fields.iter().map(|(key, value)| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    });
    HttpHeaders { headers: Some(HeaderMap { headers: headers.collect() }), ..HttpHeaders::default() }
}
