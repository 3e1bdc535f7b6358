use std::collections::HashMap;
use std::net::Ipv4Addr;

use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, Pipe, SocketAddress, address as kind};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest as Http, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use proptest::prelude::*;
use prost::Message;

use super::*;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn check(http: Http) -> CheckRequest {
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request { http: Some(http), ..Default::default() }),
            ..Default::default()
        }),
    }
}

fn from(address: kind::Address) -> CheckRequest {
    let mut request = check(Http::default());
    if let Some(attributes) = &mut request.attributes {
        attributes.source = Some(Peer { address: Some(Address { address: Some(address) }), ..Default::default() });
    }
    request
}

fn socket(address: &str) -> kind::Address {
    kind::Address::SocketAddress(SocketAddress { address: address.into(), ..Default::default() })
}

/// What the generated decoder makes of a message, in the reader's words.
type Plain = (String, String, Vec<(String, Vec<u8>)>, Option<Vec<u8>>, String, Vec<(String, String)>);

fn oracle(request: &CheckRequest) -> Option<Plain> {
    let attributes = request.attributes.clone().unwrap_or_default();
    let http = attributes.request.and_then(|request| request.http)?;
    let mut headers: Vec<(String, Vec<u8>)> = match http.header_map {
        Some(map) => map
            .headers
            .into_iter()
            .map(|field| {
                let value = if field.raw_value.is_empty() { field.value.into_bytes() } else { field.raw_value };
                (field.key, value)
            })
            .collect(),
        None => http.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect(),
    };
    headers.sort();
    let body = if http.raw_body.is_empty() { http.body.into_bytes() } else { http.raw_body };
    let mut extensions: Vec<_> = attributes.context_extensions.into_iter().collect();
    extensions.sort();
    let principal = attributes.source.map(|peer| peer.principal).unwrap_or_default();
    Some((http.method, http.path, headers, (!body.is_empty()).then_some(body), principal, extensions))
}

fn plain(subject: Subject<'_>) -> Option<Plain> {
    let Subject::Http(request) = subject else { return None };
    let mut headers: Vec<_> =
        request.headers.0.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    headers.sort();
    let mut extensions: Vec<_> =
        request.extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    extensions.sort();
    Some((
        request.method.into(),
        request.path.into(),
        headers,
        request.body.map(<[u8]>::to_vec),
        request.source_principal.into(),
        extensions,
    ))
}

prop_compose! {
    fn any_header()(key in "[a-z:-]{0,12}", value in ".{0,20}", raw in proptest::collection::vec(any::<u8>(), 0..20)) -> HeaderValue {
        HeaderValue { key, value, raw_value: raw }
    }
}

prop_compose! {
    fn any_check()(
        method in "[A-Z]{0,7}",
        path in ".{0,40}",
        headers in proptest::collection::hash_map("[a-z:-]{0,12}", ".{0,20}", 0..30),
        header_map in proptest::option::of(proptest::collection::vec(any_header(), 0..30)),
        body in ".{0,40}",
        raw_body in proptest::collection::vec(any::<u8>(), 0..300),
        size in any::<i64>(),
        principal in ".{0,20}",
        extensions in proptest::collection::hash_map(".{0,8}", ".{0,8}", 0..6),
        has_http in proptest::bool::weighted(0.9),
    ) -> CheckRequest {
        let http = Http {
            method, path, headers, body, raw_body, size,
            id: "17".into(), host: "h".into(), scheme: "https".into(), protocol: "HTTP/2".into(),
            header_map: header_map.map(|headers| HeaderMap { headers }),
            ..Default::default()
        };
        CheckRequest { attributes: Some(AttributeContext {
            source: Some(Peer { principal, service: "s".into(), labels: HashMap::from([("a".into(), "b".into())]), ..Default::default() }),
            destination: Some(Peer { principal: "not this".into(), ..Default::default() }),
            request: Some(Request { http: has_http.then_some(http), ..Default::default() }),
            context_extensions: extensions,
            ..Default::default()
        }) }
    }
}

proptest! {
    #[test]
    fn a_valid_message_reads_as_the_generated_decoder_reads_it(request in any_check()) {
        let bytes = request.encode_to_vec();
        prop_assert_eq!(plain(read(&bytes, GATEWAY).unwrap()), oracle(&request));
    }

    #[test]
    fn two_messages_in_a_row_merge_as_protobuf_says(one in any_check(), other in any_check()) {
        let mut one = one;
        let mut other = other;
        // Maps with one key twice keep both entries here, by intent.
        for request in [&mut one, &mut other] {
            if let Some(attributes) = &mut request.attributes {
                attributes.context_extensions.clear();
                if let Some(http) = attributes.request.as_mut().and_then(|request| request.http.as_mut()) {
                    http.headers.clear();
                }
            }
        }
        let bytes = [one.encode_to_vec(), other.encode_to_vec()].concat();
        let merged = CheckRequest::decode(&bytes[..]).unwrap();
        prop_assert_eq!(plain(read(&bytes, GATEWAY).unwrap()), oracle(&merged));
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = read(&bytes, GATEWAY);
    }

    #[test]
    fn a_message_with_any_byte_changed_or_cut_never_panics(
        request in any_check(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = request.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
        }
        let _ = read(&bytes, GATEWAY);
    }
}

#[test]
fn addresses_are_those_of_sockets_without_zone_and_ipv4_is_ipv4() {
    let cases = [
        (socket("10.1.2.3"), Some("10.1.2.3")),
        (socket("::ffff:10.1.2.3"), Some("10.1.2.3")),
        (socket("fe80::1%eth0"), Some("fe80::1")),
        (socket("not an address"), None),
        (kind::Address::Pipe(Pipe { path: "/run/x".into(), mode: 0 }), None),
    ];
    for (address, expected) in cases {
        let bytes = from(address.clone()).encode_to_vec();
        let Subject::Http(request) = read(&bytes, GATEWAY).unwrap() else { panic!("an HTTP request") };
        assert_eq!(request.source, expected.map(|text| text.parse().unwrap()), "{address:?}");
        assert_eq!(request.gateway, GATEWAY);
    }
}

#[test]
fn values_that_are_not_utf8_are_kept_as_bytes() {
    let field = HeaderValue { key: "x".into(), raw_value: b"\xff\x00".to_vec(), ..Default::default() };
    let bytes =
        check(Http { header_map: Some(HeaderMap { headers: vec![field] }), ..Default::default() }).encode_to_vec();
    let Subject::Http(request) = read(&bytes, GATEWAY).unwrap() else { panic!("an HTTP request") };
    assert_eq!(request.headers.get("x"), Some(&b"\xff\x00"[..]));
    assert_eq!(request.headers.text("x"), None);
}

#[test]
fn a_check_of_a_bare_connection_has_no_request() {
    for request in [CheckRequest::default(), CheckRequest { attributes: Some(AttributeContext::default()) }] {
        assert!(matches!(read(&request.encode_to_vec(), GATEWAY), Ok(Subject::Connection)));
    }
}

#[test]
fn what_cannot_be_read_says_why() {
    let upper = check(Http { headers: [("Authorization".into(), "x".into())].into(), ..Default::default() });
    let header = |key: &str| HeaderValue { key: key.to_owned(), ..Default::default() };
    let upper_in_list = HeaderMap { headers: vec![header("x-user-id"), header("X-User-Id")] };
    let upper_in_list = check(Http { header_map: Some(upper_in_list), ..Default::default() });
    let many = |count| {
        let headers = (0..count).map(|n| HeaderValue { key: format!("h{n}"), ..Default::default() }).collect();
        check(Http { header_map: Some(HeaderMap { headers }), ..Default::default() }).encode_to_vec()
    };
    assert!(read(&many(MAX_HEADERS), GATEWAY).is_ok());
    let cases: [(Vec<u8>, Malformed); 10] = [
        (vec![0x0a, 0x05, 0x00], Malformed::Truncated),
        (vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Malformed::Truncated),
        (vec![0x0a], Malformed::Truncated),
        ([0xff; 11].to_vec(), Malformed::Varint),
        (vec![0x02, 0x00], Malformed::Tag),
        (vec![0x0b], Malformed::Tag),
        (vec![0x08, 0x01], Malformed::WireType(1)),
        (upper.encode_to_vec(), Malformed::HeaderName),
        (upper_in_list.encode_to_vec(), Malformed::HeaderName),
        (many(MAX_HEADERS + 1), Malformed::TooManyHeaders),
    ];
    for (bytes, expected) in cases {
        assert_eq!(read(&bytes, GATEWAY).map(|_| ()), Err(expected), "{bytes:?}");
    }
}
