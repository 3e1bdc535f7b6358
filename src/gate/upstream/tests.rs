use super::*;
use crate::request::{Headers, ReadSettings};

fn request<'a>(path: &'a str, headers: &[(&'a str, &'a str)]) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        path,
        headers: Headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
        body: None,
        source: None,
        source_principal: "",
        extensions: Vec::new(),
        gateway: [127, 0, 0, 1].into(),
    }
}

#[test]
fn what_a_server_may_take_for_our_headers_is_no_more_passed_on_than_they_are() {
    let names = ["x-tollward-role", "x_tollward_role", "x-tollward_key-id", "X_Tollward-Team-Id"];
    let others = ["x-tollwardrole", "x-toll", "xtollward-role", "accept"];
    let headers: Vec<_> = names.iter().chain(&others).map(|name| (*name, "proxy_admin")).collect();
    let http = request("/", &headers);
    assert_eq!(client_copies(&http, None, |_| false), names);
    assert_eq!(client_copies(&http, None, |name| name == "x-tollward-role"), names[1..], "what is set stays set");
}

#[test]
fn the_credential_is_taken_out_wherever_it_stands_and_another_stays() {
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, Pairs<'_>, &[&str], &[&str], Pairs<'_>)] = &[
        ("/v1/models", &[("authorization", "Bearer sk-X")], &["authorization"], &[], &[]),
        (
            "/v1/models",
            &[("x-litellm-api-key", "sk-X"), ("authorization", "Bearer sk-X"), ("x_api_key", "sk-X")],
            &["x-litellm-api-key", "authorization", "x_api_key"],
            &[],
            &[],
        ),
        (
            "/v1/models",
            &[("x-litellm-api-key", "sk-X"), ("authorization", "Bearer sk-Y"), ("accept", "sk-X")],
            &["x-litellm-api-key"],
            &[],
            &[],
        ),
        (
            "/v1/models",
            &[("authorization", "Bearer sk-X"), ("api-key", "other,sk-X")],
            &["authorization", "api-key"],
            &[],
            &[],
        ),
        (
            "/v1beta/models/g:generateContent?key=sk-X&alt=sse",
            &[("x-goog-api-key", "sk-X")],
            &["x-goog-api-key"],
            &["key"],
            &[],
        ),
        ("/v1beta/models/g:generateContent?key=sk-Y", &[("x-goog-api-key", "sk-X")], &["x-goog-api-key"], &[], &[]),
        ("/v1/models?k%65y=sk-X", &[("authorization", "Bearer sk-X")], &["authorization"], &["k%65y"], &[]),
        ("/v1beta/models/g:generateContent?key=sk-X", &[], &[], &["key"], &[]),
        (
            "/v1/realtime",
            &[("upgrade", "websocket"), ("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-X")],
            &[],
            &[],
            &[("sec-websocket-protocol", "realtime")],
        ),
        (
            "/v1/realtime",
            &[
                ("upgrade", "websocket"),
                ("authorization", "Bearer sk-X"),
                ("sec-websocket-protocol", "openai-insecure-api-key.sk-X"),
            ],
            &["authorization", "sec-websocket-protocol"],
            &[],
            &[],
        ),
        ("/v1/models", &[], &[], &[], &[]),
    ];
    let settings = ReadSettings::new(&crate::config::Config::default());
    for (path, headers, removed, parameters, put) in cases {
        let http = request(path, headers);
        let view = RequestView::read(&http, &settings).unwrap();
        let (mut set, mut remove, mut remove_query) = (Fields::default(), Vec::new(), Vec::new());
        take_credentials(&view, &settings.credential, None, &mut set, &mut remove, &mut remove_query);
        assert_eq!(remove, *removed, "{path} {headers:?}");
        assert_eq!(remove_query, *parameters, "{path} {headers:?}");
        assert!(set.iter().eq(put.iter().copied()), "{path} {headers:?}: {set:?}");
    }
}

#[test]
fn no_credential_of_the_client_reaches_a_provider_whose_key_is_injected() {
    let headers = [
        ("authorization", "Bearer sk-X"),
        ("x-api-key", "theirs"),
        ("x_api_key", "theirs"),
        ("accept", "a"),
        ("sec-websocket-protocol", "realtime, openai-insecure-api-key.theirs"),
    ];
    let http = request("/v1/messages", &headers);
    let settings = ReadSettings::new(&crate::config::Config::default());
    let view = RequestView::read(&http, &settings).unwrap();
    let (mut set, mut remove, mut remove_query) = (Fields::default(), Vec::new(), Vec::new());
    take_credentials(&view, &settings.credential, Some("x-api-key"), &mut set, &mut remove, &mut remove_query);
    assert_eq!(remove, ["authorization", "x_api_key"]);
    assert!(set.iter().eq([("sec-websocket-protocol", "realtime")]), "{set:?}");
}
