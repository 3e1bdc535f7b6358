//! Headers in which a proxy signs whom it let in: whose keys, for whom, and no two of one name.

use super::Check;
use super::jwt::address;
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
    if let Some(domain) = header.team_domain.as_ref().filter(|domain| !domain.starts_with("https://")) {
        let message = format!("must be a URL, as https://{}", domain.rsplit('/').next().unwrap_or_default());
        check.wrong(format!("{at}.team_domain"), message);
    }
    if let Some(keys) = header.keys() {
        address(&keys.replace("{kid}", "kid"), &format!("{at}.jwks_url"), check);
    } else {
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

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn parse(entry: &str) -> Result<Config, String> {
        let text =
            format!("general_settings: {{master_key: sk-0123456789}}\nidentity:\n  signed_headers:\n  - {entry}\n");
        Config::parse(&text, "t.yaml", &|_| None).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn whose_a_header_is_must_be_said_in_full() {
        for good in [
            "{kind: google_iap, audience: /projects/1/global/backendServices/2}",
            "{kind: aws_alb, region: eu-central-1, signer: 'arn:aws:x'}",
            "{kind: aws_alb, jwks_url: 'https://keys.example.com/{kid}', signer: 'arn:aws:x'}",
            "{kind: cloudflare_access, team_domain: 'https://a.cloudflareaccess.com/', audience: a}",
            "{kind: jwt, header: X-Id, issuer: a, jwks_url: /etc/keys.json, audience: [a, b]}",
            "{kind: jwt, header: X-Id, issuer: a, jwks_url: 'http://127.0.0.1/k', disable_audience_validation: true}",
        ] {
            parse(good).expect(good);
        }
        for (bad, expected) in [
            ("{kind: google_iap}", "identity.signed_headers[0]: needs either audience or disable_audience_validation"),
            ("{kind: aws_alb, region: eu-central-1}", "identity.signed_headers[0].signer: is missing"),
            ("{kind: aws_alb, signer: 'arn:aws:x'}", "identity.signed_headers[0]: needs region"),
            ("{kind: cloudflare_access, audience: a}", "identity.signed_headers[0]: needs team_domain"),
            (
                "{kind: cloudflare_access, team_domain: a.cloudflareaccess.com, audience: a}",
                "identity.signed_headers[0].team_domain: must be a URL, as https://a.cloudflareaccess.com",
            ),
            (
                "{kind: cloudflare_access, team_domain: 'http://a.cloudflareaccess.com', audience: a}",
                "identity.signed_headers[0].team_domain: must be a URL, as https://a.cloudflareaccess.com",
            ),
            ("{header: X-Id, jwks_url: /k, audience: a}", "identity.signed_headers[0].issuer: is missing"),
            ("{issuer: a, jwks_url: /k, audience: a}", "identity.signed_headers[0].header: is missing"),
            ("{header: X-Id, issuer: a, audience: a}", "identity.signed_headers[0]: needs jwks_url"),
            (
                "{header: X-Id, issuer: a, jwks_url: 'http://keys.example.com/{kid}', audience: a}",
                "identity.signed_headers[0].jwks_url: http is used on loopback addresses only",
            ),
            (
                "{header: Authorization, issuer: a, jwks_url: /k, audience: a}",
                "identity.signed_headers[0].header: must not be a header of credentials",
            ),
            (
                "{kind: google_iap, audience: a}\n  - {kind: google_iap, audience: b}",
                "identity.signed_headers[1].header: must not stand twice",
            ),
        ] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains(expected), "{bad}: {error}");
        }
    }
}
