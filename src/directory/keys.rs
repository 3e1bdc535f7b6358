//! Keys: rotation, and the lists people ask for.

use std::sync::Arc;

use super::engine::random_id;
use super::rows::{Column, Row, Value};
use super::session::{self, Session};
use super::statements::Statements;
use super::{KeyFilter, Page, Result, ledger};
use crate::domain::{
    Account, DeprecatedKey, Key, KeyHash, Money, Parties, Period, Record, RecordStatus, Scope, ScopeKind, Timestamp,
    Usage,
};

/// Moves a key to a new hash. What the old hash spent moves with it, as adjustments in the ledger: a rotated key is no
/// fresh budget.
pub(super) async fn rotate(
    session: &mut dyn Session,
    statements: &Statements,
    old: &KeyHash,
    new: &Key,
    revoke_old_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    let hash = old.to_string();
    let moved = session::texts(&[&new.token.to_string(), &hash]);
    if session::execute(session, &statements.move_key, moved).await? == 0 {
        return Err(session::missing::<Key>(hash));
    }
    session::put(session, &statements.keys, new, false).await?;
    if let Some(revoke_at) = revoke_old_at {
        let deprecated = DeprecatedKey { token: *old, active_token: new.token, revoke_at, created_at: now };
        session::put(session, &statements.deprecated, &deprecated, true).await?;
    }
    let carried = carry_over(session, statements, old, &new.token, now).await?;
    ledger::write(session, statements, &carried).await?;
    Ok(())
}

/// The records that move every account of the old hash to the new one; they also give the moved row its spend back.
async fn carry_over(
    session: &mut dyn Session,
    statements: &Statements,
    old: &KeyHash,
    new: &KeyHash,
    now: Timestamp,
) -> Result<Vec<Record>> {
    let (from, to) = (old.to_string(), new.to_string());
    let pattern = |kind: ScopeKind| Value::Text(format!("{}:{from}:%", kind.as_str()));
    let values = vec![
        Value::Text(Scope::key(old).as_str().to_owned()),
        pattern(ScopeKind::ModelPerKey),
        pattern(ScopeKind::TagPerKey),
    ];
    let accounts = session::all(session, &statements.ledger.periods_of_key, values, |columns| {
        let (scope, id) = (String::get(columns)?, Arc::<str>::get(columns)?);
        let period = Period { id, start: Timestamp::get(columns)?, end: Timestamp::get(columns)? };
        Ok((scope, period, Money::get(columns)?))
    })
    .await?;
    let id = random_id()?;
    let mut records = Vec::with_capacity(accounts.len() * 2);
    for (scope, period, spent) in accounts.into_iter().filter(|(_, _, spent)| !spent.is_zero()) {
        let renamed = scope.replacen(&from, &to, 1);
        for (key, name, cost) in [(old, scope, -spent), (new, renamed, spent)] {
            let Some(scope) = Scope::parse(&name) else { continue };
            records.push(Record {
                id,
                sequence: u32::try_from(records.len()).unwrap_or(u32::MAX),
                status: RecordStatus::Adjustment,
                admitted_at: now,
                settled_at: now,
                parties: Parties { key: Some(*key), ..Parties::default() },
                model: "".into(),
                usage: Usage::default(),
                cost,
                price_version: "rotation".into(),
                estimated: false,
                accounts: vec![Account { scope, period: period.clone() }],
            });
        }
    }
    Ok(records)
}

/// One page of the keys that fit the filter, newest first.
pub(super) async fn list(session: &mut dyn Session, statements: &Statements, filter: &KeyFilter) -> Result<Page<Key>> {
    let token = filter.token.map(|token| token.to_string());
    let conditions = [
        ("user_id", &filter.user_id),
        ("team_id", &filter.team_id),
        ("organization_id", &filter.organization_id),
        ("project_id", &filter.project_id),
        ("key_alias", &filter.key_alias),
        ("token", &token),
    ];
    let conditions = conditions.into_iter().filter_map(|(column, value)| value.as_ref().map(|value| (column, value)));
    let (columns, values): (Vec<_>, Vec<_>) =
        conditions.map(|(column, value)| (column, Value::Text(value.clone()))).unzip();
    let (page, count) = statements.keys_where(&columns);
    session::page(session, (&page, &count), (values, filter.offset, filter.limit), Key::read).await
}
