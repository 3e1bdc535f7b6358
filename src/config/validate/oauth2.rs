//! What OAuth2 needs to be set, and what cannot be set together.

use super::Check;
use crate::config::{Config, OAuthClientAuth, OAuthMode};

pub(super) fn oauth2(config: &Config, check: &mut Check<'_>) {
    let general = &config.general_settings;
    if !general.enable_oauth2_auth {
        return;
    }
    let mut require = |holds: bool, key: &str, message: &str| {
        check.require(holds, &format!("general_settings.{key}"), message);
    };
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let url = general.oauth_token_info_endpoint.as_deref().unwrap_or_default();
    require(!url.is_empty(), "oauth_token_info_endpoint", "is not set, and enable_oauth2_auth needs it");
    let is_url = url.is_empty() || url.starts_with("https://") || url.starts_with("http://");
    require(is_url, "oauth_token_info_endpoint", "must be a URL, as https://id.example.com/oauth2/introspect");
    if general.oauth_mode() == OAuthMode::Introspection {
        require(has(&general.oauth_client_id), "oauth_client_id", "is not set, and introspection needs it");
        let has_secret = general.oauth_client_secret.as_ref().is_some_and(|secret| !secret.is_empty());
        let has_key = general.oauth_client_key.as_ref().is_some_and(|key| !key.is_empty());
        match general.oauth_client_auth() {
            OAuthClientAuth::Basic | OAuthClientAuth::Post => {
                require(has_secret, "oauth_client_secret", "is not set, and this oauth_client_auth needs it");
            }
            OAuthClientAuth::PrivateKeyJwt => {
                require(has_key, "oauth_client_key", "is not set, and oauth_client_auth: private_key_jwt needs it");
            }
            OAuthClientAuth::None => {}
        }
    } else {
        let message = "belongs to introspection; set oauth_mode: introspection, or remove it";
        require(general.oauth_client_auth.is_none(), "oauth_client_auth", message);
        require(general.oauth_client_key.is_none(), "oauth_client_key", message);
    }
    let within = |value: Option<u64>, least: u64, most: u64| value.is_none_or(|value| (least..=most).contains(&value));
    require(within(general.oauth_timeout_ms, 1, 60_000), "oauth_timeout_ms", "must be from 1 to 60000");
    require(within(general.oauth_cache_ttl, 0, 86_400), "oauth_cache_ttl", "must be at most 86400 seconds");
    require(within(general.oauth_negative_ttl, 0, 3_600), "oauth_negative_ttl", "must be at most 3600 seconds");
    for (key, name) in [
        ("oauth_user_id_field_name", &general.oauth_user_id_field_name),
        ("oauth_user_email_field_name", &general.oauth_user_email_field_name),
        ("oauth_user_role_field_name", &general.oauth_user_role_field_name),
        ("oauth_user_team_id_field_name", &general.oauth_user_team_id_field_name),
        ("oauth_org_id_field_name", &general.oauth_org_id_field_name),
    ] {
        require(name.is_none() || has(name), key, "must name a field");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_cannot_be_together_is_told_with_its_key() {
        let cases = [
            ("", "oauth_token_info_endpoint"),
            ("oauth_token_info_endpoint: id.example/introspect", "oauth_token_info_endpoint"),
            ("oauth_token_info_endpoint: https://i/x, oauth_mode: introspection", "oauth_client_id"),
            (
                "oauth_token_info_endpoint: https://i/x, oauth_mode: introspection, oauth_client_id: a, \
                 oauth_client_auth: post",
                "oauth_client_secret",
            ),
            (
                "oauth_token_info_endpoint: https://i/introspect, oauth_mode: introspection, oauth_client_id: a, \
                 oauth_client_auth: private_key_jwt",
                "oauth_client_key",
            ),
            ("oauth_token_info_endpoint: https://i/x, oauth_client_auth: basic", "oauth_client_auth"),
            ("oauth_token_info_endpoint: https://i/x, oauth_client_key: k", "oauth_client_key"),
            ("oauth_token_info_endpoint: https://i/x, oauth_timeout_ms: 0", "oauth_timeout_ms"),
            ("oauth_token_info_endpoint: https://i/x, oauth_cache_ttl: 86401", "oauth_cache_ttl"),
            ("oauth_token_info_endpoint: https://i/x, oauth_negative_ttl: 3601", "oauth_negative_ttl"),
            ("oauth_token_info_endpoint: https://i/x, oauth_user_id_field_name: ''", "oauth_user_id_field_name"),
        ];
        for (yaml, key) in cases {
            let general = format!("{{master_key: sk-a-long-master-key, enable_oauth2_auth: true, {yaml}}}");
            let error = Config::parse(&format!("general_settings: {general}"), "t.yaml", &|_| None).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(&format!("general_settings.{key}")), "{yaml}: {error}");
            assert_eq!(error.matches("general_settings.").count(), 1, "{yaml}: {error}");
        }
    }
}
