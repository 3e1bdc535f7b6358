//! Streamed answers, as the chunks a provider sends: server-sent events, Gemini's array in pieces, Amazon's event
//! stream. One chunk is one event.

use axum::body::Bytes;
use serde_json::{Value, json};

use super::answers::{self, Api, Asked, WORD};

/// The chunks, or `None` where the request does not ask for a stream.
pub fn of(asked: &Asked) -> Option<Vec<Bytes>> {
    match asked.api? {
        Api::Chat if asked.stream => Some(openai(asked, "chat.completion.chunk")),
        Api::Completions if asked.stream => Some(openai(asked, "text_completion")),
        Api::Responses if asked.stream => Some(responses(asked)),
        Api::Messages if asked.stream => Some(messages(asked)),
        Api::GeminiStream => Some(gemini(asked)),
        Api::ConverseStream => Some(converse(asked)),
        _ => None,
    }
}

fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

fn event(name: &str, value: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {value}\n\n"))
}

/// Chat and legacy completions: usage comes in a last event without choices, when it was asked for.
fn openai(asked: &Asked, object: &str) -> Vec<Bytes> {
    let chunk =
        |choices: Value| json!({"id": "chatcmpl-1", "object": object, "model": asked.model, "choices": choices});
    let piece = |text: &str, finish: Value| {
        if object == "text_completion" {
            json!([{"index": 0, "text": text, "finish_reason": finish}])
        } else {
            json!([{"index": 0, "delta": {"content": text}, "finish_reason": finish}])
        }
    };
    let mut chunks: Vec<Bytes> = (0..asked.chunks).map(|_| data(&chunk(piece(WORD, Value::Null)))).collect();
    chunks.push(data(&chunk(piece("", json!("stop")))));
    if asked.include_usage && asked.report {
        let mut last = chunk(json!([]));
        last["usage"] = asked.usage();
        chunks.push(data(&last));
    }
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    chunks
}

fn responses(asked: &Asked) -> Vec<Bytes> {
    let created = json!({"type": "response.created", "response": answers::response(asked, "in_progress")});
    let mut chunks = vec![event("response.created", &created)];
    for _ in 0..asked.chunks {
        let delta = json!({"type": "response.output_text.delta", "output_index": 0, "delta": WORD});
        chunks.push(event("response.output_text.delta", &delta));
    }
    let mut done = json!({"type": "response.completed", "response": answers::response(asked, "completed")});
    if asked.report {
        done["response"]["usage"] = asked.usage();
    }
    chunks.push(event("response.completed", &done));
    chunks
}

/// Anthropic reports twice: the input at the start, the whole output at the end.
fn messages(asked: &Asked) -> Vec<Bytes> {
    let mut start = json!({"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked.model, "content": [],
    }});
    let mut delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}});
    if asked.report {
        start["message"]["usage"] = json!({"input_tokens": asked.input, "output_tokens": 1});
        delta["usage"] = json!({"output_tokens": asked.output});
    }
    let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let mut chunks = vec![event("message_start", &start), event("content_block_start", &block)];
    for _ in 0..asked.chunks {
        let piece = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": WORD}});
        chunks.push(event("content_block_delta", &piece));
    }
    chunks.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": 0})));
    chunks.push(event("message_delta", &delta));
    chunks.push(event("message_stop", &json!({"type": "message_stop"})));
    chunks
}

/// Every chunk carries usage so far, as Gemini's do.
fn gemini(asked: &Asked) -> Vec<Bytes> {
    let count = asked.chunks.max(1);
    let pieces = (0..count).map(|index| {
        let last = index + 1 == count;
        let mut piece = answers::gemini(WORD, last);
        if asked.report {
            let output = if last { asked.output } else { asked.output.min(index as u64 + 1) };
            piece["usageMetadata"] = json!({"promptTokenCount": asked.input, "candidatesTokenCount": output,
                "totalTokenCount": asked.input + output});
        }
        piece
    });
    if asked.sse {
        return pieces.map(|piece| data(&piece)).collect();
    }
    pieces
        .enumerate()
        .map(|(index, piece)| {
            let before = if index == 0 { "[" } else { "," };
            let after = if index + 1 == count { "]" } else { "\n" };
            Bytes::from(format!("{before}{piece}{after}"))
        })
        .collect()
}

fn converse(asked: &Asked) -> Vec<Bytes> {
    let mut chunks = vec![frame("messageStart", &json!({"role": "assistant"}))];
    for _ in 0..asked.chunks {
        chunks.push(frame("contentBlockDelta", &json!({"contentBlockIndex": 0, "delta": {"text": WORD}})));
    }
    chunks.push(frame("contentBlockStop", &json!({"contentBlockIndex": 0})));
    chunks.push(frame("messageStop", &json!({"stopReason": "end_turn"})));
    let mut metadata = json!({"metrics": {"latencyMs": 1}});
    if asked.report {
        metadata["usage"] = asked.usage();
    }
    chunks.push(frame("metadata", &metadata));
    chunks
}

/// One message of `application/vnd.amazon.eventstream`: lengths, their CRC, headers, payload, CRC of it all.
fn frame(kind: &str, payload: &Value) -> Bytes {
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(u8::try_from(name.len()).unwrap_or(0));
        headers.extend(name.as_bytes());
        // 7 is a string, its length two bytes.
        headers.push(7);
        headers.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let total = u32::try_from(12 + headers.len() + payload.len() + 4).unwrap_or(0);
    let mut frame = Vec::new();
    frame.extend(total.to_be_bytes());
    frame.extend(u32::try_from(headers.len()).unwrap_or(0).to_be_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(&headers);
    frame.extend(payload.as_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    Bytes::from(frame)
}
