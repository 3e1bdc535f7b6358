use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::{KeyHash, Role, Secret};

/// Ways to say who you are besides keys and tokens.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Whom the certificates of Envoy's peers stand for; the first entry that fits.
    pub mtls: Vec<MtlsEntry>,
}

/// Whom a certificate stands for: a user, a team, a user of a team, or a key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MtlsEntry {
    /// The principal of the peer (`source.principal`: the first URI of its certificate, else its first DNS name, else
    /// its subject). `*` stands for a part of one path segment, `**` also crosses `/`.
    pub principal: String,
    /// The user's id. Here and in the next three `{1}` stands for what the first `*` of the principal stands for.
    #[serde(default)]
    pub user_id: Option<String>,
    /// The user's address.
    #[serde(default)]
    pub user_email: Option<String>,
    /// The team's id.
    #[serde(default)]
    pub team_id: Option<String>,
    /// The team's alias.
    #[serde(default)]
    pub team_alias: Option<String>,
    /// A virtual key, or its SHA-256 as 64 hex digits: the caller is treated as that key's.
    #[serde(default)]
    pub key: Option<Secret>,
    /// Holds where it may do less than the directory's role.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub role: Option<Role>,
    /// The only models, of those the directory allows; absent is all of them.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

impl MtlsEntry {
    /// The texts that may take over parts of the principal, by their keys.
    #[must_use]
    pub fn texts(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("user_id", self.user_id.as_deref()),
            ("user_email", self.user_email.as_deref()),
            ("team_id", self.team_id.as_deref()),
            ("team_alias", self.team_alias.as_deref()),
        ]
    }

    /// The hash of its key; `None` where the text is neither a key nor a hash.
    #[must_use]
    pub fn key_hash(&self) -> Option<KeyHash> {
        let text = self.key.as_ref()?.expose();
        if text.len() > 3 && text.starts_with("sk-") { Some(KeyHash::of(text)) } else { text.parse().ok() }
    }
}
