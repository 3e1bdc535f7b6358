use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::jwt::{JwtAuth, Many, RolePermission};
use crate::domain::Secret;

/// LiteLLM's `general_settings`, as far as they concern who may do what.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct General {
    /// The key of the operator: role `proxy_admin`. `TOLLWARD_MASTER_KEY` and `LITELLM_MASTER_KEY` stand where it is
    /// absent.
    pub master_key: Option<Secret>,
    /// Accepts a missing, short or publicly known master key.
    pub dangerously_permit_weak_or_unset_master_key: bool,
    /// A header that, where present, replaces every other place a key is read from; its value needs `Bearer `.
    pub litellm_key_header_name: Option<String>,
    /// Client addresses that may call at all: addresses or networks. Empty is any.
    pub allowed_ips: Vec<String>,
    /// The only routes that exist for anyone; exact paths.
    pub allowed_routes: Vec<String>,
    /// Routes only a `proxy_admin` may use; exact paths.
    pub admin_only_routes: Vec<String>,
    /// Routes that need no credential: exact paths, a trailing `*`, or a group as `LiteLLMRoutes.public_routes`.
    pub public_routes: Vec<String>,
    /// Paths of upstream services that are not model APIs.
    pub pass_through_endpoints: Vec<PassThroughEndpoint>,
    /// Lets clients name destinations and credentials of the provider in the body.
    pub allow_client_side_credentials: bool,
    /// POST requests to model routes must name a `user`.
    pub enforce_user_param: bool,
    /// The header that names the end user.
    pub user_header_name: Option<String>,
    /// Headers that name users by role.
    pub user_header_mappings: Vec<HeaderMapping>,
    /// Parameters every request must hold; dotted names look one level deeper.
    pub enforced_params: Vec<String>,
    /// Refuses tags that the client chooses.
    pub reject_clientside_metadata_tags: bool,
    /// Budgets of users bind their team keys too.
    pub apply_user_budget_to_team_keys: bool,
    /// Budgets hold nothing for running requests, as `quota.reserve: none` does for budgets and token limits.
    pub disable_budget_reservation: bool,
    /// What counts against token limits: `total`, `input` or `output`.
    pub token_rate_limit_type: super::litellm::TokenRateLimitType,
    /// Requests in flight over the whole gate.
    pub global_max_parallel_requests: Option<u64>,
    /// Refuses larger request bodies.
    pub max_request_size_mb: Option<f64>,
    /// Keys whose text the caller chooses are refused.
    pub disable_custom_api_keys: bool,
    /// LiteLLM's name for `directory.cache_ttl`, in seconds.
    pub user_api_key_cache_ttl: Option<u64>,
    /// LiteLLM's name for `directory.cache_size`.
    pub user_api_key_cache_max_size: Option<usize>,
    /// LiteLLM's name for `directory.url`.
    pub database_url: Option<Secret>,
    /// Signed tokens (JWT) say who calls.
    pub enable_jwt_auth: bool,
    /// How they are read.
    pub litellm_jwtauth: JwtAuth,
    /// Where the keys of issuers without an entry of their own are: URLs of JWKS or discovery documents, separated by
    /// commas. `JWT_PUBLIC_KEY_URL` stands where it is absent.
    pub jwt_public_key_url: Option<String>,
    /// The audience, or several, that their tokens must be for. `JWT_AUDIENCE` stands where it is absent.
    pub jwt_audience: Many,
    /// The `iss` their tokens must have. `JWT_ISSUER` stands where it is absent.
    pub jwt_issuer: Option<String>,
    /// `litellm_jwtauth.admin_jwt_scope`.
    pub jwt_admin_scope: Option<String>,
    /// `litellm_jwtauth.user_allowed_email_domain`.
    pub user_allowed_email_domain: Option<String>,
    /// `litellm_jwtauth.enforce_rbac`.
    pub enforce_rbac: bool,
    /// What bearers of a role may use where `enforce_rbac` is on; a role without an entry may use nothing.
    pub role_permissions: Vec<RolePermission>,
    /// LiteLLM's switch for `request.trusted_hops: 1`.
    pub use_x_forwarded_for: bool,
    /// Reads who calls from headers of a trusted proxy, as `oauth2_config_mappings` says.
    pub enable_oauth2_proxy_auth: bool,
    /// Which header says what of a caller.
    pub oauth2_config_mappings: super::ProxyMappings,
    /// Addresses and networks of the proxies whose identity headers are believed, by the connection's own address.
    /// `request.trusted_proxy_ranges` is another list: whose `x-forwarded-for` is believed.
    pub trusted_proxy_ranges: Vec<String>,
    /// Principals of the proxies whose identity headers are believed (`source.principal`, as
    /// `spiffe://cluster.local/ns/gateway/sa/oauth2-proxy`); `*` and `**` as in `identity.mtls`.
    pub trusted_proxy_principals: Vec<String>,
    /// The Python function of a LiteLLM file. It is not run: `custom_auth_settings.endpoint` or `.expression` stands for it.
    pub custom_auth: Option<String>,
    /// An authoriser of yours that says who calls.
    pub custom_auth_settings: super::CustomAuth,
    /// `false`: of callers the authoriser names, only the routes and limits it gives are checked; the directory is not
    /// asked about them. LiteLLM's default is `false`. Where nothing is said: `true`.
    pub custom_auth_run_common_checks: Option<bool>,
    /// Asks an authorization server about credentials that are no keys (see `docs/oauth2.md`).
    pub enable_oauth2_auth: bool,
    /// Where it is asked: the URL of introspection (RFC 7662) or of token info. `OAUTH_TOKEN_INFO_ENDPOINT` stands where
    /// it is absent.
    pub oauth_token_info_endpoint: Option<String>,
    /// `introspection` or `token_info`. Where it is absent: introspection if the URL contains `introspect` and the client
    /// has an id and a secret or a key.
    pub oauth_mode: Option<super::OAuthMode>,
    /// The id of the gate at the authorization server. `OAUTH_CLIENT_ID` stands where it is absent.
    pub oauth_client_id: Option<String>,
    /// Its secret. `OAUTH_CLIENT_SECRET` stands where it is absent.
    pub oauth_client_secret: Option<Secret>,
    /// How it proves who it is: `basic`, `post`, `private_key_jwt` or `none`. Where it is absent: by what is set, a key, a
    /// secret (`basic`) or nothing.
    pub oauth_client_auth: Option<super::OAuthClientAuth>,
    /// The private key of `private_key_jwt`: PEM, or the name of a file with it.
    pub oauth_client_key: Option<Secret>,
    /// The `kid` of that key at the authorization server.
    pub oauth_client_key_id: Option<String>,
    /// What is signed with: `RS256` or `PS256`, `ES256`, `ES384`, `EdDSA`. Where it is absent, by the kind of the key
    /// (`RS256`).
    pub oauth_client_algorithm: Option<super::OAuthAlgorithm>,
    /// Audiences (`aud`) of which a token must have one. Empty is any.
    pub oauth_audience: Vec<String>,
    /// Scopes a token must all have.
    pub oauth_required_scopes: Vec<String>,
    /// The issuer (`iss`) a token must be of; also the audience of what `private_key_jwt` signs, in place of the URL.
    pub oauth_issuer: Option<String>,
    /// The longest wait for the authorization server, in milliseconds; 2000.
    pub oauth_timeout_ms: Option<u64>,
    /// The longest time in seconds that an answer is used, never past `exp`; 300. A revoked token works until then.
    pub oauth_cache_ttl: Option<u64>,
    /// How long a refused token is remembered, in seconds; 10.
    pub oauth_negative_ttl: Option<u64>,
    /// The field of the answer that names the user, also a path as `a.b[0]`; `sub`. `OAUTH_USER_ID_FIELD_NAME` stands
    /// where it is absent, as the variables named like them do for role and team.
    pub oauth_user_id_field_name: Option<String>,
    /// The field with the e-mail address; `email`.
    pub oauth_user_email_field_name: Option<String>,
    /// The field with the role; `role`. A role that does not exist is refused.
    pub oauth_user_role_field_name: Option<String>,
    /// The field with the id of the team; `team_id`.
    pub oauth_user_team_id_field_name: Option<String>,
    /// The field with the id of the organization; none.
    pub oauth_org_id_field_name: Option<String>,
}

/// A header that names a user.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderMapping {
    /// The header, in any letter case.
    pub header_name: String,
    /// `customer` names the end user; other roles are not read here.
    pub litellm_user_role: String,
}

/// A path of an upstream service that is not a model API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct PassThroughEndpoint {
    /// The path at the gateway.
    pub path: String,
    /// `true`: callers need a key, and the path must be in its `allowed_passthrough_routes`. `false`: anyone may call.
    #[serde(default = "yes")]
    pub auth: bool,
    /// Serves what lies below the path too.
    #[serde(default)]
    pub include_subpath: bool,
    /// Dollars a request.
    #[serde(default)]
    pub cost_per_request: Option<f64>,
    /// Where the upstream is; Envoy's business.
    #[serde(default)]
    pub target: Option<String>,
    /// Methods it serves; none is all.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Headers for the upstream; Envoy's business.
    #[serde(default)]
    pub headers: BTreeMap<String, serde_json::Value>,
}

const fn yes() -> bool {
    true
}
