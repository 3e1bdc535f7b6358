//! The answers to the parts of an exchange: carry on, with or without a new body.

use super::pb;
use super::pb::processing_response::Response as Kind;
use crate::proto::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;

fn answer(response: Kind) -> pb::ProcessingResponse {
    pb::ProcessingResponse { response: Some(response), ..Default::default() }
}

/// A `CommonResponse` whose every field says: carry on.
fn carry_on() -> Option<pb::CommonResponse> {
    Some(pb::CommonResponse::default())
}

pub fn request_headers() -> pb::ProcessingResponse {
    answer(Kind::RequestHeaders(pb::HeadersResponse { response: carry_on() }))
}

pub fn response_headers() -> pb::ProcessingResponse {
    answer(Kind::ResponseHeaders(pb::HeadersResponse { response: carry_on() }))
}

pub fn request_trailers() -> pb::ProcessingResponse {
    answer(Kind::RequestTrailers(pb::TrailersResponse::default()))
}

pub fn response_trailers() -> pb::ProcessingResponse {
    answer(Kind::ResponseTrailers(pb::TrailersResponse::default()))
}

pub fn request_body(common: pb::CommonResponse) -> pb::ProcessingResponse {
    answer(Kind::RequestBody(pb::BodyResponse { response: Some(common) }))
}

pub fn response_body(common: pb::CommonResponse) -> pb::ProcessingResponse {
    answer(Kind::ResponseBody(pb::BodyResponse { response: Some(common) }))
}

/// A new body for the request. Envoy finds its length by itself once `content-length` is gone.
pub fn replaced_request_body(body: Vec<u8>) -> pb::ProcessingResponse {
    request_body(pb::CommonResponse {
        header_mutation: Some(pb::HeaderMutation {
            set_headers: Vec::new(),
            remove_headers: vec!["content-length".to_owned()],
        }),
        body_mutation: Some(pb::BodyMutation { mutation: Some(pb::body_mutation::Mutation::Body(body.into())) }),
        ..Default::default()
    })
}

/// What a part of a body is answered: nothing to change, except that the full-duplex modes drop what is not sent back.
pub fn body_part(mode: BodySendMode, body: pb::HttpBody) -> pb::CommonResponse {
    let body_mutation = matches!(mode, BodySendMode::FullDuplexStreamed | BodySendMode::Grpc).then(|| {
        let echo = pb::StreamedBodyResponse {
            body: body.body,
            end_of_stream: body.end_of_stream,
            end_of_stream_without_message: body.end_of_stream_without_message,
            grpc_message_compressed: body.grpc_message_compressed,
        };
        pb::BodyMutation { mutation: Some(pb::body_mutation::Mutation::StreamedResponse(echo)) }
    });
    pb::CommonResponse { body_mutation, ..Default::default() }
}
