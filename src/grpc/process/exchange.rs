//! One exchange as one filter sees it: which parts belong to the meter, and what each part is answered.

use std::sync::Arc;

use super::answer;
use super::pb;
use super::pb::processing_request::Request as Part;
use crate::grpc::MeterSession;
use crate::proto::envoy::config::core::v3::HeaderMap;
use crate::proto::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
use crate::telemetry::Metrics;

/// Whether this stream meters the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It has not started the hold, and may have to.
    MayMeter,
    /// It sees the response: it has started the hold and will settle it.
    Meters,
    /// The hold is settled, or there is nothing to meter.
    Done,
}

/// The state of one stream.
pub struct Exchange {
    session: Option<Box<dyn MeterSession>>,
    role: Role,
    answers: bool,
    request_mode: BodySendMode,
    response_mode: BodySendMode,
    /// The whole request body comes in one part.
    buffers_request: bool,
    /// The filter is known to see the response: the hold starts with the request's headers.
    sees_response: bool,
    /// `protocol_config` came; without it, what is sent shows what the filter is for.
    is_configured: bool,
    /// What the response's headers said, until it is clear that this stream meters.
    response: Option<ResponseHead>,
    metrics: Arc<Metrics>,
}

struct ResponseHead {
    status: u16,
    content_type: Option<String>,
    content_encoding: Option<String>,
}

impl Exchange {
    /// `session` is `None` where nothing is to be metered; parts are answered all the same.
    pub fn new(first: &pb::ProcessingRequest, session: Option<Box<dyn MeterSession>>, metrics: Arc<Metrics>) -> Self {
        let config = first.protocol_config.as_ref();
        let request_mode = config.map_or(BodySendMode::None, pb::ProtocolConfiguration::request_body_mode);
        let response_mode = config.map_or(BodySendMode::None, pb::ProtocolConfiguration::response_body_mode);
        Exchange {
            role: if session.is_none() { Role::Done } else { Role::MayMeter },
            answers: !first.observability_mode,
            request_mode,
            response_mode,
            buffers_request: config.is_none() || request_mode == BodySendMode::Buffered,
            sees_response: if config.is_some() {
                response_mode != BodySendMode::None
            } else {
                first.observability_mode
            },
            is_configured: config.is_some(),
            response: None,
            session,
            metrics,
        }
    }

    /// Handles one part; the answer, where one is waited for.
    pub async fn part(&mut self, part: pb::ProcessingRequest) -> Option<pb::ProcessingResponse> {
        let answer = match part.request? {
            Part::RequestHeaders(_) => {
                if self.sees_response {
                    self.start().await;
                }
                answer::request_headers()
            }
            Part::RequestBody(body) => self.request_body(body),
            Part::RequestTrailers(_) => answer::request_trailers(),
            Part::ResponseHeaders(headers) => {
                self.response_headers(&headers).await;
                answer::response_headers()
            }
            Part::ResponseBody(body) => self.response_body(body).await,
            Part::ResponseTrailers(_) => {
                self.finish(true).await;
                answer::response_trailers()
            }
        };
        self.answers.then_some(answer)
    }

    /// The stream ended: settles, as incomplete, what was not settled.
    pub async fn broke_off(mut self) {
        self.finish(false).await;
    }

    fn request_body(&mut self, body: pb::HttpBody) -> pb::ProcessingResponse {
        // Only the first part can be the whole body; a later one is the end of a streamed one.
        let whole = std::mem::take(&mut self.buffers_request) && body.end_of_stream;
        let rewritten = match &mut self.session {
            Some(session) if whole && self.answers => session.rewrite_request(&body.body),
            _ => None,
        };
        match rewritten {
            Some(new) => {
                self.metrics.meter.rewritten.inc();
                answer::replaced_request_body(new)
            }
            None => answer::request_body(answer::body_part(self.request_mode, body)),
        }
    }

    async fn response_headers(&mut self, message: &pb::HttpHeaders) {
        let headers = message.headers.as_ref();
        self.response = Some(ResponseHead {
            status: header(headers, ":status").and_then(|status| status.parse().ok()).unwrap_or_default(),
            content_type: header(headers, "content-type").map(str::to_owned),
            content_encoding: header(headers, "content-encoding").map(str::to_owned),
        });
        // A filter that is configured without response bodies is not the meter, unless a body comes all the same.
        if self.sees_response || !self.is_configured {
            self.start().await;
            self.tell_head();
            if message.end_of_stream {
                self.finish(true).await;
            }
        }
    }

    async fn response_body(&mut self, body: pb::HttpBody) -> pb::ProcessingResponse {
        self.start().await;
        self.tell_head();
        if let (Role::Meters, Some(session)) = (self.role, &mut self.session) {
            session.response_body(&body.body);
        }
        if body.end_of_stream || body.end_of_stream_without_message {
            self.finish(true).await;
        }
        answer::response_body(answer::body_part(self.response_mode, body))
    }

    fn tell_head(&mut self) {
        if self.role == Role::Meters
            && let (Some(session), Some(head)) = (&mut self.session, self.response.take())
        {
            session.response_headers(head.status, head.content_type.as_deref(), head.content_encoding.as_deref());
        }
    }

    async fn start(&mut self) {
        if self.role == Role::MayMeter
            && let Some(session) = &mut self.session
        {
            self.role = Role::Meters;
            session.started().await;
        }
    }

    async fn finish(&mut self, complete: bool) {
        if self.role == Role::Meters
            && let Some(session) = &mut self.session
        {
            // Before the wait: whatever becomes of it, a hold is settled once.
            self.role = Role::Done;
            session.finished(complete).await;
            if complete { &self.metrics.meter.complete } else { &self.metrics.meter.broken_off }.inc();
        }
    }
}

/// The first field of this name, where it is UTF-8.
fn header<'m>(headers: Option<&'m HeaderMap>, name: &str) -> Option<&'m str> {
    let field = headers?.headers.iter().find(|field| field.key.eq_ignore_ascii_case(name))?;
    if field.raw_value.is_empty() { Some(&field.value) } else { std::str::from_utf8(&field.raw_value).ok() }
}
