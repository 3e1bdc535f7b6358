//! The items of `sec-websocket-protocol` (RFC 6455, section 11.3.4), among which browsers can put a key: finding it, and
//! what is left without it.

use std::borrow::Cow;

use super::rest::Rest;
use super::{CredentialRead, CredentialSource, HttpRequest, credential};

/// The field by which a client offers protocols.
pub const FIELD: &str = "sec-websocket-protocol";
/// What an item that holds a key begins with.
const KEY: &[u8] = b"openai-insecure-api-key.";

/// The key among the items; `None` where there is none. Two that differ are refused.
pub(super) fn read<'a>(http: &HttpRequest<'a>) -> Option<CredentialRead<'a>> {
    let mut keys = items(http).filter_map(|item| item.strip_prefix(KEY));
    let first = keys.next()?;
    let key = std::str::from_utf8(first).ok().filter(|_| keys.all(|other| other == first));
    Some(credential::result(key.map(Cow::Borrowed), CredentialSource::WebSocketProtocol))
}

/// The items without the keys that are taken out; `None` where none is.
#[must_use]
pub fn without(http: &HttpRequest<'_>, is_taken: impl Fn(&[u8]) -> bool) -> Option<Rest> {
    Rest::without(items(http), b", ", |item| item.strip_prefix(KEY).is_some_and(&is_taken))
}

fn items<'a>(http: &HttpRequest<'a>) -> impl Iterator<Item = &'a [u8]> + Clone {
    http.headers.all(FIELD).flat_map(|field| field.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Headers;

    #[test]
    fn the_other_protocols_stay() {
        let field = |text: &str| Some(Rest::Field(text.to_owned()));
        for (fields, expected) in [
            (vec![&b"realtime, openai-insecure-api-key.sk-X"[..]], field("realtime")),
            (
                vec![b"realtime,openai-insecure-api-key.sk-X,openai-beta.realtime-v1"],
                field("realtime, openai-beta.realtime-v1"),
            ),
            (vec![b"realtime", b"openai-insecure-api-key.sk-X", b"v1"], field("realtime, v1")),
            (
                vec![b"openai-insecure-api-key.sk-X, openai-insecure-api-key.sk-Y"],
                field("openai-insecure-api-key.sk-Y"),
            ),
            (vec![b"openai-insecure-api-key.sk-X"], Some(Rest::Nothing)),
            (vec![b"openai-insecure-api-key.sk-X, \xff"], Some(Rest::Nothing)),
            (vec![b"realtime, openai-insecure-api-key.sk-Y"], None),
            (vec![b"realtime, sk-X"], None),
            (vec![], None),
        ] {
            let http = HttpRequest {
                method: "GET",
                path: "/v1/realtime",
                headers: Headers(fields.iter().map(|value| (FIELD, *value)).collect()),
                body: None,
                source: None,
                source_principal: "",
                extensions: Vec::new(),
                gateway: std::net::Ipv4Addr::LOCALHOST.into(),
            };
            assert_eq!(without(&http, |key| key == b"sk-X"), expected, "{fields:?}");
        }
    }
}
