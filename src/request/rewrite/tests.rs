use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BOTH: RewriteAsk = RewriteAsk { include_usage: true, output_cap: Some(100) };
const USAGE: RewriteAsk = RewriteAsk { include_usage: true, output_cap: None };
const CAP: RewriteAsk = RewriteAsk { include_usage: false, output_cap: Some(100) };

#[test]
fn only_what_is_asked_and_missing_is_added() {
    let cases: &[(Api, RewriteAsk, &str, Option<&str>)] = &[
        (
            Api::OpenAiChat,
            USAGE,
            r#"{"stream":true}"#,
            Some(r#"{"stream_options":{"include_usage":true},"stream":true}"#),
        ),
        (Api::OpenAiChat, USAGE, r#"{"stream":false}"#, None),
        (Api::OpenAiChat, USAGE, r#"{}"#, None),
        (Api::OpenAiResponses, USAGE, r#"{"stream":true}"#, None),
        (Api::OpenAiChat, USAGE, r#"{"stream":true,"stream_options":{"include_usage":true}}"#, None),
        (
            Api::OpenAiChat,
            USAGE,
            r#"{"stream":true,"stream_options":{"include_usage":false,"a":1}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true,"a":1}}"#),
        ),
        (
            Api::OpenAiCompletions,
            USAGE,
            r#"{"stream_options": {"a": {"include_usage":true}}, "stream" : true}"#,
            Some(r#"{"stream_options": {"include_usage":true,"a": {"include_usage":true}}, "stream" : true}"#),
        ),
        (
            Api::OpenAiChat,
            USAGE,
            r#"{"stream":true,"stream_options":{}}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (
            Api::OpenAiChat,
            USAGE,
            r#"{"stream":true,"stream_options":null}"#,
            Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        ),
        (Api::OpenAiChat, USAGE, r#"{"a":{"stream":true}}"#, None),
        (
            Api::OpenAiChat,
            BOTH,
            r#"{"str\u0065am":true}"#,
            Some(r#"{"stream_options":{"include_usage":true},"max_completion_tokens":100,"str\u0065am":true}"#),
        ),
        (Api::OpenAiChat, CAP, r#"{"max_tokens":5}"#, None),
        (Api::OpenAiChat, CAP, r#"{"max_completion_tokens":5}"#, None),
        (Api::OpenAiChat, CAP, r#"{"max_completion_tokens":null}"#, Some(r#"{"max_completion_tokens":100}"#)),
        (Api::OpenAiChat, CAP, r#"{"max_tokens":null}"#, Some(r#"{"max_completion_tokens":100,"max_tokens":null}"#)),
        (
            Api::OpenAiChat,
            CAP,
            r#"{"max_completion_tokens":null,"max_tokens":null}"#,
            Some(r#"{"max_completion_tokens":100,"max_tokens":null}"#),
        ),
        (
            Api::OpenAiChat,
            CAP,
            r#"{"a":{"max_tokens":5}}"#,
            Some(r#"{"max_completion_tokens":100,"a":{"max_tokens":5}}"#),
        ),
        (Api::OpenAiChat, CAP, r#"{"max_tokens":"5"}"#, None),
        (Api::OpenAiChat, CAP, r#"{"max_tokens":-1}"#, Some(r#"{"max_tokens":100}"#)),
        (Api::OpenAiChat, CAP, r#"{"max_tokens":"many"}"#, Some(r#"{"max_tokens":100}"#)),
        (Api::OpenAiChat, CAP, r#"{"max_tokens": {"a":[1]} }"#, Some(r#"{"max_tokens": 100 }"#)),
        (Api::OpenAiChat, USAGE, r#"{"max_tokens":-1}"#, None),
        (
            Api::OpenAiChat,
            CAP,
            r#"{"max_tokens":5,"max_completion_tokens":-1,"max_output_tokens":-1}"#,
            Some(r#"{"max_tokens":5,"max_completion_tokens":100,"max_output_tokens":-1}"#),
        ),
        (
            Api::OpenAiChat,
            CAP,
            r#"{"max_tokens":false,"max_completion_tokens":null}"#,
            Some(r#"{"max_tokens":100,"max_completion_tokens":null}"#),
        ),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"generationConfig":{"maxOutputTokens":-1,"topK":1}}"#,
            Some(r#"{"generationConfig":{"maxOutputTokens":100,"topK":1}}"#),
        ),
        (Api::OpenAiCompletions, CAP, r#"{}"#, Some(r#"{"max_tokens":100}"#)),
        (Api::AnthropicMessages, CAP, r#"{"a":1}"#, Some(r#"{"max_tokens":100,"a":1}"#)),
        (Api::OpenAiResponses, CAP, r#"{"max_tokens":1}"#, Some(r#"{"max_output_tokens":100,"max_tokens":1}"#)),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"contents":[]}"#,
            Some(r#"{"generationConfig":{"maxOutputTokens":100},"contents":[]}"#),
        ),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"generation_config":{"topK":1}}"#,
            Some(r#"{"generation_config":{"maxOutputTokens":100,"topK":1}}"#),
        ),
        (Api::GeminiGenerate, CAP, r#"{"generationConfig":{"maxOutputTokens":7}}"#, None),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"generationConfig":{"maxOutputTokens":null}}"#,
            Some(r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        ),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"generationConfig":null}"#,
            Some(r#"{"generationConfig":{"maxOutputTokens":100}}"#),
        ),
        (
            Api::GeminiGenerate,
            CAP,
            r#"{"generationConfig":{"maxOutputTokens":null,"max_output_tokens":null}}"#,
            Some(r#"{"generationConfig":{"maxOutputTokens":100,"max_output_tokens":100}}"#),
        ),
        (Api::BedrockConverse, CAP, r#"{"inferenceConfig":{}}"#, Some(r#"{"inferenceConfig":{"maxTokens":100}}"#)),
        (Api::BedrockConverse, CAP, r#"{}"#, Some(r#"{"inferenceConfig":{"maxTokens":100}}"#)),
        (Api::OpenAiEmbeddings, BOTH, r#"{"stream":true}"#, None),
        (Api::OpenAiChat, BOTH, r#"{"stream":true"#, None),
        (Api::OpenAiChat, BOTH, r#"[1]"#, None),
        (Api::OpenAiChat, BOTH, "null", None),
    ];
    for (api, ask, body, expected) in cases {
        let found = rewrite(body.as_bytes(), *api, *ask).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(found.as_deref(), *expected, "{api:?} {body}");
        if let Some(again) = found {
            assert_eq!(rewrite(again.as_bytes(), *api, *ask), None, "a second time changes nothing: {body}");
        }
    }
}

/// Whether this is a number of tokens.
fn is_cap(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Number(number)) => count(&number.to_string()).is_some(),
        Some(Value::String(text)) => count(text).is_some(),
        _ => false,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[ -~\u{e9}\n]{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("stream_options".to_owned()),
        Just("stream".to_owned()),
        Just("include_usage".to_owned()),
        Just("max_tokens".to_owned()),
        Just("maxOutputTokens".to_owned()),
        "[a-c]{1,2}",
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_rewritten_body_says_the_same_and_exactly_what_was_asked(
        members in proptest::collection::btree_map(
            prop_oneof![Just("stream_options".to_owned()), Just("max_tokens".to_owned()),
                Just("max_completion_tokens".to_owned()), Just("generationConfig".to_owned()), "[a-c]{1,2}"],
            value(), 0..6),
        streams in any::<bool>(),
        pretty in any::<bool>(),
        gemini in any::<bool>(),
    ) {
        let mut body = Value::Object(members.into_iter().collect());
        body["stream"] = json!(streams);
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let api = if gemini { Api::GeminiGenerate } else { Api::OpenAiChat };
        let mut wanted = body.clone();
        if gemini {
            let config = wanted.get("generationConfig").cloned().unwrap_or_default();
            if config.is_null() {
                wanted["generationConfig"] = json!({"maxOutputTokens": 100});
            } else if config.is_object() && !is_cap(config.get("maxOutputTokens")) {
                wanted["generationConfig"]["maxOutputTokens"] = json!(100);
            } else if !config.is_object() {
                // A body the provider refuses is not mended.
                return Ok(());
            }
        } else {
            let options = wanted.get("stream_options").cloned().unwrap_or_default();
            if !options.is_null() && !options.is_object() {
                return Ok(());
            }
            if streams && options.is_null() {
                wanted["stream_options"] = json!({"include_usage": true});
            } else if streams {
                wanted["stream_options"]["include_usage"] = json!(true);
            }
            let is_free = |name: &str| body.get(name).is_none_or(Value::is_null);
            let names = ["max_tokens", "max_completion_tokens"];
            for name in names.into_iter().filter(|name| !is_free(name) && !is_cap(body.get(name))) {
                wanted[name] = json!(100);
            }
            if names.into_iter().all(is_free) {
                wanted["max_completion_tokens"] = json!(100);
            }
        }
        let found = rewrite(text.as_bytes(), api, BOTH);
        let found = found.map_or(body, |bytes| serde_json::from_slice(&bytes).unwrap());
        prop_assert_eq!(found, wanted);
    }
}
