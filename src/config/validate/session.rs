//! Sessions: a cookie that browsers send, origins as they write them, and lifetimes that keep the keys few.

use std::time::Duration;

use super::Check;
use crate::config::Config;

/// Keys that sign are read as one list.
const MIN_ROTATION: Duration = Duration::from_secs(3_600);
const MAX_TTL: Duration = Duration::from_secs(400 * 86_400);
/// Keys whose sessions may live at once.
const MAX_KEYS: u32 = 200;

pub fn session(config: &Config, check: &mut Check<'_>) {
    let session = &config.identity.session;
    let at = |name: &str| format!("identity.session.{name}");
    let is_token = !session.cookie.is_empty() && session.cookie.bytes().all(is_token_byte);
    check.require(is_token, &at("cookie"), "must be the name of a cookie: letters, digits and any of _ - .");
    let is_named = !session.audience.is_empty();
    check.require(is_named, &at("audience"), "must not be empty; name whom the sessions are for");
    let (ttl, every) = (session.ttl.as_duration(), session.rotate_every.as_duration());
    check.require(ttl <= MAX_TTL, &at("ttl"), "must be at most 400d");
    check.require(every >= MIN_ROTATION, &at("rotate_every"), "must be at least 1h");
    let are_few = ttl <= every * MAX_KEYS;
    check.require(are_few, &at("rotate_every"), &format!("must be at least identity.session.ttl / {MAX_KEYS}"));
    for (index, origin) in session.allowed_origins.iter().enumerate() {
        let authority = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "https" | "http"));
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['/', '?', '#', '@', '*', ' ']);
        let message = "must be an origin: https://HOST or https://HOST:PORT, without a path or *";
        let is_origin = authority.is_some_and(|(_, authority)| is_plain(authority));
        check.require(is_origin, &format!("{}[{index}]", at("allowed_origins")), message);
    }
}

/// What a name may hold without a second thought: less than RFC 6265 allows.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, pages};

    const PAGE: &str = include_str!("../../../docs/sessions.md");

    fn parse(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "TOLLWARD_MASTER_KEY").then(|| "sk-an-example-key".to_owned());
        Config::parse(text, "t.yaml", &env).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_be_used_are_told_with_their_place() {
        for (setting, expected) in [
            ("cookie: ''", "t.yaml:3:13: identity.session.cookie: must be the name of a cookie"),
            ("cookie: 'a b'", "identity.session.cookie: must be the name of a cookie"),
            ("cookie: 'a=b'", "identity.session.cookie: must be the name of a cookie"),
            ("audience: ''", "identity.session.audience: must not be empty"),
            ("ttl: 401d", "identity.session.ttl: must be at most 400d"),
            ("rotate_every: 59m", "identity.session.rotate_every: must be at least 1h"),
            ("ttl: 300d\n    rotate_every: 1d", "identity.session.rotate_every: must be at least identity.session.ttl"),
            ("allowed_origins: [app.example.com]", "identity.session.allowed_origins[0]: must be an origin"),
            ("allowed_origins: ['https://a/b']", "identity.session.allowed_origins[0]: must be an origin"),
            ("allowed_origins: ['https://*.a']", "identity.session.allowed_origins[0]: must be an origin"),
            ("allowed_origins: ['null']", "identity.session.allowed_origins[0]: must be an origin"),
            ("coookie: a", "did you mean cookie?"),
        ] {
            let error = parse(&format!("identity:\n  session:\n    {setting}\n")).expect_err(setting);
            assert!(error.contains(expected), "{setting}: {error}");
        }
    }

    #[test]
    fn every_configuration_on_the_page_loads() {
        let configs = pages::load(PAGE);
        assert!(!configs.is_empty());
        for config in configs {
            assert_eq!(config.identity.session.cookie, "__Host-tollward_session");
        }
    }
}
