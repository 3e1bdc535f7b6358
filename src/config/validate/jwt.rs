//! Signed tokens: whose, for whom, and options that need one another.

use super::Check;
use crate::authn::fetch::check_url;
use crate::config::{Config, JwtAuth, RoutingOverride, Unregistered};
use crate::expression::Expression;

/// Names of algorithms that are never taken: who knows the public key could sign with it.
const SYMMETRIC: &str = "is symmetric or none, and never accepted; the algorithms are RS256 to RS512, PS256 to PS512, \
                         ES256 to ES512 and EdDSA";
const ALGORITHMS: [&str; 11] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];

pub(super) fn jwt(config: &Config, check: &mut Check<'_>) {
    let general = &config.general_settings;
    let jwt = &general.litellm_jwtauth;
    let at = |name: &str| format!("general_settings.litellm_jwtauth.{name}");
    algorithms(&jwt.algorithms, &at("algorithms"), check);
    issuers(jwt, check);
    together(jwt, check);
    condition(jwt, check);
    for (index, rule) in jwt.routing_overrides.iter().enumerate() {
        override_rule(rule, &at(&format!("routing_overrides[{index}]")), check);
    }
    if jwt.token_cache_ttl > 300 {
        check.wrong(at("token_cache_ttl"), "must be at most 300 seconds");
    }
    if !general.enable_jwt_auth {
        return;
    }
    if jwt.oidc_userinfo_enabled && general.enable_oauth2_auth {
        check.wrong(
            at("oidc_userinfo_enabled"),
            "judges opaque tokens, and so does enable_oauth2_auth: keep one of them",
        );
    }
    if !jwt.routing_overrides.is_empty() && !general.enable_oauth2_auth {
        check.wrong(at("routing_overrides"), "needs general_settings.enable_oauth2_auth, which judges those tokens");
    }
    for url in general.jwt_public_key_url.iter().flat_map(|urls| urls.split(',')) {
        address(url.trim(), "general_settings.jwt_public_key_url", check);
    }
    let has_keys = general.jwt_public_key_url.is_some() || !jwt.issuers.is_empty();
    let message = "needs keys: set general_settings.jwt_public_key_url (or JWT_PUBLIC_KEY_URL), or \
                   litellm_jwtauth.issuers";
    check.require(has_keys, "general_settings.enable_jwt_auth", message);
    let has_audience = !general.jwt_audience.0.is_empty() || jwt.disable_audience_validation;
    let message = "needs the audience of its tokens: set general_settings.jwt_audience (or JWT_AUDIENCE), or \
                   litellm_jwtauth.disable_audience_validation: true to take tokens that were issued for others";
    let is_told = general.jwt_public_key_url.is_none() || has_audience;
    check.require(is_told, "general_settings.enable_jwt_auth", message);
}

fn issuers(jwt: &JwtAuth, check: &mut Check<'_>) {
    for (index, issuer) in jwt.issuers.iter().enumerate() {
        let at = format!("general_settings.litellm_jwtauth.issuers[{index}]");
        if issuer.issuer.is_empty() {
            check.wrong(format!("{at}.issuer"), "is missing; write the iss of its tokens, exactly");
        }
        if jwt.issuers[..index].iter().any(|other| other.issuer == issuer.issuer) {
            check.wrong(format!("{at}.issuer"), "must not stand twice");
        }
        if issuer.audience.0.is_empty() != issuer.disable_audience_validation {
            check.wrong(at.clone(), "needs either audience or disable_audience_validation: true, and not both");
        }
        if issuer.jwks_url.is_some() && issuer.public_key.is_some() {
            check.wrong(at.clone(), "must have one of jwks_url and public_key only");
        }
        for url in issuer.jwks_url.iter().chain(&issuer.public_key) {
            address(url, &format!("{at}.jwks_url"), check);
        }
        algorithms(&issuer.algorithms, &format!("{at}.algorithms"), check);
    }
}

/// Where keys are fetched from; what is no URL is a file or the key itself.
pub(super) fn address(text: &str, at: &str, check: &mut Check<'_>) {
    if text.contains("://")
        && let Err(error) = check_url(text)
    {
        check.wrong(at, error);
    }
}

fn algorithms(names: &[String], at: &str, check: &mut Check<'_>) {
    for name in names {
        if !ALGORITHMS.contains(&name.as_str()) {
            check.wrong(at, SYMMETRIC);
        }
    }
}

/// Options that need one another.
fn together(jwt: &JwtAuth, check: &mut Check<'_>) {
    let at = |name: &str| format!("general_settings.litellm_jwtauth.{name}");
    if jwt.user_roles_jwt_field.is_some() != jwt.user_allowed_roles.is_some() {
        check.wrong(at("user_roles_jwt_field"), "must be set together with user_allowed_roles");
    }
    if jwt.object_id_jwt_field.is_some() && jwt.role_mappings.is_empty() {
        check.wrong(at("object_id_jwt_field"), "needs role_mappings, which say whether the id is a user's or a team's");
    }
    if !jwt.role_mappings.is_empty() && jwt.roles_jwt_field.is_none() {
        check.wrong(at("role_mappings"), "needs roles_jwt_field, the claim that holds the roles");
    }
    if jwt.enforce_scope_based_access && jwt.scope_mappings.is_empty() {
        check.wrong(at("enforce_scope_based_access"), "needs scope_mappings, or nobody may call");
    }
    if jwt.oidc_userinfo_enabled && jwt.oidc_userinfo_endpoint.is_none() {
        check.wrong(at("oidc_userinfo_enabled"), "needs oidc_userinfo_endpoint");
    }
    let maps = jwt.virtual_key_claim_field.is_some() || jwt.issuers.iter().any(|i| i.virtual_key_claim_field.is_some());
    if jwt.unregistered_jwt_client_behavior != Unregistered::FallbackTeamMapping && !maps {
        check.wrong(at("unregistered_jwt_client_behavior"), "needs virtual_key_claim_field");
    }
}

/// LiteLLM's files name a Python function here.
fn condition(jwt: &JwtAuth, check: &mut Check<'_>) {
    let Some(text) = &jwt.custom_validate else { return };
    if let Err(error) = Expression::over_claims(text) {
        let message = format!(
            "{error}; it is a CEL expression over claims, as claims.email_verified == true: a Python function is not run"
        );
        check.wrong("general_settings.litellm_jwtauth.custom_validate", message);
    }
}

fn override_rule(rule: &RoutingOverride, at: &str, check: &mut Check<'_>) {
    if rule.path != "oauth2" {
        check.wrong(format!("{at}.path"), "must be oauth2");
    }
    if [&rule.iss, &rule.client_id, &rule.scope, &rule.aud].iter().all(|condition| condition.0.is_empty()) {
        check.wrong(at, "needs a condition: iss, client_id, scope or aud");
    }
}
