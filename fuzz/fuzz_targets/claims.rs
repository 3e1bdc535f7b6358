//! Feeds paths, the first line, and objects, the rest, to the readers of claims.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollward::authn::claims::{ClaimPath, list, read_object, scalar, scopes};

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (path, object) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(claims) = read_object(object) else { return };
    // What the strict reader takes, any reader takes, and as the same.
    let plain: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(object).expect("a JSON object");
    assert_eq!(claims, plain);
    let of = scopes(&claims);
    assert!(of.iter().all(|scope| !scope.is_empty() && !scope.contains(' ')));
    let Some(path) = std::str::from_utf8(path).ok().and_then(|path| ClaimPath::parse(path).ok()) else { return };
    assert_eq!(ClaimPath::parse(&path.to_string()).as_ref(), Ok(&path));
    if let Some(value) = path.get(&claims) {
        assert!(!value.is_null());
        let all = list(value);
        assert!(all.iter().all(|text| !text.is_empty()));
        if let Some(first) = scalar(value) {
            assert_eq!(all.first(), Some(&first));
        }
    }
});
