//! Keys: rotation, and the lists people ask for.

use super::rows::{Row, Value};
use super::session::{self, Session};
use super::statements::Statements;
use super::{KeyFilter, Page, Result};
use crate::domain::{DeprecatedKey, Key, KeyHash, Timestamp};

/// Moves a key to a new hash. What it spent, and spends meanwhile, stays where it is: it is named by the first hash.
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
    Ok(())
}

/// One page of the keys that fit the filter, newest first.
pub(super) async fn list(session: &mut dyn Session, statements: &Statements, filter: &KeyFilter) -> Result<Page<Key>> {
    let token = filter.token.map(|token| token.to_string());
    let first_token = filter.first_token.map(|token| token.to_string());
    let conditions = [
        ("user_id", &filter.user_id),
        ("team_id", &filter.team_id),
        ("organization_id", &filter.organization_id),
        ("project_id", &filter.project_id),
        ("key_alias", &filter.key_alias),
        ("token", &token),
        ("first_token", &first_token),
    ];
    let conditions = conditions.into_iter().filter_map(|(column, value)| value.as_ref().map(|value| (column, value)));
    let (columns, values): (Vec<_>, Vec<_>) =
        conditions.map(|(column, value)| (column, Value::Text(value.clone()))).unzip();
    let (page, count) = statements.keys_where(&columns);
    session::page(session, (&page, &count), (values, filter.offset, filter.limit), Key::read).await
}
