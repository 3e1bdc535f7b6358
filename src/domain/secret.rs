//! Secrets: a type that cannot be printed by accident and is wiped when dropped.

use std::fmt;

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A key, token or password. It has no `Display` and no `Serialize`; `Debug` shows `sk-…abcd`.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The secret itself. Call it where the secret is used, never where something is written.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Constant-time comparison; only the lengths may be learnt from how long it takes.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        bool::from(self.0.as_bytes().ct_eq(candidate))
    }

    /// What people may see: `sk-…abcd`, or `…` where the secret is too short to show four of its characters.
    #[must_use]
    pub fn masked(text: &str) -> String {
        let tail: String = if text.chars().count() >= 16 {
            let skip = text.chars().count() - 4;
            text.chars().skip(skip).collect()
        } else {
            String::new()
        };
        let head = if text.starts_with("sk-") { "sk-" } else { "" };
        format!("{head}…{tail}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Secret::masked(&self.0))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Secret::new(String::deserialize(deserializer)?))
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "a secret; `os.environ/NAME` or `${NAME}` reads it from the environment"})
    }
}
