use proptest::prelude::*;

use super::super::Headers;
use super::*;

/// What was found: the key and the place, `Err` for a malformed source.
type Expected = Option<Result<(&'static str, &'static str), &'static str>>;

fn place(source: &CredentialSource<'_>) -> String {
    match source {
        CredentialSource::Header(name) => name.to_string(),
        CredentialSource::Query => "?".to_owned(),
        CredentialSource::WebSocketProtocol => "ws".to_owned(),
        CredentialSource::Cookie(name) => format!("cookie {name}"),
    }
}

fn request<'a>(path: &'a str, headers: &[(&'a str, &'a [u8])]) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        path,
        headers: Headers(headers.to_vec()),
        body: None,
        source: None,
        source_principal: "",
        extensions: Vec::new(),
        gateway: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

fn found(
    path: &str,
    headers: &[(&str, &str)],
    custom: Option<&str>,
    websocket: bool,
) -> Option<Result<(String, String), String>> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let http = request(path, &headers);
    let mut route = Route::read("POST", path).unwrap();
    route.is_websocket = websocket;
    let settings = CredentialSettings { key_header_name: custom.map(str::to_owned), session_cookie: None };
    match read(&http, &route, &settings) {
        CredentialRead::Missing => None,
        CredentialRead::Malformed { source } => Some(Err(place(&source))),
        CredentialRead::Found(credential) => Some(Ok((credential.secret.into_owned(), place(&credential.source)))),
    }
}

fn expected(expected: Expected) -> Option<Result<(String, String), String>> {
    expected.map(|found| found.map(|(key, place)| (key.to_owned(), place.to_owned())).map_err(str::to_owned))
}

#[test]
fn the_first_source_that_is_present_wins() {
    let cases: &[(&[(&str, &str)], Expected)] = &[
        (&[], None),
        (&[("authorization", "")], None),
        (&[("authorization", "Bearer sk-X")], Some(Ok(("sk-X", "authorization")))),
        (&[("authorization", "bearer sk-X")], Some(Ok(("sk-X", "authorization")))),
        (&[("authorization", "BEARER   sk-X ")], Some(Ok(("sk-X", "authorization")))),
        (&[("authorization", "Bearer\tsk-X")], Some(Err("authorization"))),
        (&[("x-litellm-api-key", "Bearer\tsk-X")], Some(Err("x-litellm-api-key"))),
        (&[("authorization", "Basic sk-X")], Some(Ok(("sk-X", "authorization")))),
        (&[("authorization", "basic sk-X")], Some(Ok(("sk-X", "authorization")))),
        (&[("authorization", "Bearer sk-Bearer")], Some(Ok(("sk-Bearer", "authorization")))),
        (&[("authorization", "Bearer Bearer sk-X")], Some(Err("authorization"))),
        (&[("authorization", "Bearer")], Some(Err("authorization"))),
        (&[("authorization", "Bearer ")], Some(Err("authorization"))),
        (&[("authorization", "sk-X")], Some(Err("authorization"))),
        (&[("authorization", "Digest sk-X")], Some(Err("authorization"))),
        (&[("authorization", "sk-X"), ("x-api-key", "sk-good")], Some(Err("authorization"))),
        (&[("authorization", ""), ("x-api-key", "sk-good")], Some(Ok(("sk-good", "x-api-key")))),
        (
            &[(
                "authorization",
                "AWS4-HMAC-SHA256 Credential=Bearer sk-X/20260101/us/bedrock/aws4_request, Signature=f",
            )],
            Some(Ok(("sk-X", "authorization"))),
        ),
        (
            &[("authorization", "AWS4-HMAC-SHA256 Credential=sk-X/20260101/us/bedrock/aws4_request, Signature=f")],
            Some(Ok(("sk-X", "authorization"))),
        ),
        (&[("authorization", "AWS4-HMAC-SHA256 Signature=f")], Some(Err("authorization"))),
        (&[("authorization", "AWS4-HMAC-SHA256 Credential=a/b, Credential=c/d")], Some(Err("authorization"))),
        (&[("authorization", "Bearer other"), ("x-litellm-api-key", "sk-X")], Some(Ok(("sk-X", "x-litellm-api-key")))),
        (&[("x-litellm-api-key", "Bearer sk-X")], Some(Ok(("sk-X", "x-litellm-api-key")))),
        (&[("x-litellm-api-key", "Bearer")], Some(Err("x-litellm-api-key"))),
        (
            &[("x-litellm-key", "sk-B"), ("authorization", "Bearer sk-C"), ("x-litellm-api-key", "sk-A")],
            Some(Ok(("sk-A", "x-litellm-api-key"))),
        ),
        (&[("authorization", "Bearer sk-C"), ("x-litellm-key", "sk-B")], Some(Ok(("sk-B", "x-litellm-key")))),
        (&[("x-api-key", "sk-X")], Some(Ok(("sk-X", "x-api-key")))),
        (&[("api-key", "sk-X")], Some(Ok(("sk-X", "api-key")))),
        (&[("x-goog-api-key", "sk-X")], Some(Ok(("sk-X", "x-goog-api-key")))),
        (&[("ocp-apim-subscription-key", "sk-X")], Some(Ok(("sk-X", "ocp-apim-subscription-key")))),
        (&[("x-api-key", "B"), ("api-key", "A")], Some(Ok(("A", "api-key")))),
        (&[("x-api-key", "Bearer sk-X")], Some(Err("x-api-key"))),
        // Two values of one field.
        (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], Some(Err("authorization"))),
        (&[("authorization", "Bearer a"), ("authorization", "Bearer a")], Some(Ok(("a", "authorization")))),
        (&[("authorization", "Bearer a,Bearer b")], Some(Err("authorization"))),
        (&[("authorization", "Bearer a,Bearer a")], Some(Ok(("a", "authorization")))),
        (&[("x-api-key", "a"), ("x-api-key", "b")], Some(Err("x-api-key"))),
    ];
    for (headers, wanted) in cases {
        assert_eq!(found("/v1/chat/completions", headers, None, false), expected(*wanted), "{headers:?}");
    }
}

#[test]
fn a_key_in_the_query_is_read_on_googles_generating_paths_only() {
    let cases: &[(&str, Expected)] = &[
        ("/v1beta/models/g:generateContent?key=sk-X", Some(Ok(("sk-X", "?")))),
        ("/v1beta/models/g:streamGenerateContent?alt=sse&key=sk%2DX", Some(Ok(("sk-X", "?")))),
        ("/v1beta/models/g:generateContent?key=a&key=b", Some(Err("?"))),
        ("/v1beta/models/g:generateContent?key=a&key=a", Some(Ok(("a", "?")))),
        ("/v1beta/models/g:generateContent?key=%ff", Some(Err("?"))),
        ("/v1beta/models/g:generateContent?key=", None),
        ("/v1/chat/completions?key=sk-X", None),
        ("/v1/chat/completions?x=:generateContent&key=sk-X", None),
    ];
    for (path, wanted) in cases {
        assert_eq!(found(path, &[], None, false), expected(*wanted), "{path}");
    }
}

#[test]
fn the_configured_header_replaces_every_other_source() {
    let cases: &[(&[(&str, &str)], Expected)] = &[
        (&[("x-mine", "Bearer sk-X"), ("x-litellm-api-key", "sk-Y")], Some(Ok(("sk-X", "x-mine")))),
        (&[("x-mine", "sk-X"), ("authorization", "Bearer sk-Y")], Some(Err("x-mine"))),
        (&[("x-mine", ""), ("authorization", "Bearer sk-Y")], Some(Err("x-mine"))),
        (&[("authorization", "Bearer sk-Y")], Some(Ok(("sk-Y", "authorization")))),
    ];
    for (headers, wanted) in cases {
        assert_eq!(found("/v1/models", headers, Some("x-mine"), false), expected(*wanted), "{headers:?}");
    }
}

#[test]
fn a_websocket_has_three_places_for_a_key() {
    let cases: &[(&[(&str, &str)], Expected)] = &[
        (&[("authorization", "Bearer sk-X")], Some(Ok(("sk-X", "authorization")))),
        (&[("api-key", "sk-X")], Some(Ok(("sk-X", "api-key")))),
        (&[("sec-websocket-protocol", "realtime, openai-insecure-api-key.sk-X, v1")], Some(Ok(("sk-X", "ws")))),
        (&[("sec-websocket-protocol", "openai-insecure-api-key.a,openai-insecure-api-key.b")], Some(Err("ws"))),
        (&[("sec-websocket-protocol", "openai-insecure-api-key.")], Some(Err("ws"))),
        (&[("sec-websocket-protocol", "realtime")], None),
        (&[], None),
    ];
    for (headers, wanted) in cases {
        assert_eq!(found("/v1/realtime", headers, None, true), expected(*wanted), "{headers:?}");
    }
    let only_on_sockets = &[("sec-websocket-protocol", "openai-insecure-api-key.sk-X")];
    assert_eq!(found("/v1/realtime", only_on_sockets, None, false), None);
}

#[test]
fn a_credential_that_is_not_utf_8_is_malformed() {
    let http = request("/v1/models", &[("authorization", b"Bearer sk-\xff"), ("x-api-key", b"sk-good")]);
    let route = Route::read("GET", "/v1/models").unwrap();
    assert!(matches!(read(&http, &route, &CredentialSettings::default()), CredentialRead::Malformed { .. }));
}

proptest! {
    #[test]
    fn random_bytes_are_read_without_harm(
        values in proptest::collection::vec((0usize..9, proptest::collection::vec(any::<u8>(), 0..40)), 0..6),
        prefix in 0usize..4,
        websocket in any::<bool>(),
        query in "[a-z=&%0-9]{0,20}",
    ) {
        let prefixes: [&[u8]; 4] = [b"", b"Bearer ", b"AWS4-HMAC-SHA256 Credential=", b"openai-insecure-api-key."];
        let names = [&CREDENTIAL_HEADERS[..], &[subprotocol::FIELD, "x-mine"]].concat();
        let owned: Vec<(usize, Vec<u8>)> =
            values.into_iter().map(|(at, value)| (at, [prefixes[prefix], &value].concat())).collect();
        let headers: Vec<(&str, &[u8])> = owned.iter().map(|(at, value)| (names[*at], value.as_slice())).collect();
        let path = format!("/v1beta/models/g:generateContent?key={query}");
        let http = request(&path, &headers);
        let mut route = Route::read("POST", &path).unwrap();
        route.is_websocket = websocket;
        let settings = CredentialSettings { key_header_name: Some("x-mine".to_owned()), session_cookie: None };
        if let CredentialRead::Found(credential) = read(&http, &route, &settings) {
            prop_assert!(!credential.secret.is_empty());
            prop_assert!(!credential.secret.chars().any(|c| c.is_whitespace() || c.is_control()));
        }
    }
}
