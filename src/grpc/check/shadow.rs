//! The log line of a request that passed because of shadow mode: what would have refused it, who asked and for what. No
//! credential is in it.

use std::borrow::Cow;

use crate::domain::Denial;

/// Bytes of a client's text that a line shows.
const MAX_SHOWN: usize = 256;

/// Logs the request for `path`, with or without its query, that would have been refused.
pub fn log(denial: &Denial, path: &str) {
    let caller = denial.caller.as_ref();
    let key = caller.and_then(|caller| caller.identity.key.as_ref());
    tracing::info!(
        decision = "allow",
        shadow_decision = "deny",
        reason = %denial.reason,
        status = denial.status,
        key = key.map(|key| tracing::field::display(key.token)),
        user = caller.and_then(|caller| caller.user_id()).map(|id| tracing::field::debug(shown(id))),
        team = caller.and_then(|caller| caller.team_id()).map(|id| tracing::field::debug(shown(id))),
        path = ?shown(&without_keys(path)),
        "would be refused, passes: shadow"
    );
}

/// The path without its query, and without keys that stand in it.
fn without_keys(path: &str) -> Cow<'_, str> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let is_key = |segment: &&str| {
        let start = segment.get(..5).unwrap_or(segment).to_ascii_lowercase();
        start.starts_with("sk-") || start.starts_with("sk%2d")
    };
    if !path.split('/').any(|segment| is_key(&segment)) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| if is_key(&segment) { "sk-…" } else { segment });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_SHOWN)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_neither_query_nor_keys_nor_all_of_a_long_path() {
        for (path, expected) in [
            ("/v1/models?key=sk-1", "/v1/models"),
            ("/key/sk-secret/regenerate", "/key/sk-…/regenerate"),
            ("/key/SK%2Dsecret", "/key/sk-…"),
            ("/v1/skate", "/v1/skate"),
            ("", ""),
        ] {
            assert_eq!(without_keys(path), expected, "{path}");
        }
        assert_eq!(shown(&"é".repeat(200)).len(), MAX_SHOWN);
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&format!("a{}", "é".repeat(200))).len(), MAX_SHOWN - 1);
    }
}
