//! Rows to put into a store: full ones, where every attribute must come back, and bare ones.

use std::collections::BTreeMap;

use serde_json::json;

use super::super::testing::audit;
use super::super::{AuditEntry, Store};
use crate::domain::{
    Account, Budget, BudgetWindow, HoldId, Key, KeyHash, KeyType, Limits, Member, ModelBudget, Money, Organization,
    Parties, Period, Project, Record, RecordStatus, Scope, Team, TeamRole, Timestamp, Usage, User,
};

pub(super) fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
}

pub(super) fn limits() -> Limits {
    Limits {
        max_budget: Some(Money::nanos(12_345_678_901_234_567)),
        soft_budget: Some(Money::nanos(1)),
        budget_duration: Some("30d".parse().unwrap()),
        budget_limits: vec![BudgetWindow { budget_duration: "1h".parse().unwrap(), max_budget: Money::MAX }],
        rpm_limit: Some(0),
        tpm_limit: Some(10),
        tpd_limit: Some(20),
        max_parallel_requests: Some(3),
        model_max_budget: BTreeMap::from([(
            "gpt-*".to_owned(),
            ModelBudget {
                max_budget: Some(Money::nanos(9_007_199_254_740_993)),
                budget_duration: Some("1d".parse().unwrap()),
                rpm_limit: Some(1),
                tpm_limit: None,
            },
        )]),
        model_rpm_limit: BTreeMap::from([("a".to_owned(), 1)]),
        model_tpm_limit: BTreeMap::from([("b".to_owned(), 2)]),
    }
}

pub(super) fn object(value: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().cloned().unwrap()
}

pub(super) fn key(secret: &str) -> Key {
    Key {
        key_name: Some("sk-...Ab12".to_owned()),
        key_alias: Some(format!("alias of {secret}").into()),
        user_id: Some("u".into()),
        team_id: Some("t".into()),
        organization_id: Some("o".into()),
        project_id: Some("p".into()),
        agent_id: Some("agent".into()),
        models: vec!["gpt-4o".to_owned(), "it's \"quoted\"".to_owned()],
        aliases: BTreeMap::from([("x".to_owned(), "y".to_owned())]),
        access_group_ids: vec!["g".to_owned()],
        allowed_routes: vec!["/chat/completions".to_owned()],
        key_type: KeyType::ReadOnly,
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        blocked: true,
        expires: Some(now()),
        limits: limits(),
        temp_budget_increase: Some(Money::nanos(7)),
        temp_budget_expiry: Some(now()),
        throttle_on_budget_exceeded: true,
        tags: vec!["tag".into()],
        tag_rpm_limit: BTreeMap::from([("tag".to_owned(), 4)]),
        end_user_budget_id: Some("eb".to_owned()),
        default_estimated_output_tokens: Some(99),
        default_estimated_output_tokens_per_model: BTreeMap::from([("m".to_owned(), 5)]),
        enforced_params: vec!["user".to_owned()],
        permissions: object(&json!({"get_spend_routes": true})),
        metadata: object(&json!({"nested": {"ü": [1, null]}})),
        extra: object(&json!({"guardrails": ["g"]})),
        auto_rotate: true,
        rotation_interval: Some("7d".parse().unwrap()),
        rotation_count: 2,
        created_by: Some("admin".to_owned()),
        updated_by: Some("admin".to_owned()),
        ..Key::new(KeyHash::of(secret), now())
    }
}

/// A key that names nothing.
pub(super) fn bare(secret: &str) -> Key {
    Key::new(KeyHash::of(secret), now())
}

pub(super) fn team(id: &str) -> Team {
    Team { team_id: id.into(), created_at: now(), updated_at: now(), ..Team::default() }
}

pub(super) fn user(id: &str) -> User {
    User { user_id: id.into(), created_at: now(), updated_at: now(), ..User::default() }
}

pub(super) fn member(team: &str, user: &str) -> Member {
    Member {
        team_id: team.into(),
        user_id: user.into(),
        user_email: None,
        role: TeamRole::Admin,
        budget_id: None,
        allowed_models: Vec::new(),
        limits: Limits::default(),
        spend: Money::ZERO,
    }
}

pub(super) fn budget(id: &str, rpm: u64) -> Budget {
    let limits = Limits { rpm_limit: Some(rpm), ..Limits::default() };
    Budget { budget_id: id.to_owned(), limits, created_at: now(), updated_at: now(), ..Budget::default() }
}

pub(super) async fn put_family(store: &dyn Store) {
    store.put_organization(&organization("o"), true, audit()).await.unwrap();
    store.put_team(&Team { organization_id: Some("o".into()), ..team("t") }, true, audit()).await.unwrap();
    store.put_user(&user("u"), true, audit()).await.unwrap();
    store.put_member(&member("t", "u"), true, audit()).await.unwrap();
    store.put_project(&project("p"), true, audit()).await.unwrap();
}

pub(super) fn organization(id: &str) -> Organization {
    Organization { organization_id: id.into(), created_at: now(), updated_at: now(), ..Organization::default() }
}

pub(super) fn project(id: &str) -> Project {
    Project { project_id: id.into(), created_at: now(), updated_at: now(), ..Project::default() }
}

/// The line of a change of this row.
pub(super) fn computed_from<R: serde::Serialize>(row: &R) -> AuditEntry {
    AuditEntry { before: serde_json::to_value(row).ok(), ..audit() }
}

pub(super) fn total(scope: Scope) -> Account {
    Account { scope, period: Period::total() }
}

pub(super) fn day_account(scope: Scope) -> Account {
    let (start, end) = (Timestamp::millis(1_000), Timestamp::millis(2_000));
    Account { scope, period: Period { id: "1d@1".into(), start, end } }
}

pub(super) fn record(id: u8, cost: i64, accounts: Vec<Account>) -> Record {
    Record {
        id: HoldId::new([id; 16]),
        sequence: 0,
        status: RecordStatus::Usage,
        admitted_at: now(),
        settled_at: now().plus_millis(i64::from(id)),
        parties: Parties {
            key: Some(KeyHash::of("sk-a")),
            user_id: Some("u".into()),
            tags: vec!["tag".into()],
            ..Parties::default()
        },
        model: "gpt-4o".into(),
        usage: Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() },
        cost: Money::nanos(cost),
        price_version: "v1".into(),
        estimated: false,
        accounts,
    }
}
