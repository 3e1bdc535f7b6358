use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const DEPTH: usize = 32;

fn chat(body: &str) -> Result<BodyView<'_>, Fault> {
    json(body.as_bytes(), Api::OpenAiChat, DEPTH, Extent::Whole)
}

fn names(names: &[Cow<'_, str>]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

#[test]
fn a_chat_is_read_without_copying() {
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true,"max_tokens":7,"n":2,
        "user":"u1","service_tier":"flex","size":"1x1","quality":"hd","tags":["a","b","a"],"metadata":{"tags":["c"]}}"#;
    let view = chat(body).unwrap();
    assert!(matches!(view.model, Some(Cow::Borrowed("gpt-4o"))));
    assert_eq!((view.stream, view.max_tokens, view.choices), (Some(true), Some(7), 2));
    assert_eq!(view.end_user.as_deref(), Some("u1"));
    assert_eq!(view.service_tier.as_deref(), Some("flex"));
    assert_eq!((view.image_size.as_deref(), view.image_quality.as_deref()), (Some("1x1"), Some("hd")));
    assert_eq!(names(&view.tags), ["c", "a", "b"]);
    assert_eq!(
        names(&view.keys).join(" "),
        "model messages stream max_tokens n user service_tier size quality tags metadata"
    );
    assert_eq!(view.prompt.body_bytes, body.len() as u64);
}

#[test]
fn keys_and_values_with_escapes_are_recognised() {
    let view = chat(r#"{"mod\u0065l":"gpt\u002d4o","\u0075ser":"\ud83d\ude00"}"#).unwrap();
    assert_eq!((view.model.as_deref(), view.end_user.as_deref()), (Some("gpt-4o"), Some("😀")));
}

#[test]
fn every_way_to_name_a_model_is_seen() {
    let cases = [
        (r#"{"target_model_names":"a,b"}"#, vec!["a,b"]),
        (r#"{"target_model_names":["a","b"]}"#, vec!["a,b"]),
        (r#"{"session":{"model":"a"}}"#, vec!["a"]),
        (r#"{"completion":{"model":"a"}}"#, vec!["a"]),
        (r#"{"extra_body":{"model":"a"}}"#, vec!["a"]),
        (r#"{"requests":[{"model":"a"},{"model":"b"},{"model":"a"}]}"#, vec!["a", "b"]),
        (r#"{"model":"","session":{"model":null}}"#, vec![]),
        (r#"{"messages":[{"model":"no"}],"tools":{"model":"no"}}"#, vec![]),
    ];
    for (body, expected) in cases {
        let view = chat(body).unwrap();
        assert_eq!(
            (view.model, names(&view.other_models)),
            (None, expected.iter().map(|n| n.to_string()).collect()),
            "{body}"
        );
    }
}

#[test]
fn every_model_that_does_a_part_of_the_work_is_seen() {
    let cases = [
        (r#"{"model":"m","tools":[{"type":"advisor_20260301","name":"advisor","model":"a"}]}"#, "a"),
        (r#"{"tools":[{"type":"openrouter:advisor","parameters":{"model":"a/b"}},{"model":"c"}]}"#, "a/b c"),
        (r#"{"extra_body":{"tools":[{"model":"a"}]}}"#, "a"),
        (r#"{"fallbacks":[{"model":"m","tools":[{"model":"a"}]}]}"#, "a"),
        (r#"{"requests":[{"custom_id":"1","params":{"model":"a"}},{"params":{"model":"b","model_x":1}}]}"#, "a b"),
        (r#"{"requests":[{"params":{"model":"a","tools":[{"model":"b"}]}},{"params":{"model":"a"}}]}"#, "a b"),
        (r#"{"tools":"[{\"model\":\"a\"}]"}"#, "a"),
        (r#"{"tools":[{"type":"openrouter:fusion","parameters":{"analysis_models":["a","b"],"model":"c"}}]}"#, "a b c"),
        (r#"{"plugins":[{"id":"web"},{"id":"fusion","analysis_models":["a"],"models":["b"],"model":"c"}]}"#, "a b c"),
        // A schema, whatever its maker thought of it.
        (r#"{"tools":[{"type":"function","function":{"parameters":{"model":"no"}}}]}"#, ""),
        (r#"{"tools":[{"parameters":{"type":"object","properties":{"model":{"type":"string"}}}}]}"#, ""),
        (r#"{"tools":[{"parameters":{"model":{"type":"string"},"Model":{}}},{"model":null}]}"#, ""),
    ];
    for (body, expected) in cases {
        assert_eq!(names(&chat(body).unwrap().helper_models).join(" "), expected, "{body}");
    }
    for misspelt in [r#"{"tools":[{"Model":"a"}]}"#, r#"{"Tools":[]}"#, r#"{"requests":[{"Params":{}}]}"#] {
        assert_eq!(chat(misspelt).unwrap_err(), extract::MISSPELT, "{misspelt}");
    }
}

#[test]
fn every_fallback_is_seen() {
    let cases = [
        (r#"{"fallbacks":["a","b"]}"#, "a b"),
        (r#"{"fallbacks":[{"model":"a","stop":["x"]},"b"]}"#, "a b"),
        (r#"{"context_window_fallbacks":[{"gpt-4":["a","b"]}]}"#, "a b"),
        (r#"{"content_policy_fallbacks":[{"gpt-4":[{"model":"a"}]}]}"#, "a"),
        (r#"{"fallbacks":[{"model":"a","fallbacks":["b",{"model":"c"}]}]}"#, "a b c"),
        (r#"{"router_settings_override":{"fallbacks":[{"x":["a"]}]}}"#, "a"),
        (r#"{"models":["a","b"]}"#, "a b"),
    ];
    for (body, expected) in cases {
        assert_eq!(names(&chat(body).unwrap().fallback_models).join(" "), expected, "{body}");
    }
}

#[test]
fn only_caps_the_api_obeys_bound_the_answer_and_the_largest_counts() {
    let cases = [
        (Api::OpenAiChat, r#"{"max_tokens":5,"max_completion_tokens":9}"#, Some(9)),
        (Api::OpenAiChat, r#"{"max_tokens":5.5}"#, Some(6)),
        (Api::OpenAiChat, r#"{"max_tokens":1e2}"#, Some(100)),
        (Api::OpenAiChat, r#"{"max_tokens":"12"}"#, Some(12)),
        (Api::OpenAiChat, r#"{"max_tokens":-1}"#, None),
        (Api::OpenAiChat, r#"{"max_tokens":5,"max_completion_tokens":-1}"#, None),
        (Api::OpenAiChat, r#"{"max_tokens":5,"max_completion_tokens":[]}"#, None),
        (Api::OpenAiChat, r#"{"max_tokens":null,"max_completion_tokens":3}"#, Some(3)),
        (Api::OpenAiChat, r#"{"max_output_tokens":5}"#, None),
        (Api::OpenAiChat, r#"{"max_tokens":99999999999999999999999}"#, Some(u64::MAX)),
        (Api::OpenAiResponses, r#"{"max_output_tokens":5}"#, Some(5)),
        (Api::GeminiGenerate, r#"{"max_tokens":1}"#, None),
        (Api::GeminiGenerate, r#"{"generationConfig":{"maxOutputTokens":5}}"#, Some(5)),
        (Api::GeminiGenerate, r#"{"generation_config":{"maxOutputTokens":5},"max_tokens":7}"#, Some(7)),
        (Api::BedrockConverse, r#"{"inferenceConfig":{"maxTokens":5}}"#, Some(5)),
        (Api::BedrockInvoke, r#"{"textGenerationConfig":{"maxTokenCount":5}}"#, Some(5)),
        (
            Api::BedrockConverse,
            r#"{"parameters":{"maxTokens":5},"additionalModelRequestFields":{"max_tokens":5}}"#,
            None,
        ),
        (Api::OpenAiChat, r#"{"extra_body":{"max_tokens":5}}"#, None),
        (Api::OpenAiChat, r#"{"extra_body":{"max_tokens":50},"max_tokens":5}"#, Some(50)),
        (Api::BedrockInvoke, r#"{"max_gen_len":5}"#, Some(5)),
    ];
    for (api, body, expected) in cases {
        let view = json(body.as_bytes(), api, DEPTH, Extent::Whole).unwrap();
        assert_eq!(view.max_tokens, expected, "{api:?} {body}");
    }
    let view = chat(r#"{"n":2,"best_of":4,"generationConfig":{"candidateCount":3},"extra_body":{"n":null}}"#).unwrap();
    assert_eq!(view.choices, 4);
}

#[test]
fn the_end_user_is_the_first_candidate_in_order() {
    let cases = [
        (
            r#"{"safety_identifier":"d","metadata":{"user_id":"c"},"litellm_metadata":{"user":"b"},"user":"a"}"#,
            Some("a"),
        ),
        (r#"{"safety_identifier":"d","metadata":{"user_id":"c"},"litellm_metadata":{"user":"b"}}"#, Some("b")),
        (r#"{"safety_identifier":"d","metadata":{"user_id":"c"}}"#, Some("c")),
        (r#"{"safety_identifier":"d","metadata":null}"#, Some("d")),
        (r#"{"user":42}"#, Some("42")),
        (r#"{"user":true,"safety_identifier":"d"}"#, Some("d")),
        (r#"{"user":""}"#, None),
        (r#"{"metadata":"{\"user_id\":\"c\"}"}"#, Some("c")),
    ];
    for (body, expected) in cases {
        assert_eq!(chat(body).unwrap().end_user.as_deref(), expected, "{body}");
    }
}

#[test]
fn what_clients_may_not_send_is_found_wherever_it_would_work() {
    let cases = [
        (r#"{"api_base":"x"}"#, Some("api_base")),
        (r#"{"b\u0061se_url":"x"}"#, Some("base_url")),
        (r#"{"api_base":null}"#, Some("api_base")),
        (r#"{"extra_body":{"api_key":"x"}}"#, Some("api_key")),
        (r#"{"metadata":{"aws_role_name":"x"}}"#, Some("aws_role_name")),
        (r#"{"metadata":"{\"api_base\":\"x\"}"}"#, Some("api_base")),
        (r#"{"litellm_metadata":{"langfuse_host":"x"}}"#, Some("langfuse_host")),
        (r#"{"litellm_params":{"input_cost_per_token":0}}"#, Some("input_cost_per_token")),
        (r#"{"litellm_embedding_config":{"vertex_credentials":"x"}}"#, Some("vertex_credentials")),
        (r#"{"fallbacks":[{"model":"m","api_base":"x"}]}"#, Some("api_base")),
        (r#"{"fallbacks":[{"model":"m","extra_body":{"base_url":"x"}}]}"#, Some("base_url")),
        (r#"{"router_settings_override":{"fallbacks":[{"model_list":[]}]}}"#, Some("model_list")),
        (r#"{"organization":"os.environ/SECRET"}"#, Some("organization")),
        (r#"{"organization":"\u006fs.environ/SECRET"}"#, Some("organization")),
        (r#"{"model":"oidc/google"}"#, Some("model")),
        (r#"{"metadata":{"x":"os.environ/SECRET"}}"#, Some("x")),
        (r#"{"prompt":"os.environ/ is how one says it"}"#, None),
        (r#"{"messages":[{"content":"x","api_base":"x"}],"tools":[{"base_url":"x"}]}"#, None),
        (r#"{"model":"m","temperature":1}"#, None),
    ];
    for (body, expected) in cases {
        assert_eq!(chat(body).unwrap().banned.as_deref(), expected, "{body}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let cases = [
        r#"{"model":"a","model":"b"}"#,
        r#"{"model":"a","mod\u0065l":"b"}"#,
        r#"{"a":1,"a":1}"#,
        r#"{"metadata":{"tags":[],"tags":[]}}"#,
        r#"{"metadata":{"a":1,"\u0061":1}}"#,
        r#"{"model":"a"}{"model":"b"}"#,
        r#"{"model":"a"}x"#,
        r#"{"model":"a",}"#,
        r#"{"model":"a" "b":1}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":NaN}"#,
        r#"{'model':'a'}"#,
        r#"{model:"a"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12g4"}"#,
        r#"{"model":"\ud800"}"#,
        r#"{"\udc00":1}"#,
        r#"{"model":5}"#,
        r#"{"model":["a"]}"#,
        r#"{"model":{"a":1}}"#,
        r#"{"target_model_names":["a",5]}"#,
        "\u{feff}{}",
        "// comment\n{}",
        "[]",
        "null",
        "\"model\"",
        "5",
        "",
        "  ",
        "{",
    ];
    for body in cases {
        let denial = chat(body).expect_err(body).denial();
        assert_eq!((denial.status, denial.kind.as_str()), (400, "bad_request_error"), "{body}");
    }
    for body in [&b"{\"a\":\"\xff\"}"[..], b"\xef\xbb", b"{\"a\":\"\xed\xa0\x80\"}"] {
        assert!(json(body, Api::OpenAiChat, DEPTH, Extent::Whole).is_err());
    }
}

#[test]
fn a_name_that_is_read_is_refused_in_another_case() {
    let duplicate = Err(Fault::Duplicate);
    let misspelt = Err(extract::MISSPELT);
    let cases = [
        (r#"{"model":"gpt-4o-mini","Model":"gpt-4o"}"#, duplicate),
        (r#"{"model":"a","max_tokens":1,"Max_Tokens":9}"#, duplicate),
        (r#"{"n":1,"\u004e":9}"#, duplicate),
        (r#"{"user":"a","u\u017fer":"b"}"#, duplicate),
        (r#"{"max_tokens":1,"max_to\u212aens":9}"#, duplicate),
        (r#"{"Model":"gpt-4o"}"#, misspelt),
        (r#"{"MODEL":"a","model":"b"}"#, misspelt),
        (r#"{"extra_body":{"mOdel":"a"}}"#, misspelt),
        (r#"{"Extra_Body":{"model":"a"}}"#, misspelt),
        (r#"{"session":{"Model":"a"}}"#, misspelt),
        (r#"{"requests":[{"model":"a"},{"Model":"b"}]}"#, misspelt),
        (r#"{"fallbacks":[{"Model":"b"}]}"#, misspelt),
        (r#"{"generationConfig":{"maxoutputtokens":5}}"#, misspelt),
        (r#"{"stream_options":{"include_usage":true,"Include_Usage":false}}"#, duplicate),
        (r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#, duplicate),
        (r#"{"metadata":{"User_Id":"a","Tags":[],"tags":[]},"Messages":[{"Model":1}],"Temperature":1}"#, Ok(())),
    ];
    for (body, expected) in cases {
        assert_eq!(chat(body).map(|_| ()), expected, "{body}");
    }
    for body in ["Model=a", "Metadata[tags]=a", "model=a&MODEL=b"] {
        assert!(urlencoded(body.as_bytes(), Api::OpenAiImages, DEPTH).is_err(), "{body}");
    }
    assert_eq!(chat(r#"{"Api_Base":"x"}"#).unwrap().banned.as_deref(), Some("Api_Base"));
    assert_eq!(chat(r#"{"metadata":{"AWS_REGION":"x"}}"#).unwrap().banned, None);
}

#[test]
fn half_an_emoji_in_a_prompt_is_no_reason_to_refuse() {
    assert!(chat(r#"{"model":"m","prompt":"\ud83d","messages":[{"content":"\ude00"}]}"#).is_ok());
}

#[test]
fn depth_is_bounded_exactly() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    assert!(chat(&nested(DEPTH)).is_ok());
    assert_eq!(chat(&nested(DEPTH + 1)).unwrap_err(), Fault::Depth(DEPTH));
    assert_eq!(chat(&nested(100_000)).unwrap_err(), Fault::Depth(DEPTH));
}

#[test]
fn lists_of_names_are_bounded() {
    let many: Vec<String> = (0..200).map(|at| format!("m{at}")).collect();
    for key in ["tags", "fallbacks"] {
        assert!(chat(&json!({ key: many }).to_string()).is_err(), "{key}");
    }
    let keys: serde_json::Map<String, Value> = (0..600).map(|at| (format!("k{at}"), json!(1))).collect();
    assert!(chat(&Value::Object(keys).to_string()).is_err());
}

/// The gate reads bodies of strangers: what comparing the names of one may cost is bounded, however large it is.
#[test]
fn the_names_of_a_document_cost_no_more_than_a_bound() {
    let object = |keys: usize| -> String {
        let members: Vec<String> = (0..keys).map(|at| format!("\"k{at}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let list = |name: &str, item: &str, times: usize| format!("{{\"{name}\":[{}]}}", vec![item; times].join(","));
    let distinct: Vec<String> = (0..128).map(|at| format!("\"m{at}\"")).collect();
    let quoted = format!("{{\"extra_body\":{{\"metadata\":{}}}}}", Value::from(object(400)));
    let tools = [r#"{"name":"a","description":"","input_schema":{}}"#; 5].join(",");
    let twelve = object(12).trim_matches(['{', '}']).to_owned();
    let call = format!(r#""model":"m","max_tokens":1,"system":"","messages":[],"tools":[{tools}]"#);
    let cases = [
        ("requests of many keys", list("requests", &object(512), 10), true),
        ("too many requests of many keys", list("requests", &object(512), 80), false),
        ("a large batch", list("requests", r#"{"custom_id":"a","model":"m"}"#, 100_000), true),
        (
            "a large batch with tools",
            list("requests", &format!(r#"{{"custom_id":"a","params":{{{call}}}}}"#), 40_000),
            true,
        ),
        ("one name, often", list("fallbacks", "\"m\"", 100_000), true),
        ("many names, often", list("fallbacks", &distinct.join(","), 1_000), false),
        (
            "many lists of names in a fallback",
            list(
                "fallbacks",
                &format!(r#"{{"extra_body":{{"target_model_names":["a"],"more":1,{}}}}}"#, twelve),
                100_000,
            ),
            false,
        ),
        ("too many objects in strings", list("fallbacks", &quoted, 200), false),
    ];
    for (about, body, is_ok) in cases {
        let read = chat(&body);
        assert_eq!(read.is_ok(), is_ok, "{about}: {:?}", read.err());
    }
}

#[test]
fn media_is_told_from_text() {
    let cases: &[(&str, u64, u32, u64, u64)] = &[
        (r#"{"prompt":"four"}"#, 4, 0, 0, 0),
        (r#"{"prompt":"\u00e9\n\ud83d\ude00"}"#, 2 + 1 + 4, 0, 0, 0),
        (r#"{"messages":[{"content":[{"type":"text","text":"hi"}]}]}"#, 6, 0, 0, 0),
        (r#"{"c":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}"#, 9, 1, 0, 0),
        (
            r#"{"c":[{"image_url":{"url":"https://x/y.png"},"type":"image_url"},{"type":"image_url","image_url":{"url":"u"}}]}"#,
            18,
            2,
            0,
            0,
        ),
        (r#"{"c":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}"#, 11, 1, 0, 0),
        (
            r#"{"c":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}"#,
            5 + 6 + 9,
            1,
            0,
            0,
        ),
        (r#"{"c":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]}"#, 9, 1, 0, 0),
        (r#"{"c":[{"inline_data":{"data":"AAAA","mime_type":"audio/wav"}}]}"#, 9, 0, 4, 0),
        (r#"{"c":[{"image":{"format":"png","source":{"bytes":"AAAA"}}}]}"#, 3, 1, 0, 0),
        (r#"{"c":[{"type":"input_audio","input_audio":{"data":"AAAAAA","format":"wav"}}]}"#, 11 + 3, 0, 6, 0),
        (
            r#"{"c":[{"type":"file","file":{"file_data":"data:application/pdf;base64,AA","filename":"a"}}]}"#,
            4 + 1,
            0,
            0,
            30,
        ),
        (r#"{"c":[{"type":"document","source":{"media_type":"application/pdf","data":"AAAA"}}]}"#, 8 + 15, 0, 0, 4),
        // Prose is text, whatever its part says of itself.
        (
            r#"{"c":[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a b"}}]}"#,
            8 + 4 + 10 + 3,
            0,
            0,
            0,
        ),
        (r#"{"c":[{"type":"image","text":"long"}]}"#, 5 + 4, 1, 0, 0),
        (r#"{"tools":{"url":"https://x","data":"AAAA"}}"#, 9 + 4, 0, 0, 0),
        (r#"{"input":[12,345]}"#, 3 + 4, 0, 0, 0),
        (r#"{"audio":{"voice":"alloy","format":"mp3"}}"#, 5 + 3, 0, 0, 0),
        (r#"{"input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]}"#, 11, 1, 0, 0),
        // What a model reads as text is text.
        (r#"{"c":[{"type":"tool_use","input":{"type":"image","data":"AAAA"}}]}"#, 8 + 5 + 4, 0, 0, 0),
        (r#"{"c":[{"type":"tool_use","inp\u0075t":{"type":"image","data":"AAAA"}}]}"#, 8 + 5 + 4, 0, 0, 0),
        (r#"{"c":[{"type":"tool_use","input":[[{"image":{"source":{"bytes":"AAAA"}}}]]}]}"#, 8 + 4, 0, 0, 0),
        (r#"{"c":[{"functionCall":{"args":{"inlineData":{"mimeType":"image/png","data":"AAAA"}}}}]}"#, 9 + 4, 0, 0, 0),
        (r#"{"c":[{"functionResponse":{"response":{"image":"AAAA"}}}]}"#, 4, 0, 0, 0),
        (r#"{"tools":[{"input_schema":{"properties":{"image":{"type":"image","url":"AAAA"}}}}]}"#, 5 + 4, 0, 0, 0),
        (r#"{"documents":[{"type":"image","data":"AAAA"}]}"#, 5 + 4, 0, 0, 0),
        (r#"{"c":[{"type":"image","data":{"type":"image","data":"AAAA"}}]}"#, 5 + 5 + 4, 1, 0, 0),
    ];
    for (body, text_bytes, images, audio_bytes, file_bytes) in cases {
        let found = chat(body).unwrap().prompt;
        let expected = PromptSize {
            body_bytes: body.len() as u64,
            text_bytes: *text_bytes,
            media_bytes: found.media_bytes,
            images: *images,
            audio_bytes: *audio_bytes,
            file_bytes: *file_bytes,
            refers: false,
        };
        assert_eq!(found, expected, "{body}");
        assert!(found.media_bytes >= audio_bytes + file_bytes && found.media_bytes < found.body_bytes, "{body}");
    }
}

#[test]
fn input_that_is_not_in_the_body_is_seen() {
    for (body, refers) in [
        (r#"{"c":[{"type":"input_file","file_id":"file-1"}]}"#, true),
        (r#"{"c":[{"fileData":{"mimeType":"video/mp4","fileUri":"gs://b/v"}}]}"#, true),
        (r#"{"c":[{"type":"document","source":{"type":"url","url":"https://x/y.pdf"}}]}"#, true),
        (r#"{"c":[{"source":{"url":"https://x/y.pdf"},"type":"document"}]}"#, true),
        (r#"{"c":[{"document":{"format":"pdf","source":{"s3Location":{"uri":"s3://b/k"}}}}]}"#, true),
        (r#"{"document":{"type":"document_url","document_url":"https://x/y.pdf"}}"#, true),
        (r#"{"c":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}"#, false),
        (r#"{"c":[{"type":"document","source":{"media_type":"application/pdf","data":"AAAA"}}]}"#, false),
        (r#"{"c":[{"type":"tool_use","input":{"file_id":"file-1"}}]}"#, false),
        (r#"{"c":"https://x/y.pdf"}"#, false),
    ] {
        assert_eq!(chat(body).unwrap().prompt.refers, refers, "{body}");
    }
}

#[test]
fn the_prompts_of_a_completion_are_counted() {
    for (api, body, prompts) in [
        (Api::OpenAiCompletions, r#"{"prompt":["a","b","c"]}"#, 3),
        (Api::OpenAiCompletions, r#"{"prompt":[[1,2],[3,[4]]],"n":2}"#, 2),
        (Api::OpenAiCompletions, r#"{"prompt":["a",[1]],"extra_body":{"prompt":["a"]}}"#, 3),
        (Api::OpenAiCompletions, r#"{"prompt":[1,2,3]}"#, 1),
        (Api::OpenAiCompletions, r#"{"prompt":"[\"a\",\"b\"]"}"#, 1),
        (Api::OpenAiCompletions, r#"{"prompt":[]}"#, 1),
        (Api::OpenAiChat, r#"{"prompt":["a","b","c"]}"#, 1),
    ] {
        assert_eq!(json(body.as_bytes(), api, DEPTH, Extent::Whole).unwrap().prompts, prompts, "{api:?} {body}");
    }
}

#[test]
fn sizes_that_two_gateways_could_read_differently_are_none() {
    for (body, size) in [
        (r#"{"size":"1x1"}"#, Some("1x1")),
        (r#"{"size":"1x1","extra_body":{"size":"1x1"}}"#, Some("")),
        (r#"{"extra_body":{"size":"1x1"}}"#, Some("")),
        (r#"{"extra_body":{"size":"1x1"},"size":"2x2"}"#, Some("")),
        (r#"{"size":1}"#, None),
    ] {
        assert_eq!(chat(body).unwrap().image_size.as_deref(), size, "{body}");
    }
}

#[test]
fn a_cut_body_is_read_as_far_as_it_goes_if_it_named_its_model() {
    let whole = r#"{"model":"gpt-4o","max_tokens":123,"messages":[{"content":"some é text\n"}]}"#;
    for at in 0..whole.len() {
        let part = &whole.as_bytes()[..at];
        assert!(json(part, Api::OpenAiChat, DEPTH, Extent::Whole).is_err(), "cut at {at}");
        let view = json(part, Api::OpenAiChat, DEPTH, Extent::Cut);
        assert_eq!(view.is_ok(), at >= r#"{"model":"gpt-4o""#.len(), "cut at {at}");
        if let Ok(view) = view {
            assert_eq!(view.model.as_deref(), Some("gpt-4o"));
            assert!(matches!(view.max_tokens, None | Some(123)), "a number cut in two is not read: {at}");
        }
    }
    for broken in [r#"{"model":"m",}"#, r#"{"model":"m"}x"#, r#"{"model":"m","model":"m""#] {
        assert!(json(broken.as_bytes(), Api::OpenAiChat, DEPTH, Extent::Cut).is_err(), "{broken}");
    }
}

#[test]
fn forms_say_what_json_says() {
    let body = b"model=gpt%2D4o&n=3&stream=true&user=a+b&metadata%5Bapi_base%5D=x&tags[]=one&tags[]=two&prompt=hello";
    let view = urlencoded(body, Api::OpenAiImages, DEPTH).unwrap();
    assert_eq!((view.model.as_deref(), view.choices, view.stream), (Some("gpt-4o"), 3, Some(true)));
    assert_eq!((view.end_user.as_deref(), view.banned.as_deref()), (Some("a b"), Some("api_base")));
    assert_eq!(names(&view.tags), ["one", "two"]);
    for body in [
        &b"model=a&model=b"[..],
        b"model=a&mod%65l=b",
        b"model=%ff",
        b"{\"model\":1}",
        b"model[]=a",
        b"\xff",
        b"user=a;model=b",
    ] {
        assert!(urlencoded(body, Api::OpenAiImages, DEPTH).is_err(), "{body:?}");
    }
}

fn part(head: &str, content: &str) -> String {
    format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

fn form(parts: &str) -> Result<BodyView<'_>, Fault> {
    multipart(parts.as_bytes(), "multipart/form-data; boundary=\"B\"", Api::OpenAiTranscription, DEPTH)
}

#[test]
fn a_multipart_form_gives_its_model_and_the_size_of_its_files() {
    let body = [
        part("name=\"file\"; filename=\"a.MP3\"\r\nContent-Type: application/octet-stream", "12345"),
        part("name=model", "whisper-1"),
        part("name=\"metadata\"", r#"{"tags":["t"],"base_url":"x"}"#),
        part("name=\"image[]\"; filename=\"a.png\"\r\nContent-Type: image/png", "1"),
        part("name=\"timestamp_granularities[]\"", "word"),
        part("name=\"timestamp_granularities[]\"", "segment"),
        "--B--\r\n".to_owned(),
    ]
    .concat();
    let view = form(&body).unwrap();
    assert_eq!((view.model.as_deref(), view.banned.as_deref()), (Some("whisper-1"), Some("base_url")));
    assert_eq!(names(&view.tags), ["t"]);
    assert_eq!((view.prompt.audio_bytes, view.prompt.images, view.prompt.body_bytes), (5, 1, body.len() as u64));
}

#[test]
fn a_form_with_two_readings_is_refused() {
    let model = part("name=\"model\"", "a");
    let cases = [
        format!("{model}{model}--B--"),
        format!("{{\"model\":1}}\r\n{model}--B--"),
        format!("{model}--B--x"),
        model.clone(),
        format!("{}--B--", part("name=\"model\"; filename=\"m\"", "a")),
        format!("{}--B--", part("name=\"model\"; name=\"user\"", "a")),
        format!("{}--B--", part("name*=utf-8''model; name=x", "a")),
        format!("{}--B--", part("name=x; name*0=mod; name*1=el", "a")),
        format!("{}--B--", part("name=x; Name*0*=utf-8''model", "a")),
        format!("{}--B--", part("name=model; filename*0=a", "a")),
        format!("{}--B--", part("name=x", "1\n--B\nContent-Disposition: form-data; name=model\n\na")),
        format!("{}--B--", part("name=x; filename=y", "1\r--B\rContent-Disposition: form-data; name=model\r\ra")),
        format!("{}--B--", part("name=x", "1--B--")),
        format!("{}--B--", part("name=x\r\nX: y\nContent-Disposition: form-data; name=model", "a")),
        format!("{}--B--", part("name=x\r\nX: y\n\na", "a")),
        format!("{}--B--", part("name=model\r\nX: y\r\n\t; filename=\"a:b\"", "a")),
        format!("{}--B--", part("name=model\r\nContent-Disposition : form-data; name=x", "a")),
        format!("{}--B--", part("name=\"mo\\del\"", "a")),
        format!("{}--B--", part("name=\"model\"\r\nContent-Transfer-Encoding: base64", "YQ==")),
        format!("{}--B--", part("filename=\"x\"", "a")),
        "--B\r\n\r\n--B--".to_owned(),
        String::new(),
    ];
    for body in cases {
        assert!(form(&body).is_err(), "{body}");
    }
    assert!(multipart(model.as_bytes(), "multipart/form-data", Api::OpenAiImages, DEPTH).is_err());
    let file = part("name=\"file\"; filename*=utf-8''a.mp3", "12345");
    assert_eq!(form(&format!("{model}{file}--B--")).unwrap().prompt.audio_bytes, 5);
}

#[test]
fn a_boundary_with_two_readings_is_refused() {
    let body = format!("{}--B--", part("name=model", "a"));
    for (parameters, is_ok) in [
        ("boundary=B", true),
        ("charset=utf-8; Boundary=\"B\"", true),
        ("boundary=B; boundary=C", false),
        ("boundary=B; boundary*=utf-8''C", false),
        ("boundary*0=B", false),
        ("boundary=B; boundary*0=C; boundary*1=D", false),
        ("boundary=\"B", false),
        ("boundary=B\"", false),
        ("boundary=\"\"", false),
    ] {
        let content_type = format!("multipart/form-data; {parameters}");
        let read = multipart(body.as_bytes(), &content_type, Api::OpenAiImages, DEPTH);
        assert_eq!(read.is_ok(), is_ok, "{parameters}");
    }
    for odd in ["\\B", "B C"] {
        let body = body.replace("--B", &format!("--{odd}"));
        let content_type = format!("multipart/form-data; boundary=\"{odd}\"");
        assert!(multipart(body.as_bytes(), &content_type, Api::OpenAiImages, DEPTH).is_err(), "{odd}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9f64..1e9).prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        "[\\x00-\\x1f\"\\\\a]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map("\\PC{0,4}|messages|content|type|data|source", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_object_is_read_as_serde_reads_it(
        members in proptest::collection::btree_map("[^\\p{Lu}\\pC]{0,4}|messages|prompt|input", value(), 0..6),
        model in "\\PC{0,12}",
        pretty in any::<bool>(),
    ) {
        let mut object: serde_json::Map<String, Value> = members.into_iter().collect();
        object.insert("model".to_owned(), Value::from(model.clone()));
        let value = Value::Object(object.clone());
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let view = chat(&text).unwrap();
        prop_assert_eq!(view.model.as_deref().unwrap_or(""), if model.trim().is_empty() { "" } else { &model });
        let mut keys = names(&view.keys);
        keys.sort();
        let mut expected: Vec<String> = object.keys().cloned().collect();
        expected.sort();
        prop_assert_eq!(keys, expected);
        prop_assert!(view.prompt.text_bytes <= view.prompt.body_bytes);
    }

    #[test]
    fn nothing_is_read_that_serde_refuses(
        pieces in proptest::collection::vec(prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\""), Just("\\"), Just("\"model\""),
            Just("\"a\""), Just("1"), Just("-"), Just("0"), Just("."), Just("e"), Just("true"), Just("null"), Just(" "),
            Just("\\u0041"), Just("\u{7f}"), Just("\u{1}"),
        ], 0..12),
    ) {
        let text = format!("{{\"b\":{}", pieces.concat());
        let refused = serde_json::from_str::<Value>(&text).is_err();
        if refused {
            prop_assert!(chat(&text).is_err(), "{}", text);
        }
    }

    #[test]
    fn a_body_cut_anywhere_or_of_random_bytes_is_refused_without_harm(
        members in proptest::collection::btree_map("[a-z]{1,4}|model|metadata|fallbacks", value(), 1..5),
        noise in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let text = Value::Object(members.into_iter().collect()).to_string();
        for at in 0..text.len() {
            prop_assert!(json(&text.as_bytes()[..at], Api::OpenAiChat, DEPTH, Extent::Whole).is_err());
            let _ = json(&text.as_bytes()[..at], Api::OpenAiChat, DEPTH, Extent::Cut);
        }
        let _ = json(&noise, Api::BedrockInvoke, DEPTH, Extent::Cut);
        let _ = urlencoded(&noise, Api::OpenAiChat, DEPTH);
        let framed = [&b"--B\r\n"[..], &noise, b"\r\n--B--"].concat();
        let _ = multipart(&framed, "multipart/form-data; boundary=B", Api::OpenAiChat, DEPTH);
    }
}
