use std::io::Write;

use super::super::Headers;
use super::*;
use crate::config::HeaderMapping;

fn settings() -> ReadSettings {
    ReadSettings::new(&Config::default())
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

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The model, or the status and reason of the refusal.
fn model(path: &str, headers: &[(&str, &str)], body: &str) -> Result<Option<String>, (u16, String)> {
    let http = request(path, headers, body.as_bytes());
    let view = RequestView::read(&http, &settings()).unwrap();
    view.body.map_err(|denial| (denial.status, denial.reason.to_string()))?;
    view.model.map(|model| model.map(Cow::into_owned)).map_err(|denial| (denial.status, denial.reason.to_string()))
}

#[test]
fn all_sources_of_the_model_must_agree() {
    let cases: &[(&str, &[(&str, &str)], &str, Result<Option<&str>, u16>)] = &[
        ("/v1/chat/completions", &[], r#"{"model":"a"}"#, Ok(Some("a"))),
        ("/v1/chat/completions", &[], r#"{"model":"a,b"}"#, Ok(Some("a,b"))),
        ("/v1/chat/completions", &[], "{}", Ok(None)),
        ("/v1/chat/completions", &[], "", Ok(None)),
        ("/v1/chat/completions?model=a", &[], r#"{"model":"a"}"#, Ok(Some("a"))),
        ("/v1/chat/completions?model=b", &[], r#"{"model":"a"}"#, Err(400)),
        ("/v1/chat/completions?mod%65l=b", &[], r#"{"model":"a"}"#, Err(400)),
        ("/v1/chat/completions?model=%ff", &[], r#"{"model":"a"}"#, Err(400)),
        ("/v1/chat/completions", &[("x-litellm-model", "b")], r#"{"model":"a"}"#, Ok(Some("a"))),
        ("/openai/deployments/a/chat/completions", &[], "{}", Ok(Some("a"))),
        ("/openai/deployments/a/chat/completions", &[], r#"{"model":"a"}"#, Ok(Some("a"))),
        ("/openai/deployments/a/chat/completions", &[], r#"{"model":"b"}"#, Err(400)),
        ("/v1beta/models/e:embedContent", &[], r#"{"model":"models/e"}"#, Ok(Some("e"))),
        ("/v1beta/models/e:batchEmbedContents", &[], r#"{"requests":[{"model":"models/e"}]}"#, Ok(Some("e"))),
        ("/v1beta/models/e:batchEmbedContents", &[], r#"{"requests":[{"model":"models/f"}]}"#, Err(400)),
        ("/v1/files", &[("x-litellm-model", "restricted")], "", Ok(Some("restricted"))),
        ("/v1/batches?model=a", &[("x-litellm-model", "b")], "", Err(400)),
        ("/v1/files?target_model_names=a,b", &[], "", Ok(Some("a,b"))),
        ("/v1/realtime?model=gpt-realtime", &[], "", Ok(Some("gpt-realtime"))),
        ("/openai/realtime?api-version=1&deployment=gpt-realtime", &[], "", Ok(Some("gpt-realtime"))),
        ("/openai/realtime?deployment=a&model=b", &[], "", Err(400)),
        ("/v1/responses?deployment=a", &[], r#"{"model":"b"}"#, Ok(Some("b"))),
        ("/v1/realtime/client_secrets", &[], r#"{"session":{"model":"a"}}"#, Ok(Some("a"))),
        ("/v1/chat/completions", &[], r#"{"model":"a","extra_body":{"model":"b"}}"#, Err(400)),
        ("/v1/chat/completions", &[], r#"{"model":"a\nb"}"#, Err(400)),
        ("/key/generate?model=x", &[], r#"{"model":"a"}"#, Ok(None)),
        ("/model/m/converse", &[], r#"{"messages":[]}"#, Ok(Some("m"))),
    ];
    for (path, headers, body, expected) in cases {
        let found = model(path, headers, body).map_err(|(status, _)| status);
        assert_eq!(found, expected.map(|model| model.map(str::to_owned)), "{path} {body}");
    }
}

#[test]
fn a_disagreement_repeats_no_more_than_the_beginning_of_the_names() {
    let long = "x".repeat(256);
    let body = format!(r#"{{"model":"{long}"}}"#);
    let http = request("/v1/chat/completions?model=b", &[], body.as_bytes());
    let denial = RequestView::read(&http, &settings()).unwrap().model.unwrap_err();
    assert!(denial.message.len() < 200 && denial.message.contains("`b`"), "{}", denial.message);
}

#[test]
fn a_name_of_a_model_that_is_too_long_to_be_booked_is_refused_wherever_it_stands() {
    let (most, long) = ("x".repeat(256), "x".repeat(257));
    let in_body = |model: &str| format!(r#"{{"model":"{model}"}}"#);
    let fallback = |model: &str| format!(r#"{{"model":"a","fallbacks":["{model}"]}}"#);
    let list = |model: &str| format!("{most}, {model} ,b");
    for (path, headers, body, is_read) in [
        ("/v1/chat/completions", None, in_body(&most), true),
        ("/v1/chat/completions", None, in_body(&long), false),
        ("/v1/chat/completions", None, in_body(&list(&most)), true),
        ("/v1/chat/completions", None, in_body(&list(&long)), false),
        ("/v1/chat/completions", None, fallback(&most), true),
        ("/v1/chat/completions", None, fallback(&long), false),
        (&format!("/v1/realtime?model={most}"), None, String::new(), true),
        (&format!("/v1/realtime?model={long}"), None, String::new(), false),
        (&format!("/openai/deployments/{long}/chat/completions"), None, "{}".to_owned(), false),
        ("/v1/files", Some(&most), String::new(), true),
        ("/v1/files", Some(&long), String::new(), false),
        ("/v1/files", Some(&"a,".repeat(4_097)), String::new(), false),
    ] {
        let headers: Vec<_> = headers.into_iter().map(|name| ("x-litellm-model", name.as_str())).collect();
        let http = request(path, &headers, body.as_bytes());
        let view = RequestView::read(&http, &settings()).unwrap();
        let found = view.body.and(view.model);
        let told = found.as_ref().map_err(|denial| (denial.status, denial.message.contains("longer than 256 bytes")));
        assert_eq!(told.map(|_| ()), if is_read { Ok(()) } else { Err((400, true)) }, "{path} {body}");
    }
}

#[test]
fn the_content_type_decides_how_a_body_is_read_but_hides_no_json() {
    let json = r#"{"model":"a"}"#;
    let cases: &[(&str, &str, &str, Result<Option<&str>, u16>)] = &[
        ("/v1/chat/completions", "", json, Ok(Some("a"))),
        ("/v1/chat/completions", "Application/JSON; charset=utf-8", json, Ok(Some("a"))),
        ("/v1/chat/completions", "application/vnd.api+json", json, Ok(Some("a"))),
        ("/v1/chat/completions", "text/plain", json, Ok(Some("a"))),
        ("/v1/chat/completions", "audio/wav", json, Ok(Some("a"))),
        ("/v1/chat/completions", "audio/wav", "RIFF", Err(400)),
        ("/v1/chat/completions", "application/x-www-form-urlencoded", "model=a", Ok(Some("a"))),
        ("/v1/chat/completions", "application/x-www-form-urlencoded", json, Err(400)),
        ("/v1/audio/transcriptions", "text/plain", json, Ok(Some("a"))),
        ("/v1/audio/transcriptions", "audio/wav", "RIFF", Ok(None)),
        ("/v1/audio/transcriptions", "multipart/form-data; boundary=B", "--B--", Ok(None)),
        ("/v1/audio/transcriptions", "multipart/form-data", "--B--", Err(400)),
        ("/v1/files", "application/octet-stream", "{not json", Ok(None)),
        ("/elsewhere", "application/json", "{not json", Ok(None)),
    ];
    for (path, content_type, body, expected) in cases {
        let found = model(path, &[("content-type", content_type)], body).map_err(|(status, _)| status);
        assert_eq!(found, expected.map(|model| model.map(str::to_owned)), "{path} {content_type} {body}");
    }
    let two = &[("content-type", "application/json"), ("content-type", "text/plain")];
    assert_eq!(model("/v1/chat/completions", two, json).unwrap_err().0, 400);
}

#[test]
fn a_compressed_body_is_read_within_the_bound() {
    let packed = gzip(br#"{"model":"a","user":"u"}"#);
    let http = request("/v1/chat/completions", &[("content-encoding", "gzip")], &packed);
    let view = RequestView::read(&http, &settings()).unwrap();
    assert_eq!(view.model.unwrap().as_deref(), Some("a"));
    let small = ReadSettings { max_decoded_body: 5, ..settings() };
    assert_eq!(RequestView::read(&http, &small).unwrap().body.unwrap_err().status, 413);
    let http = request("/v1/chat/completions", &[("content-encoding", "snappy")], &packed);
    assert_eq!(RequestView::read(&http, &settings()).unwrap().body.unwrap_err().status, 415);
}

#[test]
fn a_member_of_an_object_is_found_in_bodies_of_every_kind() {
    let json = br#"{"metadata":{"job":1,"deep":{"x":1}},"list":[{"y":1}],"text":"{\"z\":1}","word":"job","jo\u0062":{"a\u0062":1}}"#;
    let packed = gzip(json);
    let form = b"metadata%5Bjob%5D=1&metadata[deep][]=1&text=%7B%22z%22:1%7D&word=job";
    let part =
        |name: &str, value: &str| format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let parts =
        [part("metadata[job]", "1"), part("metadata[deep]", "1"), part("text", r#"{"z":1}"#), "--B--".to_owned()];
    let parts = parts.concat();
    let urlencoded = ("content-type", "application/x-www-form-urlencoded");
    let bodies: [(&str, (&str, &str), &[u8]); 4] = [
        ("json", ("content-type", "application/json"), json),
        ("gzip", ("content-encoding", "gzip"), &packed),
        ("form", urlencoded, form),
        ("parts", ("content-type", "multipart/form-data; boundary=B"), parts.as_bytes()),
    ];
    for (kind, header, body) in bodies {
        let headers = [header];
        let http = request("/v1/images/edits", &headers, body);
        let view = RequestView::read(&http, &settings()).unwrap();
        for (object, member, is_held) in [
            ("metadata", "job", true),
            ("metadata", "deep", true),
            ("metadata", "x", false),
            ("metadata", "z", false),
            ("text", "z", true),
            ("text", "job", false),
            ("word", "job", false),
            ("list", "y", false),
            ("other", "job", false),
        ] {
            assert_eq!(view.holds_member(&settings(), object, member), is_held, "{object}.{member} in {kind}");
        }
        assert!(view.body.unwrap().keys.iter().any(|key| key == "metadata"), "{kind}");
    }
    let http = request("/v1/chat/completions", &[], json);
    assert!(RequestView::read(&http, &settings()).unwrap().holds_member(&settings(), "job", "ab"), "escapes");
}

#[test]
fn a_cut_body_is_refused_unless_allowed_and_then_must_name_its_model() {
    let deny = settings();
    let allow = ReadSettings { partial_body: PartialBody::Allow, ..settings() };
    let packed = gzip(b"{}");
    let cases: &[(&[(&str, &str)], &[u8], u16)] = &[
        (&[], br#"{"model":"a","x":"#, 200),
        (&[], br#"{"x":"#, 413),
        (&[], br#"{"model":"a",}"#, 400),
        (&[("content-encoding", "gzip")], &packed, 413),
        (&[("content-type", "multipart/form-data; boundary=B")], b"--B--", 413),
        (&[], b"", 413),
    ];
    for (headers, body, expected) in cases {
        let headers = [headers, &[("x-envoy-auth-partial-body", "true")][..]].concat();
        let http = request("/v1/chat/completions", &headers, body);
        let status =
            |settings| RequestView::read(&http, settings).unwrap().body.map_or_else(|denial| denial.status, |_| 200);
        assert_eq!(status(&deny), 413);
        assert_eq!(status(&allow), *expected, "{}", String::from_utf8_lossy(body));
    }
    let http = request("/v1/chat/completions", &[("x-envoy-auth-partial-body", "false")], br#"{"model":"a"}"#);
    assert!(RequestView::read(&http, &deny).unwrap().body.is_ok());
}

#[test]
fn a_body_over_the_operators_bound_is_refused() {
    let mut config = Config::default();
    config.general_settings.max_request_size_mb = Some(0.00001);
    let small = ReadSettings::new(&config);
    for (headers, body, is_ok) in [
        (&[][..], &b"{}"[..], true),
        (&[][..], &b"{\"model\":\"abc\"}"[..], false),
        (&[("content-length", "100")][..], &b"{}"[..], false),
    ] {
        let http = request("/v1/chat/completions", headers, body);
        assert_eq!(RequestView::read(&http, &small).unwrap().body.is_ok(), is_ok);
    }
}

#[test]
fn what_is_not_seen_is_unmeterable() {
    let cases: &[(&str, &str, &[(&str, &str)], Api, bool)] = &[
        ("GET", "/v1/responses/r", &[], Api::Free, false),
        ("GET", "/v1/responses/r", &[("upgrade", "WebSocket")], Api::Unmeterable, true),
        ("POST", "/v1/chat/completions", &[("upgrade", "websocket")], Api::Unmeterable, true),
        ("GET", "/elsewhere", &[("upgrade", "websocket")], Api::NotModel, true),
        ("POST", "/v1/chat/completions", &[("upgrade", "h2c")], Api::OpenAiChat, false),
        ("CONNECT", "/v1/realtime", &[(":protocol", "websocket")], Api::Unmeterable, true),
        ("GET", "/v1/models", &[("x-http-method-override", "POST")], Api::Unmeterable, false),
        ("GET", "/v1/models", &[("x_http_method_override", "POST")], Api::Unmeterable, false),
    ];
    for (method, path, headers, api, is_websocket) in cases {
        let http = HttpRequest { method, ..request(path, headers, b"") };
        let route = RequestView::read(&http, &settings()).unwrap().route;
        assert_eq!((route.api, route.is_websocket), (*api, *is_websocket), "{method} {path}");
    }
}

#[test]
fn a_body_that_is_hidden_behind_a_socket_is_refused() {
    let upgrade = &[("upgrade", "websocket")][..];
    for (method, path, headers, body, is_ok) in [
        ("POST", "/v1/chat/completions", upgrade, "", false),
        ("POST", "/v1/batches", upgrade, "", false),
        ("POST", "/v1/chat/completions", upgrade, r#"{"model":"a"}"#, true),
        ("POST", "/v1/chat/completions", &[], "", true),
        ("POST", "/elsewhere", upgrade, "", true),
        ("GET", "/v1/realtime", upgrade, "", true),
        ("CONNECT", "/v1/realtime", &[(":protocol", "websocket")], "", true),
    ] {
        let http = HttpRequest { method, ..request(path, headers, body.as_bytes()) };
        let read = RequestView::read(&http, &settings()).unwrap().body;
        assert_eq!(read.map_or_else(|denial| denial.status, |_| 200), if is_ok { 200 } else { 400 }, "{method} {path}");
    }
}

#[test]
fn only_an_unreadable_path_is_an_error_at_once() {
    let http = request("/v1%2fmodels", &[], b"");
    assert_eq!(RequestView::read(&http, &settings()).unwrap_err().status, 400);
    let http = request("/v1/chat/completions", &[], b"{broken");
    let view = RequestView::read(&http, &settings()).unwrap();
    assert!(matches!(view.credential, crate::request::CredentialRead::Missing) && view.body.is_err());
}

#[test]
fn the_host_says_nothing_about_the_route() {
    for host in ["localhost/?x=1", "user@h", "[::1]/v1/models", "h/#"] {
        let http = request("/v1/chat/completions", &[(":authority", host), ("host", host)], b"");
        let view = RequestView::read(&http, &settings()).unwrap();
        assert_eq!((view.route.api, &*view.route.path), (Api::OpenAiChat, "/v1/chat/completions"));
    }
}

#[test]
fn headers_name_the_end_user_before_the_body() {
    let mut config = Config::default();
    config.general_settings.user_header_name = Some("X-User".to_owned());
    let by_name = ReadSettings::new(&config).end_user;
    let mapping =
        |role: &str, header: &str| HeaderMapping { header_name: header.to_owned(), litellm_user_role: role.to_owned() };
    config.general_settings.user_header_mappings = vec![mapping("internal_user", "X-I"), mapping("customer", "X-C")];
    let by_mapping = ReadSettings::new(&config).end_user;
    let all = &[("x-user", "n"), ("x-i", "i"), ("x-c", "m"), ("x-litellm-end-user-id", "e")][..];
    let cases: &[(&[(&str, &str)], &EndUserSettings, &str)] = &[
        (all, &by_name, "e"),
        (&all[..3], &by_name, "n"),
        (&all[..3], &by_mapping, "m"),
        (&[("x-litellm-end-user-id", "e"), ("x-litellm-customer-id", "c")], &by_name, "c"),
        (&[("x-litellm-customer-id", " ")], &by_name, "b"),
        (&[("x-i", "i")], &by_mapping, "b"),
    ];
    for (headers, settings_of_users, expected) in cases {
        let http = request("/v1/chat/completions", headers, br#"{"user":"b"}"#);
        let view = RequestView::read(&http, &settings()).unwrap();
        assert_eq!(view.end_user(settings_of_users).as_deref(), Some(*expected), "{headers:?}");
    }
}

#[test]
fn tags_of_body_and_header_are_united() {
    let headers = &[("x-litellm-tags", "c, a,,d")];
    let http = request("/v1/chat/completions", headers, br#"{"tags":["b"],"metadata":{"tags":["a","b"]}}"#);
    assert_eq!(RequestView::read(&http, &settings()).unwrap().tags(), ["a", "b", "c", "d"]);
}
