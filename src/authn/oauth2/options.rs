//! The settings of OAuth2, read: URLs checked, paths parsed, keys loaded.

use std::io::Read;
use std::time::Duration;

use super::super::claims::ClaimPath;
use super::super::fetch::{Endpoint, check_url};
use crate::config::{General, OAuthAlgorithm, OAuthClientAuth, OAuthMode};
use crate::domain::Secret;

/// A file with a private key is never this large.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// All that what is asked and what is made of the answer depend on.
#[derive(PartialEq)]
pub(super) struct Options {
    pub endpoint: Endpoint,
    pub mode: OAuthMode,
    pub client_auth: OAuthClientAuth,
    pub client_id: String,
    pub client_secret: Proof,
    /// PEM.
    pub client_key: Proof,
    pub client_key_id: Option<String>,
    pub client_algorithm: Option<OAuthAlgorithm>,
    pub audience: Vec<String>,
    pub required_scopes: Vec<String>,
    pub issuer: Option<String>,
    pub timeout: Duration,
    pub cache_ttl: Duration,
    pub negative_ttl: Duration,
    pub user_id: ClaimPath,
    pub user_email: ClaimPath,
    pub user_role: ClaimPath,
    pub team_id: ClaimPath,
    pub organization_id: Option<ClaimPath>,
}

/// A secret that can be compared; empty where there is none.
pub(super) struct Proof(pub Secret);

impl Proof {
    fn of(secret: Option<&Secret>) -> Proof {
        Proof(secret.cloned().unwrap_or_else(|| Secret::new("")))
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Proof) -> bool {
        self.0.matches(other.0.expose().as_bytes())
    }
}

impl Options {
    /// # Errors
    /// A setting that cannot be used, by its name.
    pub fn of(general: &General) -> Result<Options, String> {
        let url = general.oauth_token_info_endpoint.as_deref().unwrap_or_default();
        let endpoint = check_url(url).map_err(|error| told("oauth_token_info_endpoint", &error))?;
        let path = |key: &str, name: Option<&String>, default: &str| {
            ClaimPath::parse(name.map_or(default, String::as_str)).map_err(|error| told(key, &error))
        };
        let (id, role) = (general.oauth_user_id_field_name.as_ref(), general.oauth_user_role_field_name.as_ref());
        let (email, team) = (general.oauth_user_email_field_name.as_ref(), &general.oauth_user_team_id_field_name);
        let organization = general.oauth_org_id_field_name.as_ref();
        Ok(Options {
            endpoint,
            mode: general.oauth_mode(),
            client_auth: general.oauth_client_auth(),
            client_id: general.oauth_client_id.clone().unwrap_or_default(),
            client_secret: Proof::of(general.oauth_client_secret.as_ref()),
            client_key: Proof::of(general.oauth_client_key.as_ref().map(pem).transpose()?.as_ref()),
            client_key_id: general.oauth_client_key_id.clone(),
            client_algorithm: general.oauth_client_algorithm,
            audience: general.oauth_audience.clone(),
            required_scopes: general.oauth_required_scopes.clone(),
            issuer: general.oauth_issuer.clone(),
            timeout: Duration::from_millis(general.oauth_timeout_ms.unwrap_or(2_000)),
            cache_ttl: Duration::from_secs(general.oauth_cache_ttl.unwrap_or(300)),
            negative_ttl: Duration::from_secs(general.oauth_negative_ttl.unwrap_or(10)),
            user_id: path("oauth_user_id_field_name", id, "sub")?,
            user_email: path("oauth_user_email_field_name", email, "email")?,
            user_role: path("oauth_user_role_field_name", role, "role")?,
            team_id: path("oauth_user_team_id_field_name", team.as_ref(), "team_id")?,
            organization_id: organization.map(|name| path("oauth_org_id_field_name", Some(name), "")).transpose()?,
        })
    }
}

/// The key itself, or what stands in the file that is named.
fn pem(key: &Secret) -> Result<Secret, String> {
    if key.expose().contains("-----BEGIN") {
        return Ok(key.clone());
    }
    let unreadable = |error: std::io::Error| told("oauth_client_key", &format!("the file cannot be read: {error}"));
    let file = std::fs::File::open(key.expose()).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Secret::new(text))
}

/// A complaint about a setting.
pub(super) fn told(key: &str, error: &str) -> String {
    format!("general_settings.{key}: {error}")
}
