//! What roles, scopes and the operator's own expression allow.

use super::support::signed::{denied, passes, row, signed, signed_with};
use super::support::{json, unique};

const ROUTE: &str = "route_access_denied|auth_error";
const MODEL: &str = "key_model_access_denied|team_model_access_denied|user_model_access_denied|auth_error";

#[tokio::test]
async fn a_role_of_the_provider_is_a_role_here_and_the_object_id_follows_it() {
    let options = json!({
        "roles_jwt_field": "realm_access.roles", "object_id_jwt_field": "oid", "enforce_rbac": true,
        "role_mappings": [
            {"role": "people", "internal_role": "internal_user"},
            {"role": "service", "internal_role": "team"},
        ],
    });
    let config = json!({"general_settings": {"role_permissions": [
        {"role": "internal_user", "models": ["gpt-4o-mini"], "routes": ["openai_routes"]},
        {"role": "team", "models": ["gpt-4o"], "routes": ["/v1/chat/completions"]},
    ]}});
    let signed = signed_with(options, config).await;
    let (user, team) = (unique("user"), signed.team(json!({})).await);
    let person = json!({"realm_access": {"roles": ["other", "people"]}, "oid": user});
    let service = json!({"realm_access": {"roles": ["service"]}, "oid": team});
    let embed = "/v1/embeddings";
    signed
        .hold(vec![
            row("a user", person.clone(), passes(&[("user-id", &user), ("team-id", "")])),
            row("a user's models", person.clone(), denied(403, MODEL)).model("gpt-4o"),
            row("a user's routes", person.clone(), denied(403, ROUTE)).path("/v1/messages"),
            row("a team", service.clone(), passes(&[("team-id", &team), ("user-id", "")])).model("gpt-4o"),
            row("a team's models", service.clone(), denied(403, MODEL)),
            row("a team's routes", service.clone(), denied(403, ROUTE)).path(embed).model("gpt-4o"),
            row("no role here", json!({"realm_access": {"roles": ["other"]}, "oid": user}), denied(403, "auth_error")),
            row("no role at all", json!({"oid": user}), denied(403, "auth_error")),
            row("a role by another name", json!({"realm_access": {"roles": ["PEOPLE"]}}), denied(403, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_role_without_permissions_may_use_nothing_and_without_enforcement_all() {
    for (enforced, expected) in [(true, denied(403, ROUTE)), (false, passes(&[]))] {
        let options = json!({
            "user_id_jwt_field": "sub", "user_roles_jwt_field": "roles", "user_allowed_roles": ["people", "staff"],
            "enforce_rbac": enforced,
        });
        let config = json!({"general_settings": {"role_permissions": [{"role": "team"}]}});
        let signed = signed_with(options, config).await;
        signed.hold(vec![row("another role's", json!({"roles": ["people"]}), expected)]).await;
    }
}

#[tokio::test]
async fn a_listed_role_makes_an_internal_user() {
    let options = json!({
        "user_roles_jwt_field": "roles", "user_allowed_roles": ["people", "staff"], "enforce_rbac": true,
    });
    let config = json!({"general_settings": {"role_permissions": [{"role": "internal_user"}]}});
    let signed = signed_with(options, config).await;
    signed
        .hold(vec![
            row("listed", json!({"roles": ["staff"]}), passes(&[("role", "internal_user")])),
            row("listed, as a text", json!({"roles": "staff"}), passes(&[("role", "internal_user")])),
            row("not listed", json!({"roles": ["guest"]}), denied(403, "auth_error")),
            row("none", json!({}), denied(403, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_role_of_the_provider_may_make_an_administrator() {
    let options = json!({
        "roles_jwt_field": "roles", "role_mappings": [{"role": "gate-admin", "internal_role": "proxy_admin"}],
    });
    let signed = signed(options).await;
    let manage = async |roles: &str| {
        let token = signed.token(&json!({"roles": [roles]}));
        signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await.0
    };
    assert_eq!(manage("gate-admin").await, 200);
    assert_eq!(manage("gate-admins").await, 403);
    // As row 52 has it for the scope.
    signed.hold(vec![row("no model", json!({"roles": ["gate-admin"]}), denied(403, "route_access_denied"))]).await;
}

#[tokio::test]
async fn scopes_name_the_models() {
    let options = json!({
        "user_id_jwt_field": "sub", "enforce_scope_based_access": true,
        "scope_mappings": [
            {"scope": "models.cheap", "models": ["gpt-4o-mini"]},
            {"scope": "models.claude", "models": ["claude-*"]},
            {"scope": "models.group", "models": ["premium-models"]},
            {"scope": "models.embed", "models": ["text-embedding-3-small"], "routes": ["/v1/embeddings"]},
        ],
    });
    let signed = signed(options).await;
    let scope = |scope: &str| json!({"scope": scope});
    signed
        .hold(vec![
            row("its model", scope("models.cheap"), passes(&[])),
            row("in scp", json!({"scp": ["models.cheap"]}), passes(&[])),
            row("a pattern", scope("models.claude"), passes(&[])).model("claude-3-5-sonnet"),
            row("a group", scope("models.group"), passes(&[])).model("gpt-4o"),
            row("another model", scope("models.cheap"), denied(403, MODEL)).model("gpt-4o"),
            row("the sum of two", scope("models.cheap models.group"), passes(&[])).model("gpt-4o"),
            row("an unknown scope", scope("models.none"), denied(403, MODEL)),
            row("no scope", json!({}), denied(403, MODEL)),
            row("its route", scope("models.embed"), passes(&[])).path("/v1/embeddings").model("text-embedding-3-small"),
            row("another route", scope("models.embed"), denied(403, ROUTE)).model("text-embedding-3-small"),
        ])
        .await;
}

#[tokio::test]
async fn the_operators_expression_must_be_true() {
    let expression = "claims.email_verified && claims.tier in ['gold', 'silver'] && size(claims.groups) > 0";
    let signed = signed(json!({"user_id_jwt_field": "sub", "custom_validate": expression})).await;
    let claims = |verified: bool, tier: &str, groups: &[&str]| json!({"email_verified": verified, "tier": tier, "groups": groups});
    signed
        .hold(vec![
            row("true", claims(true, "gold", &["a"]), passes(&[])),
            row("a tier", claims(true, "bronze", &["a"]), denied(403, "auth_error")),
            row("not verified", claims(false, "gold", &["a"]), denied(403, "auth_error")),
            row("an empty list", claims(true, "gold", &[]), denied(403, "auth_error")),
            row("a claim that is not there", json!({"tier": "gold"}), denied(403, "auth_error")),
            row(
                "of another type",
                json!({"email_verified": "true", "tier": "gold", "groups": ["a"]}),
                denied(403, "auth_error"),
            ),
        ])
        .await;
}
