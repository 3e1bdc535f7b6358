//! Names of header fields. Those that come with nearly every request are recognised whole, and so need not be looked at
//! byte by byte.

/// Names by their length, those of one length together.
const KNOWN: [&[&str]; 32] = {
    let mut by_length: [&[&str]; 32] = [&[]; 32];
    by_length[4] = &["host", "date"];
    by_length[5] = &[":path"];
    by_length[6] = &["accept", "cookie", "origin"];
    by_length[7] = &[":method", ":scheme", "api-key", "baggage", "referer"];
    by_length[9] = &["x-api-key"];
    by_length[10] = &[":authority", "user-agent", "connection", "tracestate"];
    by_length[11] = &["traceparent", "openai-beta"];
    by_length[12] = &["content-type", "x-request-id"];
    by_length[13] = &["authorization", "cache-control"];
    by_length[14] = &["content-length", "accept-charset", "anthropic-beta", "x-goog-api-key", "x-stainless-os"];
    by_length[15] = &["accept-encoding", "accept-language", "x-forwarded-for"];
    by_length[16] = &["content-encoding", "x-envoy-internal", "x-stainless-lang", "x-stainless-arch"];
    by_length[17] =
        &["x-stainless-async", "x-forwarded-proto", "x-litellm-api-key", "anthropic-version", "transfer-encoding"];
    by_length[19] = &["openai-organization", "x-stainless-runtime", "x-stainless-timeout"];
    by_length[23] = &["x-stainless-retry-count"];
    by_length[25] = &["x-envoy-auth-partial-body"];
    by_length[27] = &["x-stainless-package-version", "x-stainless-runtime-version"];
    by_length[30] = &["x-envoy-expected-rq-timeout-ms"];
    by_length
};

/// The name these bytes are, where it is one of those.
#[inline]
pub(super) fn known(bytes: &[u8]) -> Option<&'static str> {
    KNOWN.get(bytes.len())?.iter().find(|name| name.as_bytes() == bytes).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_under_its_length_and_is_lower_case() {
        for (length, names) in KNOWN.iter().enumerate() {
            for name in *names {
                assert_eq!(name.len(), length, "{name}");
                assert_eq!(name.to_ascii_lowercase(), **name);
                assert_eq!(known(name.as_bytes()), Some(*name));
            }
        }
        for unknown in ["", "x", "x-api-kez", "a-header-name-that-is-longer-than-all-of-them"] {
            assert_eq!(known(unknown.as_bytes()), None, "{unknown}");
        }
    }
}
