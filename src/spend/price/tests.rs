use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{Money, Usage};

fn book(map: &serde_json::Value, models: serde_json::Value, unknown: UnknownModel) -> PriceBook {
    let models: Vec<ModelEntry> = serde_json::from_value(models).unwrap();
    PriceBook::build(Some(map.to_string().as_bytes()), &models, unknown).unwrap()
}

fn tokens(input: u64, output: u64) -> Usage {
    Usage { input_tokens: input, output_tokens: output, ..Usage::default() }
}

/// Every feature of the format in one entry.
fn rich() -> serde_json::Value {
    json!({"litellm_provider": "p", "mode": "chat", "max_output_tokens": 100,
        "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6,
        "input_cost_per_token_above_1k_tokens": 3e-6, "output_cost_per_token_above_1k_tokens": 1e-6,
        "input_cost_per_token_flex": 5e-7, "input_cost_per_token_priority": 4e-6,
        "input_cost_per_token_above_1k_tokens_priority": 8e-6,
        "cache_read_input_token_cost": 1e-7, "cache_creation_input_token_cost": 1.25e-6,
        "cache_creation_input_token_cost_above_1hr": 2e-6,
        "input_cost_per_audio_token": 9e-6, "output_cost_per_audio_token": 7e-6,
        "output_cost_per_reasoning_token": 6e-6, "output_cost_per_image_token": 5e-6,
        "input_cost_per_second": 1e-4, "output_cost_per_second": 2e-4, "output_cost_per_image": 0.04,
        "input_cost_per_character": 1e-6, "ocr_cost_per_page": 1e-3, "input_cost_per_request": 5e-3,
        "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_medium": 0.02},
        "input_cost_per_token_decisions": 1.0, "supports_vision": true, "source": "https://example.com"})
}

#[test]
fn the_builtin_table_is_of_its_format_and_names_current_models() {
    assert!(list::read_map(BUILTIN).unwrap().len() > 120);
    let book = PriceBook::builtin();
    for (model, input, output) in [
        ("gpt-4o-mini", 1.5e-7, 6e-7),
        ("gpt-4o", 2.5e-6, 1e-5),
        ("text-embedding-3-small", 2e-8, 0.0),
        ("claude-3-5-sonnet", 3e-6, 1.5e-5),
    ] {
        let price = book.find(model).unwrap();
        assert_eq!(price.per_token(), (Price::from_dollars(input), Price::from_dollars(output)), "{model}");
        assert!(!price.is_free() && !price.is_unknown());
    }
    assert!(book.find("omni-moderation-latest").unwrap().is_free());
    assert!(book.find("no-such-model").is_none());
}

#[test]
fn each_part_of_a_usage_has_its_own_price() {
    let book = book(&json!({"m": rich()}), json!([]), UnknownModel::Deny);
    let price = book.find("m").unwrap();
    let request = 5_000_000;
    for (usage, nanos) in [
        (tokens(10, 10), 10_000 + 20_000),
        (tokens(1_000, 0), 1_000_000),
        (tokens(1_001, 1), 3_003_000 + 1_000),
        (Usage { cache_read_tokens: 4, cache_write_tokens: 3, cache_write_1h_tokens: 2, ..tokens(10, 0) }, 9_150),
        (Usage { input_audio_tokens: 1, ..tokens(2, 0) }, 10_000),
        (Usage { reasoning_tokens: 1, output_audio_tokens: 1, output_image_tokens: 1, ..tokens(0, 4) }, 20_000),
        (Usage { service_tier: Some("flex".into()), ..tokens(10, 0) }, 5_000),
        (Usage { service_tier: Some("default".into()), ..tokens(10, 0) }, 10_000),
        (Usage { service_tier: Some("priority".into()), ..tokens(2_000, 0) }, 16_000_000),
        (Usage { service_tier: Some("fast".into()), ..tokens(2_000, 0) }, 16_000_000),
        (Usage { cache_read_tokens: u64::MAX, input_audio_tokens: u64::MAX, ..tokens(2, 0) }, 200),
        (Usage { input_millis: 1, output_millis: 2, ..Usage::default() }, 500),
        (Usage { output_images: 2, ..Usage::default() }, 80_000_000),
        (Usage { pages: 2, searches: 1, ..Usage::default() }, 2_000_000 + 20_000_000),
    ] {
        assert_eq!(price.cost(&usage), Money::nanos(nanos + request), "{usage:?}");
    }
    assert_eq!(price.cost(&Usage::default()), Money::ZERO);
}

#[test]
fn a_tiered_price_is_that_of_the_range_the_prompt_lies_in() {
    let map = json!({"m": {"tiered_pricing": [
        {"range": [0, 32000.0], "input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6},
        {"range": [32000.0, 128000], "input_cost_per_token": 3e-6, "output_cost_per_token": 4e-6}]}});
    let price = book(&map, json!([]), UnknownModel::Deny).find("m").unwrap();
    assert_eq!(price.cost(&tokens(32_000, 1)), Money::nanos(32_000_000 + 2_000));
    assert_eq!(price.cost(&tokens(32_001, 1)), Money::nanos(96_003_000 + 4_000));
}

#[test]
fn a_wrong_type_refuses_the_whole_map_and_names_the_model_and_the_field() {
    for (field, value) in [
        ("input_cost_per_token", json!("free")),
        ("output_cost_per_token_flex", json!([1])),
        ("cache_read_input_token_cost", json!(-1e-6)),
        ("input_cost_per_token", json!(1e9)),
        ("max_output_tokens", json!("many")),
        ("max_output_tokens", json!(1.5)),
        ("mode", json!(3)),
        ("tiered_pricing", json!({"range": []})),
        ("tiered_pricing", json!([{"range": "0-9"}])),
        ("search_context_cost_per_query", json!(0.01)),
        ("search_context_cost_per_query", json!({"search_context_size_low": true})),
    ] {
        let map = json!({"good": {"input_cost_per_token": 1.0}, "bad-one": {field: value}}).to_string();
        let error = PriceBook::build(Some(map.as_bytes()), &[], UnknownModel::Deny).unwrap_err().to_string();
        assert!(error.contains("bad-one") && error.contains(field), "{error}");
    }
    for map in ["", "[]", "{\"m\": 1}", "{"] {
        assert!(PriceBook::build(Some(map.as_bytes()), &[], UnknownModel::Deny).is_err(), "{map}");
    }
}

#[test]
fn a_model_is_found_under_each_of_its_names() {
    let entry = |provider, dollars| json!({"litellm_provider": provider, "input_cost_per_token": dollars});
    let map = json!({
        "a-one": entry("openai", 1e-6), "acme/solo": entry("acme", 2e-6),
        "acme/twin": entry("acme", 3e-6), "zeta/twin": entry("zeta", 4e-6),
        "dated-20250101": entry("acme", 5e-6),
        "moved-20250101": entry("acme", 6e-6), "moved-20250202": entry("acme", 7e-6),
        "sample_spec": {"input_cost_per_token": "a description"}, "unpriced": {"max_output_tokens": 5}
    });
    let models = json!([
        {"model_name": "mine", "litellm_params": {"model": "acme/solo"}},
        {"model_name": "a-one", "model_info": {"input_cost_per_token": "8e-6"}},
        {"model_name": "acme/*", "litellm_params": {"model": "acme/*"}},
        {"model_name": "via-*", "litellm_params": {"model": "zeta/*"}},
        {"model_name": "via-own-*", "litellm_params": {"model": "zeta/*", "input_cost_per_token": 9e-6}},
        {"model_name": "both", "litellm_params": {"model": "acme/twin"}},
        {"model_name": "both", "litellm_params": {"model": "zeta/twin"}},
    ]);
    let book = book(&map, models, UnknownModel::Deny);
    for (name, micros) in [
        ("a-one", Some(8)),
        ("openai/a-one", Some(8)),
        ("azure/a-one", Some(8)),
        ("other/a-one", None),
        ("a-one-2025-03-04", Some(8)),
        ("solo", Some(2)),
        ("twin", None),
        ("dated", Some(5)),
        ("dated-latest", Some(5)),
        ("moved", None),
        ("mine", Some(2)),
        ("via-twin", Some(4)),
        ("via-own-twin", Some(9)),
        ("both", Some(4)),
        ("unpriced", None),
        ("sample_spec", None),
        ("", None),
    ] {
        let found = book.find(name);
        let cost = found.as_ref().map(|price| price.cost(&tokens(1, 0)).as_nanos() / 1_000);
        assert_eq!(cost, micros, "{name}");
        if let Some(found) = found {
            assert_eq!(book.find(found.name()).map(|again| again.name().clone()), Some(found.name().clone()), "{name}");
        }
    }
}

#[test]
fn of_several_deployments_the_dearest_is_held_and_the_last_is_booked() {
    let models = json!([
        {"model_name": "m", "litellm_params": {"input_cost_per_token": 5e-6}},
        {"model_name": "m", "litellm_params": {"input_cost_per_token": 1e-6}},
    ]);
    let price = book(&json!({}), models, UnknownModel::Deny).find("m").unwrap();
    assert_eq!(price.cost(&tokens(10, 0)), Money::nanos(10_000));
    assert_eq!(price.dearest(&Dearest { input_tokens: 10, ..Dearest::default() }), Money::nanos(50_000));
}

#[test]
fn an_unknown_model_gets_what_the_configuration_says() {
    let zero = book(&json!({}), json!([]), UnknownModel::Zero).find("x").unwrap();
    assert!(zero.is_unknown() && !zero.is_free(), "a spent budget still refuses it");
    assert_eq!(zero.cost(&tokens(1, 1)), Money::ZERO);
    let policy = UnknownModel::Price { input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 };
    let priced = book(&json!({}), json!([]), policy).find("x").unwrap();
    assert!(priced.is_unknown() && !priced.is_free());
    assert_eq!(priced.cost(&tokens(1, 1)), Money::nanos(3_000));
}

#[test]
fn a_size_and_a_quality_find_the_price_of_such_images_and_nothing_else() {
    let image = |dollars| json!({"mode": "image_generation", "output_cost_per_image": dollars});
    let map = json!({
        "hd/1024-x-1792/d": {"mode": "image_generation", "input_cost_per_pixel": 1e-8},
        "256-x-256/d": image(0.016), "standard/1024-x-1024/d": image(0.04),
        "azure/low/1024-x-1024/d": {"mode": "image_edit", "output_cost_per_image": 0.01},
        "ollama/d": {"mode": "chat", "input_cost_per_token": 0}, "9-x-9/d": {"mode": "chat", "input_cost_per_token": 0},
        "cheap/9-x-9/d": image(0.0), "x-x-x/d": image(0.0), "-x-/d": image(0.0),
    });
    let book = book(&map, json!([]), UnknownModel::Deny);
    let one = Usage { output_images: 1, ..Usage::default() };
    for (model, size, quality, micros) in [
        ("d", Some("1024x1792"), Some("hd"), Some(18_350)),
        ("d", Some("256x256"), None, Some(16_000)),
        ("d", None, None, Some(40_000)),
        ("azure/d", Some("1024x1024"), Some("low"), Some(10_000)),
        ("azure/d", None, Some("standard"), Some(40_000)),
        ("d", Some("ollama"), None, None),
        ("d", Some("9x9"), None, None),
        ("d", Some("9x9"), Some("cheap"), None),
        ("d", Some("xxx"), None, None),
        ("d", Some("x"), None, None),
        ("d", Some("auto"), None, None),
        ("d", Some("256x256"), Some("auto"), None),
        ("d", Some("256x256/"), None, None),
    ] {
        let cost = book.find_image(model, size, quality).map(|price| price.cost(&one).as_nanos() / 1_000);
        assert_eq!(cost, micros, "{model} {size:?} {quality:?}");
    }
}

#[test]
fn images_whose_tokens_have_no_price_and_text_that_has_two_are_paid_once() {
    let map = json!({
        "sized": {"mode": "image_generation", "input_cost_per_image": 0.167, "output_cost_per_pixel": 0.0},
        "both": {"mode": "image_generation", "output_cost_per_image": 0.1, "output_cost_per_image_token": 1e-5},
        "embedding": {"mode": "embedding", "input_cost_per_character": 2.5e-8, "input_cost_per_token": 1e-7},
        "spoken": {"mode": "audio_speech", "input_cost_per_character": 1e-6, "input_cost_per_token": 1e-6},
        "written": {"mode": "chat", "input_cost_per_character": 1e-6, "input_cost_per_token": 0},
    });
    let book = book(&map, json!([]), UnknownModel::Deny);
    let drawn = Usage { output_images: 1, output_image_tokens: 4_000, ..tokens(10, 4_000) };
    let read = Usage { input_characters: 4_000, ..tokens(1_000, 0) };
    for (model, usage, micros) in [
        ("sized", &drawn, 167_000),
        ("both", &drawn, 40_000),
        ("embedding", &read, 100),
        ("spoken", &read, 5_000),
        ("written", &read, 4_000),
    ] {
        let price = book.find(model).unwrap();
        assert_eq!(price.cost(usage), Money::nanos(micros * 1_000), "{model}");
        assert_eq!(price.is_paid_by_image_token(), model == "both", "{model}");
    }
}

#[test]
fn a_surcharge_raises_the_price_of_tokens_and_is_held_where_it_may_come() {
    let map = json!({"m": {"input_cost_per_token": 1e-6, "output_cost_per_token": 2e-6, "input_cost_per_request": 0.001,
        "cache_read_input_token_cost": 1e-7, "provider_specific_entry": {"us": 1.1, "fast": 2.0, "other": "text"}}});
    let price = book(&map, json!([]), UnknownModel::Deny).find("m").unwrap();
    let told = |names: &[&str]| Usage {
        cache_read_tokens: 100,
        surcharges: names.iter().map(|name| (*name).to_owned()).collect(),
        ..tokens(200, 100)
    };
    for (names, nanos) in [(&[][..], 310_000), (&["us"], 341_000), (&["fast", "us"], 682_000), (&["other"], 310_000)] {
        assert_eq!(price.cost(&told(names)), Money::nanos(nanos + 1_000_000), "{names:?}");
    }
    let ask = Dearest { input_tokens: 200, output_tokens: 100, ..Dearest::default() };
    for (is_fast, is_regional, nanos) in [(false, false, 400_000), (false, true, 440_000), (true, true, 880_000)] {
        let ask = Dearest { is_fast, is_regional, ..ask };
        assert_eq!(price.dearest(&ask), Money::nanos(nanos + 1_000_000), "{ask:?}");
    }
    let wrong = json!({"m": {"input_cost_per_token": 1.0, "provider_specific_entry": {"fast": "twice"}}}).to_string();
    assert!(PriceBook::build(Some(wrong.as_bytes()), &[], UnknownModel::Deny).is_err());
}

#[test]
fn two_books_of_one_list_have_one_version_and_a_changed_price_another() {
    let version = |dollars: f64| {
        book(&json!({"m": {"input_cost_per_token": dollars}}), json!([]), UnknownModel::Deny).version().clone()
    };
    assert_eq!(version(1e-6), version(1e-6));
    assert_ne!(version(1e-6), version(2e-6));
    assert_eq!(version(1e-6).len(), 12);
}

prop_compose! {
    /// A bound and a usage within it.
    fn bounded()(
        input in 0_u64..3_000, output in 0_u64..3_000, choices in 1_u64..4, images in 0_u64..3,
        characters in 0_u64..100, millis in 0_u64..5_000, pages in 0_u64..3, asked in 0_usize..4, got in any::<bool>(),
        share in prop::array::uniform12(0_u64..=100),
    ) -> (Dearest<'static>, Usage) {
        let tier = [None, Some("flex"), Some("priority"), Some("auto")][asked];
        let ask = Dearest {
            input_tokens: input, output_tokens: output, choices, images_out: images,
            input_characters: characters, media_millis: millis, pages, service_tier: tier,
            ..Dearest::default()
        };
        let part = |whole: u64, share: u64| whole * share / 100;
        let used = part(input, share[0]);
        let made = part(output * choices, share[1]);
        let usage = Usage {
            input_tokens: used,
            cache_read_tokens: part(used, share[2]),
            cache_write_tokens: part(used, share[3]),
            cache_write_1h_tokens: part(used, share[4]),
            input_audio_tokens: if millis > 0 { part(used, share[5]) } else { 0 },
            input_image_tokens: part(used, share[6]),
            output_tokens: made,
            reasoning_tokens: part(made, share[7]),
            output_audio_tokens: part(made, share[8]),
            output_image_tokens: part(made, share[9]),
            input_millis: part(millis, share[10]),
            output_millis: part(millis, share[11]),
            input_characters: characters,
            output_images: images,
            pages,
            service_tier: if got { tier.map(str::to_owned) } else { None },
            ..Usage::default()
        };
        (ask, usage)
    }
}

proptest! {
    #[test]
    fn no_usage_within_a_bound_costs_more_than_what_is_held((ask, usage) in bounded(), omit: Vec<prop::sample::Index>) {
        let mut entry = rich();
        let fields: Vec<String> = entry.as_object().unwrap().keys().cloned().collect();
        for omitted in omit {
            entry.as_object_mut().unwrap().remove(omitted.get(&fields));
        }
        entry["input_cost_per_request"] = json!(0.001);
        let price = book(&json!({"m": entry}), json!([]), UnknownModel::Deny).find("m").unwrap();
        prop_assert!(price.cost(&usage) <= price.dearest(&ask), "{:?} > {:?}", price.cost(&usage), price.dearest(&ask));
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error(bytes: Vec<u8>) {
        let _ = PriceBook::build(Some(&bytes), &[], UnknownModel::Deny);
    }
}
