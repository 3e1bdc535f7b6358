//! Secrets of keys: ours are random, a caller's own must be long enough to be worth hashing; aliases are names that are
//! safe in paths and logs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::attributes::random_bytes;
use super::super::{ManageError, Manager, Result};
use crate::domain::{KeyHash, Secret, glob};

/// The shortest secret a caller may choose, with its `sk-`.
const CUSTOM_SECRET_MINIMUM: usize = 16;
const CUSTOM_SECRET_MAXIMUM: usize = 512;

/// A new secret: `sk-` and 128 random bits in URL-safe base64.
pub(super) fn random() -> Result<Secret> {
    Ok(Secret::new(format!("sk-{}", URL_SAFE_NO_PAD.encode(random_bytes()?))))
}

/// The form people may see for ever: `sk-...` and the last four characters, where the secret is long enough.
pub(super) fn display(secret: &Secret) -> String {
    let text = secret.expose();
    let count = text.chars().count();
    let tail = if count < CUSTOM_SECRET_MINIMUM { String::new() } else { text.chars().skip(count - 4).collect() };
    format!("sk-...{tail}")
}

impl Manager {
    /// The caller's own secret where one is sent, else a random one.
    pub(super) async fn choose_secret(&self, param: &'static str, custom: Option<String>) -> Result<Secret> {
        let Some(custom) = custom.map(Secret::new) else { return random() };
        if self.config.general_settings.disable_custom_api_keys {
            return Err(ManageError::forbidden(
                "keys of the caller's own choice are switched off (disable_custom_api_keys)",
            ));
        }
        check_custom(param, &custom)?;
        if self.store.key(&KeyHash::of(custom.expose())).await?.is_some() {
            return Err(ManageError::bad(param, "this key exists already"));
        }
        let master = self.config.general_settings.master_key.as_ref();
        if master.is_some_and(|master| master.matches(custom.expose().as_bytes())) {
            return Err(ManageError::bad(param, "this key exists already"));
        }
        Ok(custom)
    }

    /// Refuses an alias that is malformed, against the configured pattern, or another key's.
    pub(super) async fn check_alias(&self, alias: &str, own: Option<KeyHash>) -> Result<()> {
        check_alias_form(alias)?;
        if let Some(pattern) = &self.config.litellm_settings.key_alias_pattern
            && !glob::matches(pattern, alias)
        {
            return Err(ManageError::bad("key_alias", format!("key_alias {alias:?} does not match {pattern:?}")));
        }
        match self.store.key_by_alias(alias).await? {
            Some(other) if Some(other.token) != own => {
                Err(ManageError::bad("key_alias", format!("a key with the alias {alias:?} exists already")))
            }
            _ => Ok(()),
        }
    }
}

fn check_custom(param: &'static str, secret: &Secret) -> Result<()> {
    let text = secret.expose();
    let problem = if !text.starts_with("sk-") {
        "it must start with sk-"
    } else if !(CUSTOM_SECRET_MINIMUM..=CUSTOM_SECRET_MAXIMUM).contains(&text.len()) {
        "it must have 16 to 512 characters"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "it must be printable ASCII without spaces"
    } else {
        return Ok(());
    };
    Err(ManageError::bad(param, format!("this key cannot be used: {problem}")))
}

/// No control characters, no path traversal, and nothing that reads as a secret or a hash: keys are found by alias too.
fn check_alias_form(alias: &str) -> Result<()> {
    let length = alias.chars().count();
    let problem = if !(1..=255).contains(&length) {
        "it must have 1 to 255 characters"
    } else if alias.chars().any(char::is_control) {
        "it holds a control character"
    } else if alias.split(['/', '\\']).any(|part| part == "..") {
        "it holds a path that leads upwards"
    } else if alias.starts_with("sk-") || alias.parse::<KeyHash>().is_ok() {
        "it looks like a key"
    } else {
        return Ok(());
    };
    Err(ManageError::bad("key_alias", format!("key_alias cannot be used: {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_secrets_have_the_form_of_a_key_and_differ() {
        let (one, other) = (random().unwrap(), random().unwrap());
        assert!(one.expose().starts_with("sk-") && one.expose().len() == 25, "{one:?}");
        assert_ne!(one.expose(), other.expose());
        assert_eq!(display(&one), format!("sk-...{}", &one.expose()[21..]));
        assert_eq!(display(&Secret::new("sk-short")), "sk-...");
    }

    #[test]
    fn secrets_of_the_callers_choice_are_long_printable_and_marked() {
        for (text, expected) in [
            ("sk-1234567890123", true),
            ("sk-123456789012", false),
            ("key-123456789012345", false),
            ("sk-12345678 90123", false),
            ("sk-1234567890\n123", false),
            ("sk-éééééééééééééé", false),
        ] {
            assert_eq!(check_custom("key", &Secret::new(text)).is_ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn aliases_that_could_mislead_are_refused() {
        for (alias, expected) in [
            ("prod/app.1@team", true),
            ("", false),
            ("a\u{7}b", false),
            ("../etc", false),
            ("a/../b", false),
            ("a..b", true),
            ("sk-pretender", false),
            (&"a".repeat(64), false),
            (&"z".repeat(256), false),
        ] {
            assert_eq!(check_alias_form(alias).is_ok(), expected, "{alias:?}");
        }
    }
}
