//! Responses as providers write them, one or more of each format, and what each used.

use base64::Engine;

use super::super::*;
use crate::domain::Helper;

/// One response and what it used.
pub(super) struct Fixture {
    pub(super) name: &'static str,
    pub(super) api: Api,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    pub(super) expected: Metered,
}

pub(super) fn usage(input: u64, output: u64) -> Usage {
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
    let expected = Metered { usage: Some(usage), seen, status: 200, complete: true, ..Metered::default() };
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

pub(super) const JSON: &str = "application/json";
pub(super) const SSE: &str = "text/event-stream; charset=utf-8";
pub(super) const FRAMES: &str = "application/vnd.amazon.eventstream";

pub(super) fn frame(event: &str, payload: &str) -> Vec<u8> {
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

pub(super) fn fixtures() -> Vec<Fixture> {
    let mut all = openai_fixtures();
    all.extend(media_fixtures());
    all.extend(anthropic_fixtures());
    all.extend(gemini_fixtures());
    all.extend(bedrock_fixtures());
    all.extend(image_fixtures());
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
            "responses with images",
            Api::OpenAiResponses,
            JSON,
            r#"{"model":"gpt-5","tools":[{"type":"function","name":"f","parameters":{"model":"no"}},{"type":"image_generation","model":"gpt-image-2"}],"output":[],"usage":{"input_tokens":36,"output_tokens":87},"tool_usage":{"image_gen":{"input_tokens":90,"input_tokens_details":{"image_tokens":60,"text_tokens":30},"output_tokens":186,"output_tokens_details":{"image_tokens":186,"text_tokens":0}},"web_search":{"num_requests":0}}}"#,
            Usage { helpers: vec![drawn("gpt-image-2", 90, 186)], ..usage(36, 87) },
        )
        .model("gpt-5"),
        fixture(
            "responses stream with images",
            Api::OpenAiResponses,
            SSE,
            concat!(
                "data: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-5\",\"usage\":null,\"tool_usage\":{\"image_gen\":{\"input_tokens\":0,\"output_tokens\":0}}}}\n\n",
                "data: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5\",\"tools\":[{\"type\":\"image_generation\",\"model\":null}],\"usage\":{\"input_tokens\":36,\"output_tokens\":87},\"tool_usage\":{\"image_gen\":{\"input_tokens\":90,\"input_tokens_details\":{\"image_tokens\":60},\"output_tokens\":186,\"output_tokens_details\":{\"image_tokens\":186}}}}}\n\n",
            ),
            Usage { helpers: vec![drawn("gpt-image-1", 90, 186)], ..usage(36, 87) },
        )
        .model("gpt-5"),
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
            "transcription by seconds beside tokens",
            Api::OpenAiTranscription,
            JSON,
            r#"{"model":"voxtral-mini-2602","text":"hi","usage":{"prompt_audio_seconds":203,"prompt_tokens":4,"total_tokens":639,"completion_tokens":635}}"#,
            Usage { input_millis: 203_000, ..usage(4, 635) },
        )
        .model("voxtral-mini-2602")
        .text(2),
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

/// What a tool used to draw.
fn drawn(model: &str, input: u64, output: u64) -> Helper {
    let usage = Usage { input_image_tokens: 60, output_image_tokens: output, ..usage(input, output) };
    Helper { model: model.to_owned(), usage }
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
            "messages that were compacted",
            Api::AnthropicMessages,
            JSON,
            r#"{"type":"message","content":[{"type":"compaction","content":"…"}],"usage":{"input_tokens":23000,"output_tokens":1000,"speed":"fast","inference_geo":"us","iterations":[{"type":"compaction","input_tokens":180000,"cache_read_input_tokens":500,"output_tokens":3500},{"type":"message","input_tokens":23000,"output_tokens":1000}]}}"#,
            Usage {
                cache_read_tokens: 500,
                surcharges: vec!["fast".into(), "us".into()],
                ..usage(203_500, 4_500)
            },
        ),
        fixture(
            "messages with an adviser",
            Api::AnthropicMessages,
            JSON,
            r#"{"type":"message","model":"claude-haiku-4-5","content":[],"usage":{"input_tokens":400,"output_tokens":500,"inference_geo":"us","speed":"fast","iterations":[{"type":"message","input_tokens":100,"output_tokens":50},{"type":"advisor_message","model":"claude-opus-4-7","input_tokens":800,"cache_read_input_tokens":20,"output_tokens":1600},{"type":"message","input_tokens":300,"output_tokens":450},{"type":"advisor_message","model":"claude-opus-4-7","input_tokens":1000,"output_tokens":40},{"type":"advisor_message","input_tokens":7,"output_tokens":7}]}}"#,
            Usage {
                surcharges: vec!["fast".into(), "us".into()],
                helpers: vec![Helper {
                    model: "claude-opus-4-7".into(),
                    usage: Usage { cache_read_tokens: 20, surcharges: vec!["us".into()], ..usage(1_820, 1_640) },
                }],
                // Advice of a model without a name is the model's own.
                ..usage(407, 507)
            },
        )
        .model("claude-haiku-4-5"),
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

/// Two searches, told in two events.
fn grounded(model: &str) -> String {
    let event = format!(
        r#"{{"candidates":[{{"finishReason":"STOP","groundingMetadata":{{"webSearchQueries":["a","b"]}}}}],"usageMetadata":{{"promptTokenCount":7,"candidatesTokenCount":6}},"modelVersion":"gemini-{model}"}}"#
    );
    format!("data: {event}\n\ndata: {event}\n\n")
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
        fixture("gemini grounded", Api::GeminiGenerate, SSE, grounded("2.5-flash"), Usage { searches: 1, ..usage(7, 6) })
            .model("gemini-2.5-flash"),
        fixture("gemini 3 grounded", Api::GeminiGenerate, SSE, grounded("3-pro"), Usage { searches: 2, ..usage(7, 6) })
            .model("gemini-3-pro"),
    ]
}

fn image_fixtures() -> Vec<Fixture> {
    let drawn = |name, body, images| {
        fixture(name, Api::BedrockInvoke, JSON, body, Usage { output_images: images, ..Usage::default() })
            .images(images)
    };
    vec![
        drawn("images of Amazon", r#"{"images":["aGk=","aGk="],"error":null}"#, 2),
        drawn("images of Stability AI", r#"{"seeds":[1],"finish_reasons":[null],"images":["aGk="]}"#, 1),
        drawn(
            "artifacts",
            r#"{"result":"success","artifacts":[{"seed":1,"base64":"aGk=","finishReason":"SUCCESS"}]}"#,
            1,
        ),
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
