//! Feeds headers to the credential reader: lines of a name and a value, the first line being the path.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use tollward::request::cookie;
use tollward::request::credential::{CREDENTIAL_HEADERS, CredentialSettings, read};
use tollward::request::{CredentialRead, CredentialSource, Headers, HttpRequest, Rest, Route};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let path = lines.next().and_then(|path| std::str::from_utf8(path).ok()).unwrap_or("/");
    let headers = lines.filter_map(|line| {
        let (first, value) = line.split_first()?;
        let at = usize::from(*first);
        let name = CREDENTIAL_HEADERS.get(at).copied();
        let others = ["sec-websocket-protocol", "x-custom", "cookie"];
        Some((name.unwrap_or(others[at % others.len()]), value))
    });
    let http = HttpRequest {
        method: "POST",
        path,
        headers: Headers(headers.collect()),
        body: None,
        source: None,
        source_principal: "",
        extensions: Vec::new(),
        gateway: Ipv4Addr::LOCALHOST.into(),
    };
    let Ok(mut route) = Route::read("POST", path) else { return };
    for is_websocket in [false, true] {
        route.is_websocket = is_websocket;
        for key_header_name in [None, Some("x-custom".to_owned())] {
            let settings = CredentialSettings { key_header_name, session_cookie: Some("s".to_owned()) };
            if let CredentialRead::Found(found) = read(&http, &route, &settings) {
                assert!(!found.secret.is_empty());
                assert!(!found.secret.chars().any(char::is_whitespace));
                let is_cookie = matches!(found.source, CredentialSource::Cookie(_));
                assert!(!is_cookie || found.secret.starts_with("tollward_session_"));
            }
        }
    }
    if let Some(Rest::Field(rest)) = cookie::without(&http, "s") {
        let rest = HttpRequest { headers: Headers(vec![("cookie", rest.as_bytes())]), ..http.clone() };
        assert_eq!(cookie::without(&rest, "s"), None);
    }
});
