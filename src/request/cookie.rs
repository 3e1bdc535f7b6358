//! One cookie among those of a request (RFC 6265, section 4.2): finding it, and what is left without it.

use std::borrow::Cow;

use super::rest::Rest;
use super::{CredentialRead, CredentialSource, HttpRequest, credential};
use crate::authn::session::PREFIX;

const COOKIE: &str = "cookie";

/// The session token in the cookie of this name; `None` where there is none. A cookie that is sent twice is refused, and
/// so is one that holds something else: no other credential travels in a cookie, which anybody's page may send along.
pub(super) fn read<'a>(http: &HttpRequest<'a>, name: &str) -> Option<CredentialRead<'a>> {
    let mut found = http.headers.all(COOKIE).flat_map(items).filter_map(|item| Ours::of(item, name));
    let first = found.next()?;
    let source = CredentialSource::Cookie(Cow::Borrowed(std::str::from_utf8(first.name).unwrap_or_default()));
    let is_only = found.next().is_none() && !first.is_hidden;
    let value = std::str::from_utf8(first.value).ok().filter(|value| is_only && value.starts_with(PREFIX));
    Some(credential::result(value.map(Cow::Borrowed), source))
}

/// The cookies without the one of this name; `None` where it is not among them.
#[must_use]
pub fn without(http: &HttpRequest<'_>, name: &str) -> Option<Rest> {
    let items = http.headers.all(COOKIE).flat_map(items);
    Rest::without(items, b"; ", |item| Ours::of(item, name).is_some())
}

fn items(field: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    field.split(|byte| *byte == b';').map(<[u8]>::trim_ascii)
}

/// An item that holds the cookie.
struct Ours<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// Beside a comma, by which Envoy joins fields of one name, and which may as well be part of another cookie.
    is_hidden: bool,
}

impl<'a> Ours<'a> {
    /// The item, where it is of this name and not empty.
    fn of(item: &'a [u8], name: &str) -> Option<Self> {
        let of_part = |(place, part): (usize, &'a [u8])| {
            let equals = part.iter().position(|byte| *byte == b'=')?;
            let (found, value) = (part.get(..equals)?.trim_ascii(), part.get(equals + 1..)?.trim_ascii());
            let is_it = found == name.as_bytes() && !value.is_empty();
            is_it.then_some(Ours { name: found, value, is_hidden: place > 0 || part.len() < item.len() })
        };
        item.split(|byte| *byte == b',').enumerate().find_map(of_part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Headers;

    fn request<'a>(fields: &[&'a [u8]]) -> HttpRequest<'a> {
        HttpRequest {
            method: "GET",
            path: "/",
            headers: Headers(fields.iter().map(|field| (COOKIE, *field)).collect()),
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        }
    }

    #[test]
    fn the_one_cookie_is_found_and_a_doubtful_one_refused() {
        for (fields, expected) in [
            (vec![&b"a=1; s=tollward_session_x.y.z; b=2"[..]], Some(Some("tollward_session_x.y.z"))),
            (vec![b"s=tollward_session_x"], Some(Some("tollward_session_x"))),
            (vec![b"a=1", b" s = tollward_session_x "], Some(Some("tollward_session_x"))),
            (vec![b"a=x,y; s=tollward_session_x"], Some(Some("tollward_session_x"))),
            (vec![b"a=1,s=tollward_session_x"], Some(None)),
            (vec![b"s=tollward_session_x,a=1"], Some(None)),
            (vec![b"s=tollward_session_x; a=1, s=tollward_session_y"], Some(None)),
            (vec![b"s=tollward_session_x; s=tollward_session_x"], Some(None)),
            (vec![b"s=tollward_session_x", b"s=tollward_session_y"], Some(None)),
            (vec![b"s=sk-a-key-in-a-cookie"], Some(None)),
            (vec![b"s=\"tollward_session_x\""], Some(None)),
            (vec![b"s=tollward_session_\xff"], Some(None)),
            (vec![b"s=tollward_session_x y"], Some(None)),
            (vec![b"s="], None),
            (vec![b"S=tollward_session_x; ss=tollward_session_x; s"], None),
            (vec![], None),
        ] {
            let http = request(&fields);
            let found = read(&http, "s").map(|read| match read {
                CredentialRead::Found(credential) => Some(credential.secret.into_owned()),
                CredentialRead::Malformed { source } => {
                    assert_eq!(source, CredentialSource::Cookie("s".into()));
                    None
                }
                CredentialRead::Missing => panic!("nothing found is no answer"),
            });
            assert_eq!(found.as_ref().map(Option::as_deref), expected, "{fields:?}");
        }
    }

    #[test]
    fn the_other_cookies_stay() {
        let field = |text: &str| Some(Rest::Field(text.to_owned()));
        for (fields, expected) in [
            (vec![&b"a=1; s=x; b=2"[..]], field("a=1; b=2")),
            (vec![b"a=1;s=x", b"b=2"], field("a=1; b=2")),
            (vec![b"s=x; s=y; a=\"q\""], field("a=\"q\"")),
            (vec![b"a=x,y; s=x"], field("a=x,y")),
            (vec![b"b=2; a=1,s=x"], field("b=2")),
            (vec![b"s=x"], Some(Rest::Nothing)),
            (vec![b"s=x; a=\xff"], Some(Rest::Nothing)),
            (vec![b"a=1; ss=2"], None),
            (vec![], None),
        ] {
            assert_eq!(without(&request(&fields), "s"), expected, "{fields:?}");
        }
    }
}
