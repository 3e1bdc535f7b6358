//! OAuth2 (`enable_oauth2_auth`): what its settings, which stand in `general_settings`, can be, what follows from them,
//! and LiteLLM's environment variables for them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Environment, General};
use crate::domain::Secret;

/// How the authorization server is asked about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OAuthMode {
    /// A form with the token (RFC 7662).
    Introspection,
    /// The token as its own credential, at an endpoint that says whose it is.
    TokenInfo,
}

/// How the gate proves to the authorization server who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OAuthClientAuth {
    /// `client_secret_basic` (RFC 6749, section 2.3.1).
    Basic,
    /// `client_secret_post`.
    Post,
    /// `private_key_jwt` (RFC 7523, section 2.2).
    PrivateKeyJwt,
    /// A public client: its id alone.
    None,
}

/// What assertions of `private_key_jwt` are signed with (RFC 7518, section 3.1; RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum OAuthAlgorithm {
    RS256,
    PS256,
    ES256,
    ES384,
    EdDSA,
}

impl OAuthAlgorithm {
    /// Its name in JOSE.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OAuthAlgorithm::RS256 => "RS256",
            OAuthAlgorithm::PS256 => "PS256",
            OAuthAlgorithm::ES256 => "ES256",
            OAuthAlgorithm::ES384 => "ES384",
            OAuthAlgorithm::EdDSA => "EdDSA",
        }
    }
}

impl General {
    /// The mode that is set, else the one LiteLLM would choose: introspection where the URL says so and the client has
    /// something to prove who it is with.
    #[must_use]
    pub fn oauth_mode(&self) -> OAuthMode {
        let of_url = || {
            let url = self.oauth_token_info_endpoint.as_deref().unwrap_or_default().to_ascii_lowercase();
            let has_client = self.oauth_client_id.is_some()
                && (self.oauth_client_secret.is_some() || self.oauth_client_key.is_some());
            if url.contains("introspect") && has_client { OAuthMode::Introspection } else { OAuthMode::TokenInfo }
        };
        self.oauth_mode.unwrap_or_else(of_url)
    }

    /// The way that is set, else the one there is something for.
    #[must_use]
    pub fn oauth_client_auth(&self) -> OAuthClientAuth {
        self.oauth_client_auth.unwrap_or(if self.oauth_client_key.is_some() {
            OAuthClientAuth::PrivateKeyJwt
        } else if self.oauth_client_secret.is_some() {
            OAuthClientAuth::Basic
        } else {
            OAuthClientAuth::None
        })
    }
}

/// LiteLLM's environment variables where the file is silent.
pub(super) fn fill_in(general: &mut General, env: Environment<'_>) {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    for (field, name) in [
        (&mut general.oauth_token_info_endpoint, "OAUTH_TOKEN_INFO_ENDPOINT"),
        (&mut general.oauth_client_id, "OAUTH_CLIENT_ID"),
        (&mut general.oauth_user_id_field_name, "OAUTH_USER_ID_FIELD_NAME"),
        (&mut general.oauth_user_role_field_name, "OAUTH_USER_ROLE_FIELD_NAME"),
        (&mut general.oauth_user_team_id_field_name, "OAUTH_USER_TEAM_ID_FIELD_NAME"),
    ] {
        if field.is_none() {
            *field = set(name);
        }
    }
    if general.oauth_client_secret.is_none() {
        general.oauth_client_secret = set("OAUTH_CLIENT_SECRET").map(Secret::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn general(yaml: &str) -> General {
        let text = format!("general_settings: {{master_key: sk-a-long-master-key, enable_oauth2_auth: true, {yaml}}}");
        Config::parse(&text, "file", &|_| None).unwrap_or_else(|error| panic!("{error}")).0.general_settings
    }

    #[test]
    fn the_mode_is_what_litellm_would_choose_unless_it_is_set() {
        let cases = [
            (
                "https://id.example/oauth/Introspect",
                "oauth_client_id: a, oauth_client_secret: b",
                OAuthMode::Introspection,
            ),
            ("https://id.example/INTROSPECTION", "oauth_client_id: a, oauth_client_key: k", OAuthMode::Introspection),
            ("https://id.example/introspect", "oauth_client_id: a", OAuthMode::TokenInfo),
            ("https://id.example/introspect", "oauth_client_secret: a", OAuthMode::TokenInfo),
            ("https://id.example/tokeninfo", "oauth_client_id: a, oauth_client_secret: b", OAuthMode::TokenInfo),
            (
                "https://id.example/check",
                "oauth_mode: introspection, oauth_client_id: a, oauth_client_secret: b",
                OAuthMode::Introspection,
            ),
            (
                "https://id.example/introspect",
                "oauth_mode: token_info, oauth_client_id: a, oauth_client_secret: b",
                OAuthMode::TokenInfo,
            ),
        ];
        for (url, more, expected) in cases {
            let general = general(&format!("oauth_token_info_endpoint: '{url}', {more}"));
            assert_eq!(general.oauth_mode(), expected, "{url} {more}");
        }
    }

    #[test]
    fn the_environment_stands_where_the_file_is_silent() {
        let env = |name: &str| name.starts_with("OAUTH_").then(|| format!("https://of.{name}/"));
        let text = "general_settings: {master_key: sk-a-long-master-key, enable_oauth2_auth: true, \
                    oauth_mode: introspection, oauth_client_id: mine}";
        let (config, _) = Config::parse(text, "file", &env).unwrap();
        let general = &config.general_settings;
        assert_eq!(general.oauth_client_id.as_deref(), Some("mine"));
        assert_eq!(general.oauth_token_info_endpoint.as_deref(), Some("https://of.OAUTH_TOKEN_INFO_ENDPOINT/"));
        assert_eq!(general.oauth_user_team_id_field_name.as_deref(), Some("https://of.OAUTH_USER_TEAM_ID_FIELD_NAME/"));
        let secret = general.oauth_client_secret.as_ref().unwrap();
        assert!(secret.matches(b"https://of.OAUTH_CLIENT_SECRET/"));
    }
}
