//! Feeds headers to the credential reader: lines of a name and a value, the first line being the path.
#![no_main]

use std::net::Ipv4Addr;

use libfuzzer_sys::fuzz_target;
use tollward::request::credential::{CREDENTIAL_HEADERS, CredentialSettings, read};
use tollward::request::{CredentialRead, Headers, HttpRequest, Route};

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|byte| *byte == b'\n');
    let path = lines.next().and_then(|path| std::str::from_utf8(path).ok()).unwrap_or("/");
    let headers = lines.filter_map(|line| {
        let (first, value) = line.split_first()?;
        let at = usize::from(*first);
        let name = CREDENTIAL_HEADERS.get(at).copied();
        Some((name.unwrap_or(if at % 2 == 0 { "sec-websocket-protocol" } else { "x-custom" }), value))
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
            if let CredentialRead::Found(found) = read(&http, &route, &CredentialSettings { key_header_name }) {
                assert!(!found.secret.is_empty());
                assert!(!found.secret.chars().any(char::is_whitespace));
            }
        }
    }
});
