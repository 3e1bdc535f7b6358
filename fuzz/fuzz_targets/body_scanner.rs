//! Feeds bodies to every reader of bodies and to the writer of caps. The first byte chooses the API.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollward::domain::Api;
use tollward::request::body::{Extent, Fault, json};
use tollward::request::{RewriteAsk, rewrite};

const APIS: [Api; 6] = [
    Api::OpenAiChat,
    Api::OpenAiResponses,
    Api::AnthropicMessages,
    Api::GeminiGenerate,
    Api::BedrockConverse,
    Api::BedrockInvoke,
];

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let api = APIS[usize::from(*first) % APIS.len()];
    let whole = json(body, api, 64, Extent::Whole);
    let cut = json(body, api, 64, Extent::Cut);
    if let (Ok(whole), Ok(cut)) = (&whole, &cut) {
        assert_eq!(whole.model, cut.model);
        assert_eq!(whole.prompt, cut.prompt);
    }
    let ask = RewriteAsk { include_usage: true, output_cap: Some(1) };
    if let (Ok(whole), Some(changed)) = (whole, rewrite(body, api, ask)) {
        // One key more may be one too many; nothing else changes.
        match json(&changed, api, 64, Extent::Whole) {
            Ok(again) => assert_eq!(whole.model, again.model),
            Err(fault) => assert!(whole.keys.len() >= 500 || matches!(fault, Fault::Unfit(_)), "{fault:?}"),
        }
    }
});
