//! The log line of a request that passed because of shadow mode: what would have refused it, who asked and for what. No
//! credential is in it.

use crate::domain::Denial;
use crate::request::without_keys;

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
        path = ?shown(&without_keys(path.split('?').next().unwrap_or_default())),
        "would be refused, passes: shadow"
    );
}

fn shown(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_SHOWN)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_no_more_than_the_beginning_of_a_long_path() {
        assert_eq!(shown(&"é".repeat(200)).len(), MAX_SHOWN);
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&format!("a{}", "é".repeat(200))).len(), MAX_SHOWN - 1);
    }
}
