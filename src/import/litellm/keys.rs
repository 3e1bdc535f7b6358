//! Keys, the hashes of rotated ones, and the claims of tokens that stand for them.

use serde_json::{Map, Value};

use super::super::openings::{Entity, Spent};
use super::super::row::{Fault, SourceRow, Taken};
use super::{Move, limits};
use crate::directory::import::Incoming;
use crate::domain::{DeprecatedKey, Key, KeyHash, KeyMapping, KeyType, Money, Parties, Scope, ScopeKind};

const TABLE: &str = "LiteLLM_VerificationToken";
const DEPRECATED: &str = "LiteLLM_DeprecatedVerificationToken";
const MAPPINGS: &str = "LiteLLM_JWTKeyMapping";

/// Keys of LiteLLM's own interface belong to this team, which is no row.
const DASHBOARD: &str = "litellm-dashboard";

/// Columns of LiteLLM's own book-keeping.
const PASSED_OVER: [&str; 6] = [
    "key_rotation_at",
    "last_active",
    "last_rotation_at",
    "settings_updated_at",
    "soft_budget_cooldown",
    "litellm_budget_table",
];

/// Columns that are kept with the key.
const KEPT: [&str; 5] = ["allowed_cache_controls", "budget_fallbacks", "config", "policies", "router_settings"];

/// How people know a key: its alias, else the first characters of its hash.
pub(super) fn shown(key: &Key) -> String {
    key.key_alias.as_deref().map_or_else(|| short(&key.token), str::to_owned)
}

fn short(hash: &KeyHash) -> String {
    let mut text = hash.to_string();
    text.truncate(8);
    text
}

pub(super) fn key(import: &mut Move<'_>, mut row: SourceRow) {
    // The hash names the row; a row without one may hold a key in clear, of which nothing is shown.
    let (token, alias) = (row.hash("token"), row.text("key_alias"));
    let name = match (&alias, &token) {
        (Ok(Some(alias)), _) => alias.clone(),
        (_, Ok(token)) => short(token),
        _ => "a key without an alias".to_owned(),
    };
    let done = import.row(TABLE, &name, row, |import, row| read(import, row, &name, token?, alias?));
    if let Some(incoming) = done {
        import.report.call("keys", incoming.row.token.to_string(), name);
        import.bundle.keys.push(incoming);
    }
}

fn read(
    import: &mut Move<'_>,
    row: &mut SourceRow,
    name: &str,
    token: KeyHash,
    alias: Option<String>,
) -> Taken<Incoming<Key>> {
    let now = import.options.now;
    row.pass_over(&PASSED_OVER);
    let mut metadata = row.object("metadata")?;
    let mut key = Key::new(token, now);
    key.key_alias = alias.map(Into::into);
    key.key_name = row.text("key_name")?;
    key.user_id = row.text("user_id")?.map(Into::into);
    key.team_id = row.text("team_id")?.map(Into::into);
    if key.team_id.as_deref() == Some(DASHBOARD) {
        return Err(Fault::new("team_id", "a session of LiteLLM's own interface"));
    }
    key.organization_id = row.text("organization_id")?.map(Into::into);
    key.project_id = row.text("project_id")?.map(Into::into);
    key.agent_id = row.text("agent_id")?.map(Into::into);
    key.models = row.texts("models")?;
    key.aliases = row.take("aliases")?.unwrap_or_default();
    key.access_group_ids = row.texts("access_group_ids")?;
    key.allowed_routes = row.texts("allowed_routes")?;
    key.key_type = match row.text("key_type")? {
        None => KeyType::Default,
        Some(kind) => serde_json::from_value(Value::String(kind)).map_err(|_| Fault::new("key_type", "unknown"))?,
    };
    key.blocked = row.flag("blocked")?;
    key.expires = row.time("expires")?;
    key.limits = limits::take(row, &mut metadata)?;
    key.budget_id = row.text("budget_id")?;
    key.permissions = row.object("permissions")?;
    key.auto_rotate = row.flag("auto_rotate")?;
    key.rotation_interval = row.duration("rotation_interval")?;
    key.rotation_count = row.count("rotation_count")?.and_then(|count| u32::try_from(count).ok()).unwrap_or_default();
    key.created_at = row.time("created_at")?.unwrap_or(now);
    key.created_by = row.text("created_by")?;
    key.updated_at = row.time("updated_at")?.unwrap_or(now);
    key.updated_by = row.text("updated_by")?;
    from_metadata(&mut key, &mut metadata)?;
    import.judge(TABLE, name, &metadata);
    key.metadata = metadata;
    import.keep(TABLE, name, row, &KEPT, &mut key.extra)?;
    import.permission(TABLE, name, row, &mut key.extra)?;

    let reset_at = row.time("budget_reset_at")?;
    let hash = token.to_string();
    let (effective, reset_at) = import.effective(&key.limits, key.budget_id.as_deref(), reset_at);
    let scope = |model: &str| Scope::new(ScopeKind::ModelPerKey, &[&hash, model]);
    let spent = Spent {
        spend: row.money("spend")?.unwrap_or_default(),
        total: row.money("total_spend")?,
        reset_at,
        windows: import.windows_of("key", &hash, TABLE, name, &effective),
        others: import.model_spend(TABLE, name, row, &effective, scope)?,
    };
    let parties = Parties {
        key: Some(token),
        user_id: key.user_id.clone(),
        team_id: key.team_id.clone(),
        organization_id: key.organization_id.clone(),
        project_id: key.project_id.clone(),
        ..Parties::default()
    };
    let entity = Entity { table: TABLE, id: &hash, scope: key.scope(), parties, limits: &effective };
    let openings = import.openings(&entity, spent);
    Ok(Incoming { row: key, openings })
}

/// What LiteLLM keeps of a key inside `metadata`, and we in places of its own.
fn from_metadata(key: &mut Key, metadata: &mut Map<String, Value>) -> Taken<()> {
    key.tags = limits::lift(metadata, "tags")?.unwrap_or_default();
    key.tag_rpm_limit = limits::lift(metadata, "tag_rpm_limit")?.unwrap_or_default();
    key.enforced_params = limits::lift(metadata, "enforced_params")?.unwrap_or_default();
    key.end_user_budget_id = limits::lift(metadata, "end_user_budget_id")?;
    key.throttle_on_budget_exceeded = limits::lift(metadata, "throttle_on_budget_exceeded")?.unwrap_or_default();
    key.default_estimated_output_tokens = limits::lift(metadata, "default_estimated_output_tokens")?;
    key.default_estimated_output_tokens_per_model =
        limits::lift(metadata, "default_estimated_output_tokens_per_model")?.unwrap_or_default();
    key.temp_budget_increase = limits::lift::<Money>(metadata, "temp_budget_increase")?;
    key.temp_budget_expiry = limits::lift(metadata, "temp_budget_expiry")?;
    limits::not_negative("metadata.temp_budget_increase", key.temp_budget_increase)
}

pub(super) fn deprecated(import: &mut Move<'_>, mut row: SourceRow) {
    let token = row.hash("token");
    let name = token.as_ref().map_or_else(|_| "a key".to_owned(), short);
    let now = import.options.now;
    let done = import.row(DEPRECATED, &name, row, |_, row| {
        row.pass_over(&["id"]);
        let key = DeprecatedKey {
            token: token?,
            active_token: row.hash("active_token_id")?,
            revoke_at: row.time("revoke_at")?.ok_or_else(|| Fault::new("revoke_at", "missing"))?,
            created_at: row.time("created_at")?.unwrap_or(now),
        };
        if key.revoke_at <= now {
            return Err(Fault::new("revoke_at", "its grace period is over"));
        }
        Ok(key)
    });
    import.bundle.deprecated.extend(done);
}

pub(super) fn mapping(import: &mut Move<'_>, mut row: SourceRow) {
    let id = row.id("id");
    let name = id.clone().unwrap_or_default();
    let now = import.options.now;
    let done = import.row(MAPPINGS, &name, row, |_, row| {
        row.pass_over(&["created_by", "updated_by"]);
        Ok(KeyMapping {
            id: id?,
            jwt_issuer: row.text("jwt_issuer")?.unwrap_or_default(),
            jwt_claim_name: row.id("jwt_claim_name")?,
            jwt_claim_value: row.id("jwt_claim_value")?,
            token: row.hash("token")?,
            description: row.text("description")?,
            is_active: row.take("is_active")?.unwrap_or(true),
            created_at: row.time("created_at")?.unwrap_or(now),
            updated_at: row.time("updated_at")?.unwrap_or(now),
        })
    });
    import.bundle.key_mappings.extend(done);
}
