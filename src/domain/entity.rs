//! The rows of the directory as plain types. Field names are LiteLLM's, so that JSON and an imported database keep
//! their meaning; money is dollars in JSON and nano-dollars here.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::KeyHash;
use super::money::Money;
use super::period::BudgetDuration;
use super::role::{Role, TeamRole};
use super::scope::Scope;
use super::time::Timestamp;

/// Limits an entity carries. `None` is no limit, `Some(0)` blocks everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Dollars in each `budget_duration`, or for life without one.
    pub max_budget: Option<Money>,
    /// Passing it raises an event, once a period; never refuses.
    pub soft_budget: Option<Money>,
    pub budget_duration: Option<BudgetDuration>,
    /// Further budgets with periods of their own; all hold at once.
    pub budget_limits: Vec<BudgetWindow>,
    /// Requests and tokens in any 60 seconds.
    pub rpm_limit: Option<u64>,
    pub tpm_limit: Option<u64>,
    /// Tokens a day; stored, charged by batch submissions only.
    pub tpd_limit: Option<u64>,
    /// Requests in flight.
    pub max_parallel_requests: Option<u64>,
    /// Limits by model name; names may hold `*`.
    pub model_max_budget: BTreeMap<String, ModelBudget>,
    pub model_rpm_limit: BTreeMap<String, u64>,
    pub model_tpm_limit: BTreeMap<String, u64>,
}

impl Limits {
    /// What single models may cost and take: one entry of `model_max_budget`, `model_rpm_limit` and `model_tpm_limit`. The
    /// latter two stand before the former.
    #[must_use]
    pub fn by_model(&self) -> BTreeMap<String, ModelBudget> {
        let mut entries = self.model_max_budget.clone();
        for (model, limit) in &self.model_rpm_limit {
            entries.entry(model.clone()).or_default().rpm_limit = Some(*limit);
        }
        for (model, limit) in &self.model_tpm_limit {
            entries.entry(model.clone()).or_default().tpm_limit = Some(*limit);
        }
        entries
    }

    /// Fills what is absent here from a linked budget row; what is set here stands.
    #[must_use]
    pub fn or(mut self, budget: &Limits) -> Limits {
        if self.max_budget.is_none() {
            self.max_budget = budget.max_budget;
            if self.budget_duration.is_none() {
                self.budget_duration = budget.budget_duration;
            }
        }
        self.soft_budget = self.soft_budget.or(budget.soft_budget);
        self.rpm_limit = self.rpm_limit.or(budget.rpm_limit);
        self.tpm_limit = self.tpm_limit.or(budget.tpm_limit);
        self.tpd_limit = self.tpd_limit.or(budget.tpd_limit);
        self.max_parallel_requests = self.max_parallel_requests.or(budget.max_parallel_requests);
        if self.budget_limits.is_empty() {
            self.budget_limits.clone_from(&budget.budget_limits);
        }
        if self.model_max_budget.is_empty() {
            self.model_max_budget.clone_from(&budget.model_max_budget);
        }
        if self.model_rpm_limit.is_empty() {
            self.model_rpm_limit.clone_from(&budget.model_rpm_limit);
        }
        if self.model_tpm_limit.is_empty() {
            self.model_tpm_limit.clone_from(&budget.model_tpm_limit);
        }
        self
    }

    /// The lower of each total budget and rate limit; the period of the budget and all else stays.
    #[must_use]
    pub fn lowered(self, other: &Limits) -> Limits {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            one.into_iter().chain(other).min()
        }
        Limits {
            max_budget: least(self.max_budget, other.max_budget),
            rpm_limit: least(self.rpm_limit, other.rpm_limit),
            tpm_limit: least(self.tpm_limit, other.tpm_limit),
            max_parallel_requests: least(self.max_parallel_requests, other.max_parallel_requests),
            ..self
        }
    }

    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Limits::default()
    }
}

/// One of several budgets with periods of their own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetWindow {
    pub budget_duration: BudgetDuration,
    pub max_budget: Money,
}

/// What one model may cost and take, per key, user, team, member or end user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelBudget {
    #[serde(alias = "budget_limit")]
    pub max_budget: Option<Money>,
    #[serde(alias = "time_period")]
    pub budget_duration: Option<BudgetDuration>,
    pub rpm_limit: Option<u64>,
    pub tpm_limit: Option<u64>,
}

/// What `key_type` stands for: the route groups a key may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyType {
    LlmApi,
    Management,
    ReadOnly,
    #[default]
    Default,
}

/// A virtual key. The secret itself is nowhere; `token` is its SHA-256.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Key {
    pub token: KeyHash,
    /// Of its first secret: what its counters and books are named by, whatever its secret is now.
    pub first_token: KeyHash,
    /// Display form, `sk-...Ab12`.
    #[serde(default)]
    pub key_name: Option<String>,
    #[serde(default)]
    pub key_alias: Option<Arc<str>>,
    #[serde(default)]
    pub user_id: Option<Arc<str>>,
    #[serde(default)]
    pub team_id: Option<Arc<str>>,
    #[serde(default)]
    pub organization_id: Option<Arc<str>>,
    #[serde(default)]
    pub project_id: Option<Arc<str>>,
    #[serde(default)]
    pub agent_id: Option<Arc<str>>,
    #[serde(default)]
    pub models: Vec<String>,
    #[serde(default)]
    pub aliases: BTreeMap<String, String>,
    #[serde(default)]
    pub access_group_ids: Vec<String>,
    #[serde(default)]
    pub allowed_routes: Vec<String>,
    #[serde(default)]
    pub key_type: KeyType,
    /// Networks this key may be used from; empty is any.
    #[serde(default)]
    pub allowed_ips: Vec<IpNet>,
    #[serde(default)]
    pub blocked: bool,
    #[serde(default)]
    pub expires: Option<Timestamp>,
    #[serde(flatten)]
    pub limits: Limits,
    #[serde(default)]
    pub budget_id: Option<String>,
    #[serde(default)]
    pub temp_budget_increase: Option<Money>,
    #[serde(default)]
    pub temp_budget_expiry: Option<Timestamp>,
    #[serde(default)]
    pub throttle_on_budget_exceeded: bool,
    #[serde(default)]
    pub tags: Vec<Arc<str>>,
    #[serde(default)]
    pub tag_rpm_limit: BTreeMap<String, u64>,
    #[serde(default)]
    pub end_user_budget_id: Option<String>,
    #[serde(default)]
    pub default_estimated_output_tokens: Option<u64>,
    #[serde(default)]
    pub default_estimated_output_tokens_per_model: BTreeMap<String, u64>,
    #[serde(default)]
    pub enforced_params: Vec<String>,
    #[serde(default)]
    pub permissions: Map<String, Value>,
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// Attributes of LiteLLM that are kept and returned but mean nothing here: guardrails, prompts, MCP objects …
    #[serde(default)]
    pub extra: Map<String, Value>,
    /// All this key ever spent.
    #[serde(default)]
    pub spend: Money,
    #[serde(default)]
    pub auto_rotate: bool,
    #[serde(default)]
    pub rotation_interval: Option<BudgetDuration>,
    #[serde(default)]
    pub rotation_count: u32,
    pub created_at: Timestamp,
    #[serde(default)]
    pub created_by: Option<String>,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub updated_by: Option<String>,
}

impl Key {
    /// A key with no limits and no owner.
    #[must_use]
    pub fn new(token: KeyHash, now: Timestamp) -> Self {
        Key {
            token,
            first_token: token,
            key_name: None,
            key_alias: None,
            user_id: None,
            team_id: None,
            organization_id: None,
            project_id: None,
            agent_id: None,
            models: Vec::new(),
            aliases: BTreeMap::new(),
            access_group_ids: Vec::new(),
            allowed_routes: Vec::new(),
            key_type: KeyType::Default,
            allowed_ips: Vec::new(),
            blocked: false,
            expires: None,
            limits: Limits::default(),
            budget_id: None,
            temp_budget_increase: None,
            temp_budget_expiry: None,
            throttle_on_budget_exceeded: false,
            tags: Vec::new(),
            tag_rpm_limit: BTreeMap::new(),
            end_user_budget_id: None,
            default_estimated_output_tokens: None,
            default_estimated_output_tokens_per_model: BTreeMap::new(),
            enforced_params: Vec::new(),
            permissions: Map::new(),
            metadata: Map::new(),
            extra: Map::new(),
            spend: Money::ZERO,
            auto_rotate: false,
            rotation_interval: None,
            rotation_count: 0,
            created_at: now,
            created_by: None,
            updated_at: now,
            updated_by: None,
        }
    }

    /// What its limits hang on and its spend is booked to. A new secret changes nothing about it.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope::key(&self.first_token)
    }
}

/// A team.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Team {
    pub team_id: Arc<str>,
    pub team_alias: Option<Arc<str>>,
    pub organization_id: Option<Arc<str>>,
    pub models: Vec<String>,
    pub model_aliases: BTreeMap<String, String>,
    pub access_group_ids: Vec<String>,
    pub blocked: bool,
    #[serde(flatten)]
    pub limits: Limits,
    /// The budget row that applies to members without one of their own.
    pub team_member_budget_id: Option<String>,
    pub team_member_permissions: Vec<String>,
    pub tags: Vec<Arc<str>>,
    pub metadata: Map<String, Value>,
    pub extra: Map<String, Value>,
    pub spend: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A user's membership in a team, with the limits of its budget row (its own, else the team's default for members).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub team_id: Arc<str>,
    pub user_id: Arc<str>,
    #[serde(default)]
    pub user_email: Option<String>,
    #[serde(default)]
    pub role: TeamRole,
    #[serde(default)]
    pub budget_id: Option<String>,
    /// Models this member may use of the team's; empty is all of them.
    #[serde(default)]
    pub allowed_models: Vec<String>,
    #[serde(flatten)]
    pub limits: Limits,
    #[serde(default)]
    pub spend: Money,
}

/// An internal user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    pub user_id: Arc<str>,
    pub user_alias: Option<String>,
    pub user_email: Option<Arc<str>>,
    pub sso_user_id: Option<String>,
    pub user_role: Option<Role>,
    pub organization_id: Option<Arc<str>>,
    /// Organizations this user administers (`org_admin` is stored per membership).
    pub admin_of: Vec<Arc<str>>,
    pub models: Vec<String>,
    #[serde(flatten)]
    pub limits: Limits,
    /// Free; `scim_active: false` deactivates the user.
    pub metadata: Map<String, Value>,
    pub extra: Map<String, Value>,
    pub spend: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl User {
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.metadata.get("scim_active") != Some(&Value::Bool(false))
    }
}

/// An organization; its limits come from its budget row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Organization {
    pub organization_id: Arc<str>,
    pub organization_alias: Option<String>,
    pub budget_id: Option<String>,
    pub models: Vec<String>,
    #[serde(flatten)]
    pub limits: Limits,
    pub metadata: Map<String, Value>,
    pub spend: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A project inside a team.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Project {
    pub project_id: Arc<str>,
    pub project_alias: Option<String>,
    pub team_id: Option<Arc<str>>,
    pub budget_id: Option<String>,
    pub models: Vec<String>,
    pub blocked: bool,
    #[serde(flatten)]
    pub limits: Limits,
    pub tags: Vec<Arc<str>>,
    pub metadata: Map<String, Value>,
    pub spend: Money,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An end user (customer) of a caller, named in the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndUser {
    pub user_id: Arc<str>,
    pub alias: Option<String>,
    pub blocked: bool,
    pub models: Vec<String>,
    pub budget_id: Option<String>,
    #[serde(flatten)]
    pub limits: Limits,
    pub metadata: Map<String, Value>,
    pub spend: Money,
    /// What it names and the directory does not have: the gate refuses it rather than let its limits fall away.
    #[serde(skip)]
    pub dangling: Option<String>,
}

/// A row of the budget table: limits that others refer to by id; each keeps its own spend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    pub budget_id: String,
    #[serde(flatten)]
    pub limits: Limits,
    /// Models a member with this budget may use.
    pub allowed_models: Vec<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A tag with limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    pub tag_name: Arc<str>,
    pub description: Option<String>,
    pub models: Vec<String>,
    pub budget_id: Option<String>,
    #[serde(flatten)]
    pub limits: Limits,
    pub spend: Money,
    /// What it names and the directory does not have: the gate refuses it rather than let its limits fall away.
    #[serde(skip)]
    pub dangling: Option<String>,
}

/// A named group of models: a grant (`access_group_ids` of keys and teams) and a scope for a budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessGroup {
    pub access_group_id: Arc<str>,
    pub access_group_name: Arc<str>,
    pub description: Option<String>,
    pub access_model_names: Vec<String>,
    pub assigned_team_ids: Vec<String>,
    pub assigned_key_ids: Vec<String>,
    pub budget_id: Option<String>,
    #[serde(flatten)]
    pub limits: Limits,
    pub spend: Money,
    /// What it names and the directory does not have: the gate refuses it rather than let its limits fall away.
    #[serde(skip)]
    pub dangling: Option<String>,
}

/// A user's place in an organization. Its spend and budget are kept, and bind nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OrganizationMember {
    pub organization_id: Arc<str>,
    pub user_id: Arc<str>,
    pub user_role: Option<String>,
    pub budget_id: Option<String>,
    pub spend: Money,
}

/// What LiteLLM lets a holder do besides calling models; kept, and nothing to the gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectPermission {
    pub object_permission_id: String,
    pub permissions: Map<String, Value>,
}

/// A claim of a token that stands for a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyMapping {
    pub id: String,
    /// Empty is any.
    pub jwt_issuer: String,
    pub jwt_claim_name: String,
    pub jwt_claim_value: String,
    pub token: KeyHash,
    pub description: Option<String>,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The hash of a key that was rotated, and the key it became.
#[derive(Clone, Debug, PartialEq)]
pub struct DeprecatedKey {
    pub token: KeyHash,
    pub active_token: KeyHash,
    /// From then on it is refused.
    pub revoke_at: Timestamp,
    pub created_at: Timestamp,
}
