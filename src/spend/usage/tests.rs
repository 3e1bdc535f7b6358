//! Every fixture of every format: read whole, cut at every position, and cut at random, it gives the same.

use std::io::Write;

use base64::Engine;
use proptest::prelude::*;

use super::*;

/// One response and what it used.
struct Fixture {
    name: &'static str,
    api: Api,
    content_type: &'static str,
    body: Vec<u8>,
    expected: Metered,
}

fn usage(input: u64, output: u64) -> Usage {
    Usage { input_tokens: input, output_tokens: output, ..Usage::default() }
}

fn fixture(
    name: &'static str,
    api: Api,
    content_type: &'static str,
    body: impl Into<Vec<u8>>,
    usage: Usage,
) -> Fixture {
    let seen = Seen { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens, ..Seen::default() };
    let expected = Metered { usage: Some(usage), seen, status: 200, model: None, failed: false, complete: true };
    Fixture { name, api, content_type, body: body.into(), expected }
}

impl Fixture {
    fn model(mut self, model: &str) -> Fixture {
        self.expected.model = Some(model.to_owned());
        self
    }

    fn text(mut self, bytes: u64) -> Fixture {
        self.expected.seen.output_bytes = bytes;
        self
    }

    fn images(mut self, images: u64) -> Fixture {
        self.expected.seen.output_images = images;
        self
    }
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";
const FRAMES: &str = "application/vnd.amazon.eventstream";

fn frame(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event), (":content-type", JSON), (":message-type", "event")] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(&headers);
    frame.extend_from_slice(payload.as_bytes());
    let check = crc32fast::hash(&frame);
    frame.extend_from_slice(&check.to_be_bytes());
    frame
}

fn chunk(payload: &str) -> Vec<u8> {
    frame("chunk", &format!(r#"{{"bytes":"{}","p":"abcd"}}"#, STANDARD.encode(payload)))
}

fn fixtures() -> Vec<Fixture> {
    let mut all = openai_fixtures();
    all.extend(media_fixtures());
    all.extend(anthropic_fixtures());
    all.extend(gemini_fixtures());
    all.extend(bedrock_fixtures());
    all
}

fn openai_fixtures() -> Vec<Fixture> {
    vec![
        fixture(
            "chat",
            Api::OpenAiChat,
            JSON,
            r#"{"id":"c1","object":"chat.completion","model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \"there\" \u00e9\n","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29,"prompt_tokens_details":{"cached_tokens":8,"audio_tokens":2},"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":1}},"service_tier":"default"}"#,
            Usage {
                cache_read_tokens: 8,
                input_audio_tokens: 2,
                reasoning_tokens: 4,
                output_audio_tokens: 1,
                service_tier: Some("default".into()),
                ..usage(20, 9)
            },
        )
        .model("gpt-4o-mini-2024-07-18")
        .text(15),
        fixture(
            "chat stream",
            Api::OpenAiChat,
            SSE,
            concat!(
                ": OPENROUTER PROCESSING\n\n",
                "data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
                "data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n",
                "data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}],\"usage\":null}\n\n",
                "data: {\"id\":\"c1\",\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7,\"total_tokens\":18}}\n\n",
                "data: [DONE]\n\n"
            ),
            usage(11, 7),
        )
        .model("gpt-4o")
        .text(8),
        fixture(
            "chat stream with CR, a BOM, split data lines and no end of line",
            Api::OpenAiChat,
            SSE,
            "\u{feff}event: x\rdata:{\"choices\":[],\rdata: \"usage\":{\"prompt_tokens\":3,\rdata\rdata:\"completion_tokens\":4}}",
            usage(3, 4),
        ),
        fixture(
            "reasoning told beside the completion",
            Api::OpenAiChat,
            JSON,
            r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":45,"completion_tokens_details":{"reasoning_tokens":30}}}"#,
            Usage { reasoning_tokens: 30, ..usage(10, 35) },
        ),
        fixture(
            "completions",
            Api::OpenAiCompletions,
            JSON,
            r#"{"model":"m","choices":[{"text":"abc"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            usage(1, 2),
        )
        .model("m")
        .text(3),
        fixture(
            "responses",
            Api::OpenAiResponses,
            JSON,
            r#"{"id":"r","model":"o4-mini","error":null,"output":[{"type":"web_search_call","id":"w"},{"type":"message","content":[{"type":"output_text","text":"four"}]}],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":6},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},"total_tokens":123}}"#,
            Usage { cache_read_tokens: 6, reasoning_tokens: 64, searches: 1, ..usage(36, 87) },
        )
        .model("o4-mini")
        .text(4),
        fixture(
            "responses stream",
            Api::OpenAiResponses,
            SSE,
            concat!(
                "event: response.created\r\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"o3\",\"usage\":null,\"output\":[]}}\r\n\r\n",
                "event: response.output_item.done\r\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"web_search_call\"}}\r\n\r\n",
                "event: response.output_text.delta\r\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"word\"}\r\n\r\n",
                "event: response.incomplete\r\ndata: {\"type\":\"response.incomplete\",\"response\":{\"model\":\"o3\",\"service_tier\":\"flex\",\"output\":[{\"type\":\"web_search_call\"},{\"type\":\"message\",\"content\":[{\"text\":\"word\"}]}],\"usage\":{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11}}}\r\n\r\n",
            ),
            Usage { searches: 1, service_tier: Some("flex".into()), ..usage(5, 6) },
        )
        .model("o3")
        .text(4),
        fixture(
            "embeddings",
            Api::OpenAiEmbeddings,
            JSON,
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.0023,-1e-3]}],"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            usage(8, 0),
        )
        .model("text-embedding-3-small"),
    ]
}

fn media_fixtures() -> Vec<Fixture> {
    vec![
        fixture(
            "images with usage",
            Api::OpenAiImages,
            JSON,
            r#"{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
            Usage { input_image_tokens: 40, output_image_tokens: 50, output_images: 1, ..usage(50, 50) },
        )
        .images(1),
        fixture(
            "images without usage",
            Api::OpenAiImages,
            JSON,
            r#"{"created":1,"data":[{"url":"https://a"},{"url":"https://b"}]}"#,
            Usage { output_images: 2, ..Usage::default() },
        )
        .images(2),
        fixture(
            "images streamed",
            Api::OpenAiImages,
            SSE,
            concat!(
                "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"aGk=\"}\n\n",
                "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"aGk=\",\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}\n\n"
            ),
            Usage { output_image_tokens: 9, output_images: 1, ..usage(5, 9) },
        )
        .images(1),
        fixture(
            "transcription by tokens",
            Api::OpenAiTranscription,
            JSON,
            r#"{"text":"hello","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,"audio_tokens":10},"output_tokens":5,"total_tokens":19}}"#,
            Usage { input_audio_tokens: 10, ..usage(14, 5) },
        )
        .text(5),
        {
            let mut by_duration = fixture(
                "transcription by duration",
                Api::OpenAiTranscription,
                JSON,
                r#"{"text":"hello","duration":"3.2","segments":[{"text":"hello"}],"usage":{"type":"duration","seconds":4}}"#,
                Usage { input_millis: 4_000, ..Usage::default() },
            )
            .text(5);
            // Transcribed text is not what is paid.
            by_duration.expected.seen.output_tokens = 0;
            by_duration
        },
        fixture(
            "verbose transcription",
            Api::OpenAiTranscription,
            JSON,
            r#"{"task":"transcribe","duration":8.470000267028809,"text":""}"#,
            Usage { input_millis: 8_470, ..Usage::default() },
        ),
        fixture(
            "rerank by search units",
            Api::OpenAiRerank,
            JSON,
            r#"{"results":[{"index":0,"relevance_score":0.9}],"meta":{"billed_units":{"search_units":2}}}"#,
            Usage { searches: 2, ..Usage::default() },
        ),
        fixture(
            "rerank by tokens",
            Api::OpenAiRerank,
            JSON,
            r#"{"model":"r","results":[],"usage":{"total_tokens":815}}"#,
            usage(815, 0),
        )
        .model("r"),
        fixture(
            "pages",
            Api::Ocr,
            JSON,
            r#"{"pages":[{"index":0,"markdown":"x"}],"model":"mistral-ocr","usage_info":{"pages_processed":3,"doc_size_bytes":9}}"#,
            Usage { pages: 3, ..Usage::default() },
        )
        .model("mistral-ocr"),
    ]
}

fn anthropic_fixtures() -> Vec<Fixture> {
    vec![
        fixture(
            "messages",
            Api::AnthropicMessages,
            JSON,
            r#"{"type":"message","model":"claude-sonnet-4-5","content":[{"type":"text","text":"Hi!"},{"type":"tool_use","input":{"usage":{"input_tokens":0}}}],"usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":5,"service_tier":"standard","server_tool_use":{"web_search_requests":2}}}"#,
            Usage {
                cache_read_tokens: 100,
                cache_write_tokens: 10,
                cache_write_1h_tokens: 20,
                searches: 2,
                service_tier: Some("standard".into()),
                ..usage(140, 5)
            },
        )
        .model("claude-sonnet-4-5")
        .text(3 + 28),
        fixture(
            "messages stream",
            Api::AnthropicMessages,
            SSE,
            concat!(
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-haiku-4-5\",\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n",
                "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello!!!\"}}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":25,\"output_tokens\":15}}\n\n",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
            ),
            Usage { cache_read_tokens: 5, ..usage(30, 15) },
        )
        .model("claude-haiku-4-5")
        .text(8),
    ]
}

fn gemini_fixtures() -> Vec<Fixture> {
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"abcd"}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":1},"modelVersion":"gemini-2.5-flash"}"#;
    let last = r#"{"candidates":[{"content":{"parts":[{"text":"ef"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":6,"thoughtsTokenCount":20,"totalTokenCount":33,"cachedContentTokenCount":3,"promptTokensDetails":[{"modality":"TEXT","tokenCount":4},{"modality":"AUDIO","tokenCount":3}]},"modelVersion":"gemini-2.5-flash"}"#;
    let used = Usage { cache_read_tokens: 3, input_audio_tokens: 3, reasoning_tokens: 20, ..usage(7, 26) };
    vec![
        fixture("gemini", Api::GeminiGenerate, JSON, last, used.clone()).model("gemini-2.5-flash").text(2),
        fixture("gemini array", Api::GeminiGenerate, JSON, format!("[{first}\n,\r\n{last}]"), used.clone())
            .model("gemini-2.5-flash")
            .text(6),
        fixture("gemini events", Api::GeminiGenerate, SSE, format!("data: {first}\r\n\r\ndata: {last}\r\n\r\n"), used)
            .model("gemini-2.5-flash")
            .text(6),
        fixture(
            "gemini image",
            Api::GeminiGenerate,
            JSON,
            r#"{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"aGk="}}]},"finishReason":"STOP","groundingMetadata":{"webSearchQueries":["a","b"]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":1290,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1290}],"trafficType":"ON_DEMAND_PRIORITY"}}"#,
            Usage {
                output_image_tokens: 1_290,
                output_images: 1,
                searches: 1,
                service_tier: Some("priority".into()),
                ..usage(7, 1_290)
            },
        )
        .images(1),
    ]
}

fn bedrock_fixtures() -> Vec<Fixture> {
    let used = r#""usage":{"inputTokens":10,"outputTokens":20,"totalTokens":37,"cacheReadInputTokens":3,"cacheWriteInputTokens":4,"cacheDetails":[{"ttl":"1h","inputTokens":1}]}"#;
    let expected = Usage { cache_read_tokens: 3, cache_write_tokens: 3, cache_write_1h_tokens: 1, ..usage(17, 20) };
    vec![
        fixture(
            "converse",
            Api::BedrockConverse,
            JSON,
            format!(r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"abc"}}]}}}},"stopReason":"end_turn",{used}}}"#),
            expected.clone(),
        )
        .text(3),
        fixture(
            "converse stream",
            Api::BedrockConverse,
            FRAMES,
            [
                frame("messageStart", r#"{"role":"assistant"}"#),
                frame("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"abcde"}}"#),
                frame("metadata", &format!(r#"{{"metrics":{{"latencyMs":9}},{used}}}"#)),
            ]
            .concat(),
            expected,
        )
        .text(5),
        fixture(
            "invoke stream of Anthropic",
            Api::BedrockInvoke,
            FRAMES,
            [
                chunk(r#"{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":9,"output_tokens":1}}}"#),
                chunk(r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"hey"}}"#),
                chunk(r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":12}}"#),
                chunk(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9,"outputTokenCount":12,"invocationLatency":1}}"#),
            ]
            .concat(),
            usage(9, 12),
        )
        .model("claude")
        .text(3),
        fixture(
            "invoke stream of Meta",
            Api::BedrockInvoke,
            FRAMES,
            [
                chunk(r#"{"generation":"ab","prompt_token_count":4,"generation_token_count":1,"stop_reason":null}"#),
                chunk(r#"{"generation":"","prompt_token_count":null,"generation_token_count":3,"stop_reason":"stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":4,"outputTokenCount":3}}"#),
            ]
            .concat(),
            usage(4, 3),
        )
        .text(2),
        fixture(
            "invoke of Titan",
            Api::BedrockInvoke,
            JSON,
            r#"{"inputTextTokenCount":5,"results":[{"tokenCount":6,"outputText":"abc","completionReason":"FINISH"}]}"#,
            usage(5, 6),
        )
        .text(3),
    ]
}

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
