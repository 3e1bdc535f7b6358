use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How requests are read and answered.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// Where Envoy serves the APIs, as in `/genai`: a path below it is read without it, here and in all lists of routes.
    pub root_path: String,
    /// What a body gets that Envoy cut off (`x-envoy-auth-partial-body: true`).
    pub partial_body: PartialBody,
    /// Lets CORS preflights (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) pass without a credential.
    pub allow_preflight: bool,
    /// Origins that are told that they may read denials; `*` is any.
    pub cors_allow_origins: Vec<String>,
    /// Which `x-forwarded-for` entry is the client: 0 takes the connection's own address, n the n-th entry from the
    /// right. Count one for each proxy in front of Envoy, and one more where Envoy itself appends (`use_remote_address`).
    pub trusted_hops: usize,
    /// Networks whose `x-forwarded-for` is believed; empty is any when `trusted_hops` is set.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxy_ranges: Vec<IpNet>,
    /// How deep JSON may be nested.
    pub max_json_depth: usize,
    /// Bytes a compressed request body is decoded to at most.
    pub max_decoded_body: usize,
    /// How trouble of our own is answered.
    pub on_error: OnError,
    /// Which identity headers the upstream receives; `none` wherever a provider key is injected.
    pub upstream_identity: UpstreamIdentity,
    /// Keeps the upstream's rate-limit headers as `llm_provider-*`.
    pub keep_provider_rate_limits: bool,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            root_path: String::new(),
            partial_body: PartialBody::Deny,
            allow_preflight: true,
            cors_allow_origins: vec!["*".to_owned()],
            trusted_hops: 0,
            trusted_proxy_ranges: Vec::new(),
            max_json_depth: 128,
            max_decoded_body: 32 * 1024 * 1024,
            on_error: OnError::ErrorResponse,
            upstream_identity: UpstreamIdentity::All,
            keep_provider_rate_limits: false,
        }
    }
}

impl Request {
    /// Whether `x-forwarded-for` is believed from this peer.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxy_ranges.is_empty() || self.trusted_proxy_ranges.iter().any(|range| range.contains(&peer))
    }
}

/// What a body gets that Envoy cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartialBody {
    /// 413.
    Deny,
    /// What is there is read; it must name the model.
    Allow,
}

/// How trouble of our own (a store that does not answer) is told to Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// `CheckResponse.error_response` (Envoy 1.37 and later): our 503 body, and `failure_mode_allow` stays the
    /// operator's choice.
    ErrorResponse,
    /// A gRPC error, for older Envoys: they answer with `status_on_error`.
    GrpcStatus,
    /// A denial with status 503: never let through by `failure_mode_allow`.
    DenyResponse,
}

/// Which identity headers the upstream receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamIdentity {
    All,
    /// Ids without names and e-mail addresses.
    Ids,
    None,
}
