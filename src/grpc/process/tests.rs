//! Each way a filter can be set up, and what the meter and Envoy are told in it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::exchange::Exchange;
use super::pb;
use super::pb::processing_request::Request as Part;
use super::pb::processing_response::Response as Answer;
use crate::grpc::MeterSession;
use crate::proto::envoy::config::core::v3::{HeaderMap, HeaderValue};
use crate::telemetry::Metrics;

/// Writes down what it is told.
struct Notes(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl MeterSession for Notes {
    fn rewrite_request(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        body.starts_with(b"{").then(|| [body, b"+"].concat())
    }
    async fn started(&mut self) {
        self.0.lock().push("started".into());
    }
    fn response_headers(&mut self, status: u16, content_type: Option<&str>, content_encoding: Option<&str>) {
        self.0.lock().push(format!("{status} {content_type:?} {content_encoding:?}"));
    }
    fn response_body(&mut self, chunk: &[u8]) {
        self.0.lock().push(String::from_utf8_lossy(chunk).into_owned());
    }
    async fn finished(&mut self, complete: bool) {
        self.0.lock().push(format!("finished {complete}"));
    }
}

const NONE: i32 = 0;
const STREAMED: i32 = 1;
const BUFFERED: i32 = 2;
const DUPLEX: i32 = 4;

/// How a filter is set up: what `protocol_config` says of request and response bodies, and whether it only observes.
type Filter = (Option<(i32, i32)>, bool);

fn request_headers() -> Part {
    Part::RequestHeaders(pb::HttpHeaders::default())
}

fn response_headers(end_of_stream: bool) -> Part {
    let field =
        |key: &str, value: &[u8]| HeaderValue { key: key.into(), raw_value: value.into(), value: String::new() };
    let headers = vec![field(":status", b"200"), field("content-type", b"text/event-stream")];
    Part::ResponseHeaders(pb::HttpHeaders { headers: Some(HeaderMap { headers }), end_of_stream })
}

fn body(text: &'static str, end_of_stream: bool) -> pb::HttpBody {
    pb::HttpBody { body: text.into(), end_of_stream, ..Default::default() }
}

/// Runs an exchange to the end of its stream; what the meter was told, and what Envoy was answered.
async fn run(filter: Filter, parts: Vec<Part>) -> (Vec<String>, Vec<Answer>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let (config, observability_mode) = filter;
    let mut parts: Vec<_> = parts
        .into_iter()
        .map(|part| pb::ProcessingRequest { request: Some(part), observability_mode, ..Default::default() })
        .collect();
    parts[0].protocol_config = config.map(|(request_body_mode, response_body_mode)| pb::ProtocolConfiguration {
        request_body_mode,
        response_body_mode,
        ..Default::default()
    });
    let mut exchange = Exchange::new(&parts[0], Some(Box::new(Notes(notes.clone()))), Arc::new(Metrics::new()));
    let mut answers = Vec::new();
    for part in parts {
        answers.extend(exchange.part(part).await.and_then(|answer| answer.response));
    }
    exchange.broke_off().await;
    let told = notes.lock().clone();
    (told, answers)
}

const HEAD: &str = "200 Some(\"text/event-stream\") None";

#[tokio::test]
async fn the_meter_hears_of_a_response_once_and_is_settled_when_it_ends() {
    let whole = || {
        vec![
            request_headers(),
            response_headers(false),
            Part::ResponseBody(body("a", false)),
            Part::ResponseBody(body("", true)),
        ]
    };
    let all = vec!["started", HEAD, "a", "", "finished true"];
    let cut = || vec![request_headers(), response_headers(false), Part::ResponseBody(body("a", false))];
    let trailers =
        || vec![request_headers(), response_headers(false), Part::ResponseTrailers(pb::HttpTrailers::default())];
    let observing: [Filter; 2] = [(None, true), (Some((NONE, STREAMED)), true)];
    let answering: [Filter; 3] = [(None, false), (Some((BUFFERED, STREAMED)), false), (Some((NONE, DUPLEX)), false)];
    for filter in observing.into_iter().chain(answering) {
        let (told, answers) = run(filter, whole()).await;
        assert_eq!(told, all, "{filter:?}");
        assert_eq!(answers.len(), if filter.1 { 0 } else { 4 }, "{filter:?}");
        assert_eq!(run(filter, cut()).await.0, ["started", HEAD, "a", "finished false"], "{filter:?}");
        assert_eq!(run(filter, trailers()).await.0, ["started", HEAD, "finished true"], "{filter:?}");
        let empty = vec![request_headers(), response_headers(true)];
        assert_eq!(run(filter, empty).await.0, ["started", HEAD, "finished true"], "{filter:?}");
    }
}

#[tokio::test]
async fn an_exchange_that_ends_before_its_response_is_broken_off_where_it_was_started() {
    assert_eq!(run((None, true), vec![request_headers()]).await.0, ["started", "finished false"]);
    assert_eq!(run((Some((NONE, STREAMED)), false), vec![request_headers()]).await.0, ["started", "finished false"]);
    // Whether this filter would have seen the response is not known: the hold runs out by itself.
    assert_eq!(run((None, false), vec![request_headers()]).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_filter_for_requests_rewrites_the_body_and_leaves_the_hold_alone() {
    for filter in [(Some((BUFFERED, NONE)), false), (None, false)] {
        let (told, answers) = run(filter, vec![request_headers(), Part::RequestBody(body("{}", true))]).await;
        assert_eq!(told, Vec::<String>::new(), "{filter:?}");
        let Answer::RequestBody(answer) = &answers[1] else { panic!("{answers:?}") };
        let common = answer.response.as_ref().unwrap();
        assert_eq!(common.header_mutation.as_ref().unwrap().remove_headers, ["content-length"]);
        let Some(pb::body_mutation::Mutation::Body(new)) = &common.body_mutation.as_ref().unwrap().mutation else {
            panic!("{common:?}")
        };
        assert_eq!(&new[..], b"{}+");
    }
    let with_headers = vec![request_headers(), Part::RequestBody(body("{}", true)), response_headers(false)];
    assert_eq!(run((Some((BUFFERED, NONE)), false), with_headers).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_body_that_comes_in_pieces_or_needs_no_change_passes_as_it_is() {
    let pieces = || vec![Part::RequestBody(body("{", false)), Part::RequestBody(body("{}", true))];
    for (filter, parts) in [
        ((Some((STREAMED, NONE)), false), pieces()),
        ((None, false), pieces()),
        ((Some((BUFFERED, NONE)), false), vec![Part::RequestBody(body("plain", true))]),
    ] {
        for answer in run(filter, parts).await.1 {
            let Answer::RequestBody(answer) = answer else { panic!("{answer:?}") };
            assert_eq!(answer.response, Some(pb::CommonResponse::default()), "{filter:?}");
        }
    }
}

#[tokio::test]
async fn every_part_is_answered_by_its_own_kind_and_full_duplex_bodies_are_sent_back() {
    let parts = vec![
        request_headers(),
        Part::RequestBody(body("q", true)),
        Part::RequestTrailers(pb::HttpTrailers::default()),
        response_headers(false),
        Part::ResponseBody(body("r", true)),
        Part::ResponseTrailers(pb::HttpTrailers::default()),
    ];
    let (told, answers) = run((Some((DUPLEX, DUPLEX)), false), parts).await;
    assert_eq!(told, ["started", HEAD, "r", "finished true"]);
    let echoed = |answer: &pb::BodyResponse| {
        let mutation = answer.response.clone()?.body_mutation?.mutation?;
        let pb::body_mutation::Mutation::StreamedResponse(echo) = mutation else { return None };
        Some((echo.body, echo.end_of_stream))
    };
    match &answers[..] {
        [
            Answer::RequestHeaders(_),
            Answer::RequestBody(request),
            Answer::RequestTrailers(_),
            Answer::ResponseHeaders(_),
            Answer::ResponseBody(response),
            Answer::ResponseTrailers(_),
        ] => {
            assert_eq!(echoed(request), Some(("q".into(), true)));
            assert_eq!(echoed(response), Some(("r".into(), true)));
        }
        other => panic!("{other:?}"),
    }
}
