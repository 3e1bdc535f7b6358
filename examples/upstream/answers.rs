//! Whole answers, by API: what the path asks for, what the body caps, what is reported.

use serde_json::{Value, json};

use super::steering::{Steering, Usage};

/// Prompt tokens reported where the request does not steer them.
const PROMPT_TOKENS: u64 = 10;
/// Completion tokens reported at most.
const COMPLETION_TOKENS: u64 = 20;
/// What the model says, again and again.
pub const WORD: &str = "toll ";

/// The APIs the upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Images,
    Transcription,
    Speech,
    Moderation,
    Rerank,
    Messages,
    CountTokens,
    Gemini,
    GeminiStream,
    Converse,
    ConverseStream,
}

impl Api {
    fn of(path: &str) -> Option<Api> {
        // Longer names first: `/chat/completions` also ends with `/completions`.
        const ENDINGS: [(&str, Api); 17] = [
            ("/chat/completions", Api::Chat),
            ("/completions", Api::Completions),
            ("/responses", Api::Responses),
            ("/embeddings", Api::Embeddings),
            ("/images/generations", Api::Images),
            ("/images/edits", Api::Images),
            ("/audio/transcriptions", Api::Transcription),
            ("/audio/translations", Api::Transcription),
            ("/audio/speech", Api::Speech),
            ("/moderations", Api::Moderation),
            ("/rerank", Api::Rerank),
            ("/messages", Api::Messages),
            ("/messages/count_tokens", Api::CountTokens),
            (":generateContent", Api::Gemini),
            (":streamGenerateContent", Api::GeminiStream),
            ("/converse", Api::Converse),
            ("/converse-stream", Api::ConverseStream),
        ];
        ENDINGS.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, api)| *api)
    }
}

/// A request as far as the answer depends on it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub api: Option<Api>,
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
    /// Gemini's `alt=sse`: events instead of one JSON array.
    pub sse: bool,
    pub input: u64,
    pub output: u64,
    pub report: bool,
    pub chunks: usize,
    images: u64,
}

impl Asked {
    pub fn read(path: &str, query: &str, body: &[u8], steering: &Steering) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let caps = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .map(|name| &body[*name])
            .chain([&body["generationConfig"]["maxOutputTokens"], &body["inferenceConfig"]["maxTokens"]]);
        let cap = caps.filter_map(Value::as_u64).min();
        let (input, output) = match steering.usage {
            Usage::Exact { input, output } => (input, output),
            _ => (PROMPT_TOKENS, cap.unwrap_or(COMPLETION_TOKENS).min(COMPLETION_TOKENS)),
        };
        Asked {
            api: Api::of(path),
            model: body["model"].as_str().unwrap_or("sample").to_owned(),
            stream: body["stream"].as_bool().unwrap_or(false),
            include_usage: body["stream_options"]["include_usage"].as_bool().unwrap_or(false),
            sse: query.split('&').any(|pair| pair == "alt=sse"),
            input,
            output,
            report: steering.usage != Usage::Missing,
            chunks: steering.chunks,
            images: body["n"].as_u64().unwrap_or(1),
        }
    }

    /// The `content-type` of its stream.
    pub fn stream_type(&self) -> &'static str {
        match self.api {
            Some(Api::ConverseStream) => "application/vnd.amazon.eventstream",
            Some(Api::GeminiStream) if !self.sse => "application/json",
            _ => "text/event-stream",
        }
    }

    /// The usage in the form of the API; `null` where it is not to be reported.
    pub fn usage(&self) -> Value {
        if !self.report {
            return Value::Null;
        }
        let (input, output) = (self.input, self.output);
        match self.api {
            Some(Api::Messages) => json!({"input_tokens": input, "output_tokens": output}),
            Some(Api::Responses | Api::Images) => {
                json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output})
            }
            Some(Api::Gemini | Api::GeminiStream) => {
                json!({"promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": input + output})
            }
            Some(Api::Converse | Api::ConverseStream) => {
                json!({"inputTokens": input, "outputTokens": output, "totalTokens": input + output})
            }
            Some(Api::Embeddings) => json!({"prompt_tokens": input, "total_tokens": input}),
            _ => json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output}),
        }
    }
}

/// A whole answer.
pub enum Answer {
    Json(Value),
    Bytes(&'static str, Vec<u8>),
}

/// `GET /models`.
pub fn models() -> Value {
    json!({"object": "list", "data": [{"id": "sample", "object": "model", "owned_by": "upstream"}]})
}

/// The answer, or `None` for a path the upstream does not know.
pub fn of(asked: &Asked) -> Option<Answer> {
    let text = WORD.repeat(asked.chunks);
    let usage = asked.usage();
    let mut value = match asked.api? {
        Api::Chat => json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked.model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        }),
        Api::Completions => json!({
            "id": "cmpl-1", "object": "text_completion", "created": 1, "model": asked.model,
            "choices": [{"index": 0, "finish_reason": "stop", "text": text}],
        }),
        Api::Responses => response(asked, "completed"),
        Api::Embeddings => json!({
            "object": "list", "model": asked.model,
            "data": [{"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}],
        }),
        Api::Images => {
            let image = json!({"url": "http://127.0.0.1/image.png"});
            json!({"created": 1, "data": vec![image; usize::try_from(asked.images).unwrap_or(1).min(10)]})
        }
        Api::Transcription => {
            return Some(Answer::Json(json!({
                "text": text,
                "duration": 60.0,
                "usage": {"type": "duration", "seconds": 60},
            })));
        }
        Api::Speech => return Some(Answer::Bytes("audio/mpeg", vec![0; 512])),
        Api::Moderation => {
            return Some(Answer::Json(json!({"id": "modr-1", "model": asked.model, "results": [{"flagged": false}]})));
        }
        Api::Rerank => json!({"id": "rerank-1", "results": [{"index": 0, "relevance_score": 0.5}]}),
        Api::Messages => json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": asked.model, "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}],
        }),
        Api::CountTokens => return Some(Answer::Json(json!({"input_tokens": asked.input}))),
        Api::Gemini | Api::GeminiStream => gemini(&text, true),
        Api::Converse | Api::ConverseStream => json!({
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "end_turn", "metrics": {"latencyMs": 1},
        }),
    };
    if !usage.is_null() {
        let field = if matches!(asked.api, Some(Api::Gemini | Api::GeminiStream)) { "usageMetadata" } else { "usage" };
        value[field] = usage;
    }
    Some(Answer::Json(value))
}

/// One piece of a Gemini answer.
pub fn gemini(text: &str, last: bool) -> Value {
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": [{"text": text}]}});
    if last {
        candidate["finishReason"] = json!("STOP");
    }
    json!({"candidates": [candidate], "modelVersion": "sample"})
}

/// The object of the responses API.
pub fn response(asked: &Asked, status: &str) -> Value {
    json!({
        "id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": asked.model,
        "output": [{
            "id": "msg_1", "type": "message", "role": "assistant",
            "content": [{"type": "output_text", "text": WORD.repeat(asked.chunks)}],
        }],
    })
}
