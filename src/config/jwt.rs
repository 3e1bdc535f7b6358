use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use crate::domain::Role;

/// LiteLLM's `litellm_jwtauth`: how signed tokens are read. Names of claims are paths: `realm_access.roles`,
/// `groups[0]`; a claim whose whole name is the path comes first.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JwtAuth {
    /// The scope that makes its bearer an administrator; scopes are read from `scope` and `scp`.
    pub admin_jwt_scope: String,
    /// Routes an administrator by token may use: paths, a trailing `*`, or groups. Model routes are not among them
    /// unless added.
    pub admin_allowed_routes: Vec<String>,
    /// The claim with the id of the one team. With it, or `team_alias_jwt_field`, a team is required.
    pub team_id_jwt_field: Option<String>,
    /// The claim with the alias of the one team.
    pub team_alias_jwt_field: Option<String>,
    /// The claim with the ids of teams to choose from: the first, in the order of their ids, that may use model and
    /// route.
    pub team_ids_jwt_field: Option<String>,
    /// The team where none is claimed.
    pub team_id_default: Option<String>,
    /// Creates a claimed team that is missing, as `litellm_settings.default_team_params` says.
    pub team_id_upsert: bool,
    /// Routes of callers who act for a team.
    pub team_allowed_routes: Vec<String>,
    /// A claimed team that cannot be resolved falls back to the user's only team in the directory.
    pub team_claim_fallback: bool,
    /// Without a claimed team the user's teams in the directory are chosen from, and `x-litellm-team-id` may name any.
    pub fallback_to_db_teams: bool,
    /// A request for a model without any team is refused.
    pub enforce_team_based_model_access: bool,
    /// A user that is created becomes a member of the claimed teams.
    pub upsert_sso_user_to_team: bool,
    /// The claim with the id of the organization.
    pub org_id_jwt_field: Option<String>,
    /// The claim with the alias of the organization.
    pub org_alias_jwt_field: Option<String>,
    /// The claim with the id of the user; without it, the address is the id.
    pub user_id_jwt_field: Option<String>,
    /// The claim with the user's address.
    pub user_email_jwt_field: Option<String>,
    /// The only domain of addresses.
    pub user_allowed_email_domain: Option<String>,
    /// The claim with the roles that `user_allowed_roles` is about; the two are set together.
    pub user_roles_jwt_field: Option<String>,
    /// A bearer of one of these roles is an internal user.
    pub user_allowed_roles: Option<Vec<String>>,
    /// Creates a user that is missing, as `litellm_settings.default_internal_user_params` says.
    pub user_id_upsert: bool,
    /// The claim with the id of the end user.
    pub end_user_id_jwt_field: Option<String>,
    /// The claim with the roles that `role_mappings` maps.
    pub roles_jwt_field: Option<String>,
    /// Roles of the provider and what they are here.
    pub role_mappings: Vec<RoleMapping>,
    /// The claim with an id that is a user's or a team's, by the role that `role_mappings` gives.
    pub object_id_jwt_field: Option<String>,
    /// A token without a role here is refused, and `general_settings.role_permissions` holds for those with one.
    pub enforce_rbac: bool,
    /// What scopes are good for.
    pub scope_mappings: Vec<ScopeMapping>,
    /// Only the models of the token's scopes may be used.
    pub enforce_scope_based_access: bool,
    /// Roles of the provider, with `*` and `?`, and the role their bearer has in the directory.
    pub jwt_litellm_role_map: Vec<RoleMap>,
    /// Writes role and memberships of the user as the token claims them, where they differ.
    pub sync_user_role_and_teams: bool,
    /// A CEL expression over `claims` that must be true: `claims.email_verified && claims.tier in ["gold", "silver"]`.
    pub custom_validate: Option<String>,
    /// Seconds after which the keys of an issuer are fetched again.
    pub public_key_ttl: u64,
    /// Seconds for which old keys are used after that while the issuer does not answer; 0 refuses at once.
    pub public_key_stale_ttl: u64,
    /// Routes that need no token.
    pub public_allowed_routes: Vec<String>,
    /// Asks the userinfo endpoint who bears a token that is not a JWT (OpenID Connect Core 1.0, section 5.3).
    pub oidc_userinfo_enabled: bool,
    /// The URL of that endpoint.
    pub oidc_userinfo_endpoint: Option<String>,
    /// Seconds for which an answer of the userinfo endpoint is used.
    pub oidc_userinfo_cache_ttl: u64,
    /// The claim whose value stands for a virtual key (`/jwt/key/mapping/new`).
    #[serde(alias = "jwt_client_id_field")]
    pub virtual_key_claim_field: Option<String>,
    /// LiteLLM's; mappings are kept like keys here, and a change counts at once.
    pub virtual_key_mapping_cache_ttl: u64,
    /// What becomes of a token whose claim stands for no key.
    pub unregistered_jwt_client_behavior: Unregistered,
    /// `auto_register` takes a key that the user has for this team, where there is one.
    pub auto_register_map_existing_key: bool,
    /// JWTs that the OAuth2 authorization server judges instead.
    pub routing_overrides: Vec<RoutingOverride>,
    /// Issuers with keys and rules of their own.
    pub issuers: Vec<Issuer>,
    /// Seconds by which clocks may differ, for `exp`, `nbf` and `iat`.
    pub leeway: u64,
    /// Algorithms that are accepted.
    pub algorithms: Vec<String>,
    /// Accepts tokens of any audience where `jwt_audience` is not set. Such a token may have been issued for another
    /// service, whose operator could then call in its bearer's name.
    pub disable_audience_validation: bool,
    /// Seconds for which a verified token is not verified again, at most 300 and never past its `exp`.
    pub token_cache_ttl: u64,
}

impl Default for JwtAuth {
    fn default() -> Self {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        JwtAuth {
            admin_jwt_scope: "litellm_proxy_admin".to_owned(),
            admin_allowed_routes: list(&[
                "management_routes",
                "spend_tracking_routes",
                "global_spend_tracking_routes",
                "info_routes",
            ]),
            team_id_jwt_field: None,
            team_alias_jwt_field: None,
            team_ids_jwt_field: None,
            team_id_default: None,
            team_id_upsert: false,
            team_allowed_routes: list(&[
                "openai_routes",
                "info_routes",
                "mcp_routes",
                "/v1/messages",
                "/v1/messages/count_tokens",
                "/rag/ingest",
                "/v1/rag/ingest",
                "/rag/query",
                "/v1/rag/query",
            ]),
            team_claim_fallback: false,
            fallback_to_db_teams: false,
            enforce_team_based_model_access: false,
            upsert_sso_user_to_team: false,
            org_id_jwt_field: None,
            org_alias_jwt_field: None,
            user_id_jwt_field: None,
            user_email_jwt_field: None,
            user_allowed_email_domain: None,
            user_roles_jwt_field: None,
            user_allowed_roles: None,
            user_id_upsert: false,
            end_user_id_jwt_field: None,
            roles_jwt_field: None,
            role_mappings: Vec::new(),
            object_id_jwt_field: None,
            enforce_rbac: false,
            scope_mappings: Vec::new(),
            enforce_scope_based_access: false,
            jwt_litellm_role_map: Vec::new(),
            sync_user_role_and_teams: false,
            custom_validate: None,
            public_key_ttl: 600,
            public_key_stale_ttl: 3_600,
            public_allowed_routes: list(&["public_routes"]),
            oidc_userinfo_enabled: false,
            oidc_userinfo_endpoint: None,
            oidc_userinfo_cache_ttl: 300,
            virtual_key_claim_field: None,
            virtual_key_mapping_cache_ttl: 300,
            unregistered_jwt_client_behavior: Unregistered::FallbackTeamMapping,
            auto_register_map_existing_key: false,
            routing_overrides: Vec::new(),
            issuers: Vec::new(),
            leeway: 10,
            algorithms: list(&[
                "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
            ]),
            disable_audience_validation: false,
            token_cache_ttl: 300,
        }
    }
}

/// A role of the provider and what it is here.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleMapping {
    /// The role as the token names it.
    pub role: String,
    /// `proxy_admin`, `internal_user` or `team`.
    #[schemars(with = "String")]
    pub internal_role: Role,
}

/// A role of the provider and the role its bearer has in the directory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleMap {
    /// With `*` and `?`.
    pub jwt_role: String,
    /// A role here.
    #[schemars(with = "String")]
    pub litellm_role: Role,
}

/// What a scope is good for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeMapping {
    /// The scope as the token names it.
    pub scope: String,
    /// Models, patterns or access groups.
    #[serde(default)]
    pub models: Vec<String>,
    /// Routes, where the scope is good for some only.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// What bearers of a role may use where `enforce_rbac` is on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolePermission {
    /// `proxy_admin`, `internal_user` or `team`.
    #[schemars(with = "String")]
    pub role: Role,
    /// Models, patterns or access groups; absent is any.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Routes or groups of them; absent is any.
    #[serde(default)]
    pub routes: Option<Vec<String>>,
}

/// What becomes of a token whose claim stands for no key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unregistered {
    /// Its other claims decide.
    #[default]
    FallbackTeamMapping,
    /// 403.
    Reject,
    /// A key is made for its user, team and organization, and the claim stands for it from then on.
    AutoRegister,
}

/// JWTs that the OAuth2 authorization server judges; every condition that is given holds. Values may hold `*` and `?`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoutingOverride {
    /// Issuers.
    pub iss: Many,
    /// Clients, by `client_id`, `azp`, `appid` or `cid`.
    pub client_id: Many,
    /// Scopes, of which the token has one.
    pub scope: Many,
    /// Audiences, of which the token has one.
    pub aud: Many,
    /// `oauth2`.
    pub path: String,
}

/// An issuer with keys and rules of its own; what is not set is as `litellm_jwtauth` says.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens, exactly.
    pub issuer: String,
    /// Its keys: a JWKS, a `{kid: pem}` map, a PEM file, or a discovery document
    /// (`https://…/.well-known/openid-configuration`). Absent is the discovery document of the issuer.
    pub jwks_url: Option<String>,
    /// Its key, as PEM or as the name of a file that holds it; instead of `jwks_url`.
    pub public_key: Option<String>,
    /// The audiences of tokens meant for this gateway.
    pub audience: Many,
    /// Accepts tokens of any audience; instead of `audience`.
    pub disable_audience_validation: bool,
    /// Algorithms that are accepted of it.
    pub algorithms: Vec<String>,
    /// The scope that makes its bearer an administrator. Without one, nothing in a token of this issuer does.
    pub admin_jwt_scope: Option<String>,
    /// What is put before the ids of its users, where those of another issuer could be the same.
    pub user_id_prefix: Option<String>,
    /// Instead of `litellm_jwtauth.user_id_jwt_field`.
    pub user_id_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.user_email_jwt_field`.
    pub user_email_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.team_id_jwt_field`.
    pub team_id_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.team_ids_jwt_field`.
    pub team_ids_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.org_id_jwt_field`.
    pub org_id_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.end_user_id_jwt_field`.
    pub end_user_id_jwt_field: Option<String>,
    /// Instead of `litellm_jwtauth.virtual_key_claim_field`.
    pub virtual_key_claim_field: Option<String>,
    /// Instead of `litellm_jwtauth.unregistered_jwt_client_behavior`.
    pub unregistered_jwt_client_behavior: Option<Unregistered>,
}

/// One text or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Vec<String>")]
pub struct Many(pub Vec<String>);

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> serde::de::Visitor<'de> for Texts {
            type Value = Many;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_unit<E>(self) -> Result<Many, E> {
                Ok(Many::default())
            }

            fn visit_str<E>(self, text: &str) -> Result<Many, E> {
                Ok(Many(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Many, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Many(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}
