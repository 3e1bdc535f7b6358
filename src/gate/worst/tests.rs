use serde_json::json;
use smallvec::SmallVec;

use super::*;
use crate::config::{Config, UnknownModel};
use crate::request::{Headers, HttpRequest, ReadSettings};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const IMAGES: &str = "/v1/images/generations";

/// Dollars and bounds that are easy to tell apart.
fn book() -> PriceBook {
    let image = |dollars| json!({"mode": "image_generation", "input_cost_per_image": dollars});
    let map = json!({
        "m": {"mode": "chat", "output_cost_per_token": 1e-6, "max_output_tokens": 50_000},
        "free/m": {"mode": "chat", "input_cost_per_token": 0}, "m/m": {"mode": "chat", "input_cost_per_token": 0},
        "drawn": {"mode": "image_generation", "output_cost_per_image": 0.1},
        "256-x-256/drawn": image(0.02), "hd/256-x-256/drawn": image(0.08), "standard/1024-x-1024/drawn": image(0.05),
        "tokens": {"mode": "image_generation", "output_cost_per_image_token": 1e-6},
        "high/1024-x-1024/tokens": image(0.25),
        "amazon.canvas-v1:0": {"mode": "image_generation", "output_cost_per_image": 0.06},
        "ocr": {"mode": "ocr", "ocr_cost_per_page": 0.001},
        "claude": {"mode": "chat", "output_cost_per_token": 1e-6,
            "provider_specific_entry": {"fast": 6.0, "us": 1.1}},
    });
    PriceBook::build(Some(map.to_string().as_bytes()), &[], UnknownModel::Deny).unwrap()
}

fn request<'a>(path: &'a str, headers: &[(&'a str, &'a str)], body: &'a [u8]) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        path,
        headers: Headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
        body: Some(body),
        source: None,
        source_principal: "",
        extensions: Vec::new(),
        gateway: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

/// The dearest case: micro-dollars, output tokens of a choice, and whether it is a bound and a guess.
fn worst(path: &str, headers: &[(&str, &str)], body: &str, cap_output: bool) -> (i64, u64, bool, bool) {
    let http = request(path, headers, body.as_bytes());
    let view = RequestView::read(&http, &ReadSettings::new(&Config::default())).unwrap();
    let name: Arc<str> = view.model.as_ref().unwrap().as_deref().unwrap().into();
    let model = ModelUse { name: Arc::clone(&name), target: name, groups: SmallVec::new(), helps: false };
    let quota = Quota { cap_output, default_output_tokens: 1_000, ..Quota::default() };
    let worst = worst_of(&Asked { view: &view, key: None, quota: &quota }, &book(), &model).unwrap();
    (worst.cost.as_nanos() / 1_000, worst.output_tokens, worst.bounded, worst.guessed)
}

fn micros(path: &str, body: &str) -> i64 {
    worst(path, &[], body, false).0
}

#[test]
fn a_size_and_a_quality_choose_the_price_of_images_alone() {
    for (path, body, expected) in [
        (CHAT, r#"{"model":"m","size":"free"}"#, 1_000),
        (CHAT, r#"{"model":"m","quality":"free","size":"m"}"#, 1_000),
        (CHAT, r#"{"model":"m","extra_body":{"size":"free"}}"#, 1_000),
        (IMAGES, r#"{"model":"m","size":"free","max_tokens":7}"#, 7),
        (IMAGES, r#"{"model":"drawn","size":"256x256","quality":"hd"}"#, 80_000),
        (IMAGES, r#"{"model":"drawn","size":"256x256","n":3}"#, 60_000),
        (IMAGES, r#"{"model":"drawn"}"#, 50_000),
        (IMAGES, r#"{"model":"drawn","size":"auto"}"#, 100_000),
        (IMAGES, r#"{"model":"drawn","size":"256x256","extra_body":{"size":"512x512"}}"#, 100_000),
        // Booked by the tokens that are told, held by what they come to.
        (IMAGES, r#"{"model":"tokens","size":"1024x1024","quality":"high","n":2}"#, 500_000),
        (IMAGES, r#"{"model":"tokens"}"#, 1_000),
    ] {
        assert_eq!(micros(path, body), expected, "{path} {body}");
    }
}

#[test]
fn every_prompt_of_a_completion_is_held_an_answer() {
    for (path, body, expected) in [
        (COMPLETIONS, r#"{"model":"m","max_tokens":100,"prompt":"a"}"#, 100),
        (COMPLETIONS, r#"{"model":"m","max_tokens":100,"prompt":["a","b","c"],"n":2}"#, 600),
        (COMPLETIONS, r#"{"model":"m","max_tokens":100,"prompt":[1,2,3]}"#, 100),
        (COMPLETIONS, r#"{"model":"m","max_tokens":100,"prompt":[[1,2],[3]]}"#, 200),
    ] {
        assert_eq!(micros(path, body), expected, "{body}");
    }
    let many = json!({"model": "m", "max_tokens": 1, "prompt": vec!["a"; 2_000]}).to_string();
    assert_eq!(micros(COMPLETIONS, &many), 2_000, "prompts are not choices, of which there may be few");
}

#[test]
fn a_model_that_helps_is_held_beside_the_dearest_that_answers() {
    let body = br#"{"model":"m","max_tokens":100}"#;
    let http = request(CHAT, &[], body);
    let view = RequestView::read(&http, &ReadSettings::new(&Config::default())).unwrap();
    let quota = Quota::default();
    let asked = Asked { view: &view, key: None, quota: &quota };
    let models = |helps: &[bool]| -> Vec<ModelUse> {
        let name: Arc<str> = "m".into();
        let model = |helps: &bool| ModelUse {
            name: Arc::clone(&name),
            target: Arc::clone(&name),
            groups: SmallVec::new(),
            helps: *helps,
        };
        helps.iter().map(model).collect()
    };
    for (helps, expected) in [
        (&[false][..], Some((100, true))),
        (&[false, false], Some((100, true))),
        (&[false, true], Some((200, false))),
        (&[true, false, true], Some((300, false))),
        (&[true], None),
    ] {
        let models = models(helps);
        let found = dearest(&asked, &book(), &models).unwrap();
        assert_eq!(found.map(|worst| (worst.cost.as_nanos() / 1_000, worst.bounded)), expected, "{helps:?}");
    }
}

#[test]
fn what_is_held_is_a_bound_where_a_cap_is_there_or_can_be_written() {
    let form = &[("content-type", "application/x-www-form-urlencoded")][..];
    let plain = &[("content-encoding", "identity")][..];
    for (path, headers, body, cap_output, expected) in [
        (CHAT, &[][..], r#"{"model":"m","max_tokens":7}"#, false, (7, true, false)),
        (CHAT, &[], r#"{"model":"m"}"#, false, (1_000, false, true)),
        (CHAT, plain, r#"{"model":"m"}"#, true, (1_000, true, false)),
        (CHAT, &[], r#"{"model":"m","max_tokens":-1}"#, true, (1_000, true, false)),
        (CHAT, &[], r#"{"model":"m","max_tokens":-1}"#, false, (1_000, false, true)),
        (CHAT, form, "model=m", true, (1_000, false, true)),
        (IMAGES, &[], r#"{"model":"tokens"}"#, true, (1_000, false, true)),
        ("/v1/embeddings", &[], r#"{"model":"m"}"#, false, (0, true, false)),
        ("/v1/ocr", &[], r#"{"model":"ocr"}"#, true, (0, false, false)),
        (RESPONSES, &[], r#"{"model":"m","max_output_tokens":7,"input":"a"}"#, false, (7, true, false)),
        (RESPONSES, &[], r#"{"model":"m","max_output_tokens":7,"conversation":"c"}"#, false, (7, false, false)),
        (RESPONSES, &[], r#"{"model":"m","max_output_tokens":7,"prompt":{"id":"p"}}"#, false, (7, false, false)),
        (RESPONSES, &[], r#"{"model":"m","max_output_tokens":7,"input":[{"file_id":"f"}]}"#, false, (7, false, false)),
    ] {
        let (_, tokens, bounded, guessed) = worst(path, headers, body, cap_output);
        assert_eq!((tokens, bounded, guessed), expected, "{path} {headers:?} {body}");
    }
    let compressed = request(CHAT, &[("content-encoding", "gzip")], b"{}");
    assert!(!can_be_capped(&RequestView::read(&compressed, &ReadSettings::new(&Config::default())).unwrap()));
}

#[test]
fn units_other_than_tokens_are_held_too() {
    let canvas = "/model/amazon.canvas-v1%3A0/invoke";
    let large = format!(r#"{{"model":"ocr","document":{{"document_url":"{}"}}}}"#, "A".repeat(200_000));
    for (path, body, expected) in [
        (canvas, r#"{"taskType":"TEXT_IMAGE","imageGenerationConfig":{"numberOfImages":3}}"#, 180_000),
        (canvas, r#"{"taskType":"TEXT_IMAGE"}"#, 60_000),
        ("/v1/ocr", r#"{"model":"ocr","document":{"document_url":"https://x/y.pdf"}}"#, 1_000),
        ("/v1/ocr", &large, 4_000),
    ] {
        assert_eq!(micros(path, body), expected, "{path}");
    }
}

#[test]
fn a_surcharge_is_held_where_the_request_asks_for_it_or_need_not() {
    for (path, body, expected) in [
        (MESSAGES, r#"{"model":"claude","max_tokens":100}"#, 110),
        (MESSAGES, r#"{"model":"claude","max_tokens":100,"speed":"fast"}"#, 660),
        (MESSAGES, r#"{"model":"claude","max_tokens":100,"speed":"standard"}"#, 110),
        (CHAT, r#"{"model":"claude","max_tokens":100}"#, 100),
    ] {
        assert_eq!(micros(path, body), expected, "{path} {body}");
    }
}
