//! Every fixture of every format: read whole, cut at every position, and cut at random, it gives the same.

use std::io::Write;

use proptest::prelude::*;

use self::fixtures::{FRAMES, Fixture, JSON, SSE, fixtures, frame, usage};
use super::*;

mod fixtures;

fn read(fixture: &Fixture, encoding: Option<&str>, chunks: &[&[u8]]) -> Metered {
    let mut meter = Meter::new(fixture.api, MeterLimits::default());
    meter.headers(200, Some(fixture.content_type), encoding);
    for chunk in chunks {
        meter.body(chunk);
        let _ = meter.progress();
    }
    meter.finish(End::Complete)
}

fn cut<'a>(body: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    cuts.sort_unstable();
    let mut from = 0;
    let mut chunks = Vec::new();
    for cut in cuts.into_iter().chain([body.len()]) {
        chunks.push(&body[from..cut]);
        from = cut;
    }
    chunks
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::bulk::compress(body, 3).unwrap(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_format_tells_its_usage_wherever_it_is_cut() {
    for fixture in fixtures() {
        let body = &fixture.body;
        assert_eq!(read(&fixture, None, &[body]), fixture.expected, "{}", fixture.name);
        for at in 0..=body.len() {
            let (head, tail) = body.split_at(at);
            assert_eq!(read(&fixture, None, &[head, tail]), fixture.expected, "{} cut at {at}", fixture.name);
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(read(&fixture, None, &bytes), fixture.expected, "{} byte by byte", fixture.name);
    }
}

#[test]
fn every_format_tells_its_usage_through_every_coding_wherever_it_is_cut() {
    for fixture in fixtures() {
        for coding in ["gzip", "deflate", "zstd"] {
            let body = coded(coding, &fixture.body);
            for at in 0..=body.len() {
                let (head, tail) = body.split_at(at);
                let metered = read(&fixture, Some(coding), &[head, tail]);
                assert_eq!(metered, fixture.expected, "{} in {coding} cut at {at}", fixture.name);
            }
        }
    }
}

proptest! {
    #[test]
    fn cuts_at_random_change_nothing(which: prop::sample::Index, cuts: Vec<prop::sample::Index>) {
        let fixtures = fixtures();
        let fixture = which.get(&fixtures);
        prop_assert_eq!(read(fixture, None, &cut(&fixture.body, &cuts)), fixture.expected.clone());
    }
}

fn meter(api: Api, status: u16, content_type: &str, body: &[u8], end: End) -> Metered {
    let mut meter = Meter::new(api, MeterLimits::default());
    meter.headers(status, Some(content_type), None);
    meter.body(body);
    meter.finish(end)
}

#[test]
fn text_that_looks_like_usage_changes_nothing() {
    let text = r#"\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\ndata: {\"usage\":{\"prompt_tokens\":0}}"#;
    let chat = format!(
        r#"{{"choices":[{{"message":{{"content":"{text}","usage":{{"prompt_tokens":0}}}}}}],"usage":{{"prompt_tokens":7,"completion_tokens":8}}}}"#
    );
    assert_eq!(meter(Api::OpenAiChat, 200, JSON, chat.as_bytes(), End::Complete).usage, Some(usage(7, 8)));
    let stream = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\ndata: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":8}}}}\n\n"
    );
    assert_eq!(meter(Api::OpenAiChat, 200, SSE, stream.as_bytes(), End::Complete).usage, Some(usage(7, 8)));
    let tool = r#"{"content":[{"type":"tool_use","input":{"usage":{"output_tokens":0},"content":[{"usage":{}}]}}],"usage":{"input_tokens":7,"output_tokens":8}}"#;
    assert_eq!(meter(Api::AnthropicMessages, 200, JSON, tool.as_bytes(), End::Complete).usage, Some(usage(7, 8)));
    let key = r#"{"message.usage":{"output_tokens":1},"us\u0061ge":{"output_tokens":1},"usage":{"input_tokens":7,"output_tokens":8}}"#;
    assert_eq!(meter(Api::AnthropicMessages, 200, JSON, key.as_bytes(), End::Complete).usage, Some(usage(7, 8)));
    let spoken = b"data: {\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}\n\n";
    assert_eq!(meter(Api::OpenAiTranscription, 200, "text/plain", spoken, End::Complete).usage, None);
}

#[test]
fn a_stream_that_breaks_off_is_estimated_by_its_text() {
    let chat = b"data: {\"choices\":[{\"delta\":{\"content\":\"123456789\"}}]}\n\ndata: {\"choi";
    let metered = meter(Api::OpenAiChat, 200, SSE, chat, End::Aborted);
    assert_eq!((metered.usage, metered.complete, metered.failed), (None, false, false));
    assert_eq!((metered.seen.output_tokens, metered.seen.output_bytes), (3, 9));
    // Anthropic told its input and one token of output before.
    let text = "x".repeat(400);
    let messages = format!(
        "data: {{\"message\":{{\"usage\":{{\"input_tokens\":9,\"output_tokens\":1}}}}}}\n\ndata: {{\"delta\":{{\"text\":\"{text}"
    );
    let metered = meter(Api::AnthropicMessages, 200, SSE, messages.as_bytes(), End::Aborted);
    assert_eq!((metered.usage, metered.complete), (Some(usage(9, 100)), false));
}

#[test]
fn usage_of_every_chunk_is_final_only_with_the_last() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"12345678\"}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n";
    let metered = meter(Api::OpenAiChat, 200, SSE, body.as_bytes(), End::Aborted);
    assert_eq!((metered.usage, metered.complete), (Some(usage(5, 2)), false));
}

#[test]
fn an_error_without_usage_has_failed() {
    let error = br#"{"error":{"message":"overloaded","type":"server_error"}}"#;
    for (status, content_type, body) in
        [(500, JSON, &error[..]), (429, "text/html", b"<html>slow down"), (200, JSON, error)]
    {
        let metered = meter(Api::OpenAiChat, status, content_type, body, End::Complete);
        assert!(metered.failed && metered.usage.is_none(), "{status}");
        assert_eq!(metered.seen.output_tokens, 0);
    }
    let used = br#"{"error":{},"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
    let metered = meter(Api::OpenAiChat, 500, JSON, used, End::Complete);
    assert_eq!((metered.usage, metered.failed), (Some(usage(5, 6)), false));
}

#[test]
fn what_cannot_be_decoded_is_estimated_by_its_bytes() {
    let mut meter = Meter::new(Api::OpenAiChat, MeterLimits::default());
    meter.headers(200, Some(JSON), Some("gzip"));
    meter.body(&[7; 40]);
    let metered = meter.finish(End::Complete);
    assert_eq!((metered.seen.output_tokens, metered.complete, metered.usage), (10, false, None));
}

#[test]
fn a_frame_with_a_wrong_check_ends_the_reading() {
    let mut bad = frame("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#);
    let at = bad.len() - 20;
    bad[at] ^= 1;
    bad.extend(frame("metadata", r#"{"usage":{"inputTokens":1,"outputTokens":2}}"#));
    assert_eq!(meter(Api::BedrockConverse, 200, FRAMES, &bad, End::Complete).usage, None);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(
        api in 0_usize..7, kind in 0_usize..4, coding in 0_usize..5, chunks: Vec<Vec<u8>>, text in "[\\[\\]{}\",:a-z0-9 \\\\]{0,200}",
    ) {
        let api = [Api::OpenAiChat, Api::OpenAiImages, Api::AnthropicMessages, Api::GeminiGenerate, Api::BedrockConverse, Api::BedrockInvoke, Api::OpenAiTranscription][api];
        let kind = [JSON, SSE, FRAMES, "audio/mpeg"][kind];
        let coding = [None, Some("gzip"), Some("deflate"), Some("br"), Some("zstd")][coding];
        let mut meter = Meter::new(api, MeterLimits { max_decoded_bytes: 10_000 });
        meter.headers(200, Some(kind), coding);
        meter.body(text.as_bytes());
        for chunk in &chunks {
            meter.body(chunk);
        }
        let _ = meter.finish(End::Aborted);
    }
}
