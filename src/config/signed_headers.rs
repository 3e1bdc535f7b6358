use schemars::JsonSchema;
use serde::Deserialize;

use super::Many;

/// A header in which a proxy signs whom it let in. What it says is believed for its signature alone, whatever network it
/// comes from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SignedHeader {
    /// `google_iap`, `aws_alb` and `cloudflare_access` bring header, keys and issuer along; `jwt` needs them.
    pub kind: SignedHeaderKind,
    /// The header; of `jwt`.
    pub header: Option<String>,
    /// The `iss` of its tokens.
    pub issuer: Option<String>,
    /// Where its keys are: a JWKS, a `{kid: pem}` map, a discovery document, or a URL with `{kid}`.
    pub jwks_url: Option<String>,
    /// The audience of its tokens: of `google_iap` `/projects/…` (the backend service), of `cloudflare_access` the AUD tag
    /// of the application.
    pub audience: Many,
    /// Takes tokens of any audience; `aws_alb` has none, and demands `signer` instead.
    pub disable_audience_validation: bool,
    /// The ARN of the load balancer, of `aws_alb`.
    pub signer: Option<String>,
    /// The region of the load balancer, of `aws_alb`: `eu-central-1`.
    pub region: Option<String>,
    /// The team's domain, of `cloudflare_access`: `https://example.cloudflareaccess.com`.
    pub team_domain: Option<String>,
    /// The claim with the id of the user; `sub` where it is absent.
    pub user_id_jwt_field: Option<String>,
    /// The claim with the user's address; `email` where it is absent.
    pub user_email_jwt_field: Option<String>,
    /// The claim with the id of the one team.
    pub team_id_jwt_field: Option<String>,
    /// The claim with the ids of teams to choose from.
    pub team_ids_jwt_field: Option<String>,
    /// Creates a user that is missing, as `litellm_settings.default_internal_user_params` says.
    pub user_id_upsert: bool,
    /// The only domain of addresses.
    pub user_allowed_email_domain: Option<String>,
}

/// Whose header it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedHeaderKind {
    /// Google Identity-Aware Proxy: `x-goog-iap-jwt-assertion`.
    GoogleIap,
    /// AWS Application Load Balancer: `x-amzn-oidc-data`.
    AwsAlb,
    /// Cloudflare Access: `cf-access-jwt-assertion`.
    CloudflareAccess,
    /// Any other.
    #[default]
    Jwt,
}

impl SignedHeader {
    /// The name of the header, in lower case.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let known = match self.kind {
            SignedHeaderKind::GoogleIap => Some("x-goog-iap-jwt-assertion"),
            SignedHeaderKind::AwsAlb => Some("x-amzn-oidc-data"),
            SignedHeaderKind::CloudflareAccess => Some("cf-access-jwt-assertion"),
            SignedHeaderKind::Jwt => None,
        };
        self.header.as_deref().or(known).map(str::to_ascii_lowercase)
    }

    /// The `iss` that is demanded.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        self.issuer.clone().or_else(|| match self.kind {
            SignedHeaderKind::GoogleIap => Some("https://cloud.google.com/iap".to_owned()),
            SignedHeaderKind::CloudflareAccess => self.team_domain.as_deref().map(|url| trimmed(url).to_owned()),
            SignedHeaderKind::AwsAlb | SignedHeaderKind::Jwt => None,
        })
    }

    /// Where its keys are.
    #[must_use]
    pub fn keys(&self) -> Option<String> {
        self.jwks_url.clone().or_else(|| match self.kind {
            SignedHeaderKind::GoogleIap => Some("https://www.gstatic.com/iap/verify/public_key-jwk".to_owned()),
            SignedHeaderKind::AwsAlb => self
                .region
                .as_ref()
                .map(|region| format!("https://public-keys.auth.elb.{region}.amazonaws.com/{{kid}}")),
            SignedHeaderKind::CloudflareAccess => {
                self.team_domain.as_deref().map(|url| format!("{}/cdn-cgi/access/certs", trimmed(url)))
            }
            SignedHeaderKind::Jwt => None,
        })
    }
}

fn trimmed(url: &str) -> &str {
    url.trim_end_matches('/')
}
