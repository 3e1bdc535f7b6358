//! The meter on any API, coding and content type, fed with bytes cut anywhere. The first four bytes choose; the fifth is
//! the size of the pieces. It must neither panic nor see more text than bytes can hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollward::domain::Api;
use tollward::spend::usage::{End, Meter, MeterLimits};

const APIS: [Api; 12] = [
    Api::OpenAiChat,
    Api::OpenAiCompletions,
    Api::OpenAiResponses,
    Api::OpenAiEmbeddings,
    Api::OpenAiImages,
    Api::OpenAiTranscription,
    Api::OpenAiRerank,
    Api::AnthropicMessages,
    Api::GeminiGenerate,
    Api::BedrockConverse,
    Api::BedrockInvoke,
    Api::Ocr,
];
const CODINGS: [Option<&str>; 5] = [None, Some("gzip"), Some("deflate"), Some("br"), Some("zstd")];
const KINDS: [Option<&str>; 5] = [
    None,
    Some("application/json"),
    Some("text/event-stream"),
    Some("application/vnd.amazon.eventstream"),
    Some("audio/mpeg"),
];

fuzz_target!(|data: &[u8]| {
    let [api, coding, kind, end, size, body @ ..] = data else { return };
    let mut meter = Meter::new(APIS[usize::from(*api) % APIS.len()], MeterLimits { max_decoded_bytes: 1 << 20 });
    let coding = CODINGS[usize::from(*coding) % CODINGS.len()];
    meter.headers(200, KINDS[usize::from(*kind) % KINDS.len()], coding);
    for chunk in body.chunks(usize::from(*size).max(1)) {
        meter.body(chunk);
    }
    let metered = meter.finish(if end & 1 == 0 { End::Complete } else { End::Aborted });
    if coding.is_none() {
        // An escape of six bytes is measured as three.
        assert!(metered.seen.output_bytes <= body.len() as u64);
    }
});
