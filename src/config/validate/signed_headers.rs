//! Headers in which a proxy signs whom it let in: whose keys, for whom, and no two of one name.

use super::Check;
use crate::config::{Config, SignedHeader, SignedHeaderKind};

/// Headers that mean something else.
const TAKEN: [&str; 9] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
    "x-litellm-api-key",
    "x-litellm-key",
    "cookie",
    "host",
];

pub(super) fn signed_headers(config: &Config, check: &mut Check<'_>) {
    let list = &config.identity.signed_headers;
    for (index, header) in list.iter().enumerate() {
        let at = format!("identity.signed_headers[{index}]");
        match header.name() {
            None => check.wrong(format!("{at}.header"), "is missing; name the header that holds the token"),
            Some(name) => {
                check.header(&name, &format!("{at}.header"));
                if TAKEN.contains(&name.as_str()) || name.starts_with("x-tollward-") {
                    check.wrong(format!("{at}.header"), "must not be a header of credentials, nor one of ours");
                }
                if list[..index].iter().any(|other| other.name().as_deref() == Some(&name)) {
                    check.wrong(format!("{at}.header"), "must not stand twice");
                }
            }
        }
        whose(header, &at, check);
    }
}

fn whose(header: &SignedHeader, at: &str, check: &mut Check<'_>) {
    if header.keys().is_none() {
        let message = match header.kind {
            SignedHeaderKind::AwsAlb => "needs region: the region of the load balancer, as eu-central-1",
            SignedHeaderKind::CloudflareAccess => "needs team_domain, as https://example.cloudflareaccess.com",
            SignedHeaderKind::GoogleIap | SignedHeaderKind::Jwt => "needs jwks_url: where its keys are",
        };
        check.wrong(at, message);
    }
    if header.kind == SignedHeaderKind::AwsAlb {
        if header.signer.as_ref().is_none_or(|signer| signer.is_empty()) {
            let message = "is missing; write the ARN of the load balancer, or those of others would be believed";
            check.wrong(format!("{at}.signer"), message);
        }
    } else if header.audience.0.is_empty() != header.disable_audience_validation {
        check.wrong(at, "needs either audience or disable_audience_validation: true, and not both");
    }
    if header.kind == SignedHeaderKind::Jwt && header.issuer.is_none() {
        check.wrong(format!("{at}.issuer"), "is missing; write the iss of its tokens, exactly");
    }
}
