//! The configuration: one YAML file, read and checked as a whole before anything starts. Each section is a file of its
//! own; `docs/configuration.md` is generated from these types.

mod addresses;
mod authoriser;
mod counters;
mod custom_auth;
mod directory;
mod foreign;
mod general;
mod identity;
mod jwt;
mod ledger;
mod lifetime;
mod listen;
mod litellm;
mod load;
mod metering;
mod model;
mod oauth2;
#[cfg(test)]
pub(crate) mod pages;
mod policy;
mod problem;
mod proxy;
mod quota;
pub mod reference;
mod request;
mod session;
mod shadow;
mod signed_headers;
mod substitute;
mod summary;
mod telemetry;
mod tls;
mod tree;
mod typed;
mod validate;
pub mod watch;

use schemars::JsonSchema;
use serde::Deserialize;

pub use addresses::{AddressList, NotAnAddress};
pub use authoriser::AuthoriserAddress;
pub use counters::Counters;
pub use custom_auth::{CachePart, CustomAuth, CustomAuthMode, CustomAuthoriser};
pub use directory::{Directory, Migrate, PreparedStatements, is_postgres};
pub use general::{General, HeaderMapping, PassThroughEndpoint};
pub use identity::{Identity, MtlsEntry};
pub use jwt::{
    Issuer, JwtAuth, Many, RoleMap, RoleMapping, RolePermission, RoutingOverride, ScopeMapping, Unregistered,
};
pub use ledger::Ledger;
pub use lifetime::Lifetime;
pub use listen::Listen;
pub use litellm::{LiteLlm, TokenRateLimitType};
pub use metering::{Metering, UnknownModel, Unmeterable};
pub use model::{LiteLlmParams, ModelEntry, ModelInfo};
pub use oauth2::{OAuthAlgorithm, OAuthClientAuth, OAuthMode};
pub use policy::{Policy, PolicyEffect, PolicyMode, PolicyRule};
pub use problem::{ConfigError, Problem, Problems, Warning};
pub use proxy::ProxyMappings;
pub use quota::{BudgetsWithout, InputBound, OnCounterFailure, Quota, RateLimitsWithout, Reserve};
pub use request::{OnError, PartialBody, Request, UpstreamIdentity};
pub use session::Session;
pub use shadow::Shadow;
pub use signed_headers::{SignedHeader, SignedHeaderKind};
pub use substitute::Environment;
pub use telemetry::{LogFormat, Telemetry};
pub use tls::{ServerTls, Tls};
pub use tree::Place;
pub use watch::Watch;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses of the three ports.
    pub listen: Listen,
    /// Where keys, teams, budgets and the ledger live.
    pub directory: Directory,
    /// Where rate limits, in-flight leases and spend are counted.
    pub counters: Counters,
    /// How long records are kept, and where they wait until they are in the directory.
    pub ledger: Ledger,
    /// How limits and budgets are enforced.
    pub quota: Quota,
    /// How spend is metered and priced.
    pub metering: Metering,
    /// How requests are read and answered.
    pub request: Request,
    /// Rules of your own over each request, in the Common Expression Language; see `policies.md`.
    pub policy: Policy,
    /// What decides without refusing; see `shadow-mode.md`.
    pub shadow: Shadow,
    /// Ways to say who you are besides keys and tokens.
    pub identity: Identity,
    /// Certificates of the ports.
    pub tls: Tls,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// LiteLLM's `general_settings`.
    pub general_settings: General,
    /// LiteLLM's `litellm_settings`.
    pub litellm_settings: LiteLlm,
    /// LiteLLM's `model_list`: public names, prices, access groups, provider keys.
    pub model_list: Vec<ModelEntry>,
}
