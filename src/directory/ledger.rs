//! The ledger's tables: a record is inserted once, and only what was really inserted is added anywhere. Records are
//! inserted beside each other; sums are added by one transaction after another, so no two wait for each other in a
//! circle.

use std::collections::HashSet;

use super::Result;
use super::engine::nothing;
use super::rows::{Column, Value, day_of, write_record};
use super::session::Session;
use super::statements::{Bulk, Ledger, Statements};
use super::sums::Sums;
use crate::domain::{Record, Scope, ScopeKind};

/// Writes records and adds them up; answers which were new.
pub(super) async fn write(session: &mut dyn Session, statements: &Statements, records: &[Record]) -> Result<Vec<bool>> {
    let ledger = &statements.ledger;
    let mut inserted = insert(session, ledger, records).await?;
    let mut sums = Sums::default();
    let mut new = Vec::with_capacity(records.len());
    for record in records {
        // Of one that stands there twice, one was inserted.
        let is_new = inserted.remove(&(record.id.to_string(), record.sequence));
        if is_new {
            sums.add(record);
        }
        new.push(is_new);
    }
    if !new.contains(&true) {
        return Ok(new);
    }
    session.lock_sums().await?;
    add(session, ledger, sums).await?;
    Ok(new)
}

/// Inserts what is not there, in the order of the key; answers ids and sequences of what was inserted.
async fn insert(session: &mut dyn Session, ledger: &Ledger, records: &[Record]) -> Result<HashSet<(String, u32)>> {
    let mut ordered: Vec<&Record> = records.iter().collect();
    ordered.sort_by_key(|record| (day_of(record.admitted_at), record.id.to_string(), record.sequence));
    let rows = ordered.into_iter().map(write_record).collect();
    let mut inserted = HashSet::with_capacity(records.len());
    let mut take = |columns: &mut dyn super::rows::Columns| {
        inserted.insert((String::get(columns)?, u32::get(columns)?));
        Ok(())
    };
    session.each_of(&ledger.insert, rows, &mut take).await?;
    Ok(inserted)
}

async fn add(session: &mut dyn Session, ledger: &Ledger, sums: Sums) -> Result<()> {
    let periods = sums.periods.into_iter().map(|((scope, period_id), (period, spend))| {
        vec![
            name(&scope),
            Value::Text(period_id.to_string()),
            Value::Integer(period.start.as_millis()),
            Value::Integer(period.end.as_millis()),
            Value::Integer(spend),
        ]
    });
    session.each_of(&ledger.add_period, periods.collect(), &mut nothing).await?;
    let days = sums.days.into_iter().map(|((day, scope, model), sum)| {
        let mut values = vec![Value::Integer(day), name(&scope), Value::Text(model.to_string())];
        values.extend([sum.requests, sum.input_tokens, sum.output_tokens, sum.spend].map(Value::Integer));
        values
    });
    session.each_of(&ledger.add_daily, days.collect(), &mut nothing).await?;
    let mut entities: Vec<(ScopeKind, Vec<Vec<Value>>)> = Vec::new();
    for (scope, spend) in sums.entities {
        let mut values = vec![Value::Integer(spend)];
        values.extend(scope.names().into_iter().map(Value::Text));
        match entities.iter_mut().find(|(kind, _)| *kind == scope.kind()) {
            Some((_, rows)) => rows.push(values),
            None => entities.push((scope.kind(), vec![values])),
        }
    }
    for (kind, rows) in entities {
        if let Some(add) = add_to_entity(ledger, kind) {
            session.each_of(add, rows, &mut nothing).await?;
        }
    }
    Ok(())
}

fn name(scope: &Scope) -> Value {
    Value::Text(scope.as_str().to_owned())
}

/// The statement that adds to the entity of a scope, for scopes that have one. An entity without a row is passed over,
/// and finds its spend when it is created; an end user gets a row with its first spend.
fn add_to_entity(ledger: &Ledger, kind: ScopeKind) -> Option<&Bulk> {
    match kind {
        ScopeKind::Key => Some(&ledger.add_key),
        ScopeKind::Team => Some(&ledger.add_team),
        ScopeKind::Member => Some(&ledger.add_member),
        ScopeKind::User => Some(&ledger.add_user),
        ScopeKind::Organization => Some(&ledger.add_organization),
        ScopeKind::Project => Some(&ledger.add_project),
        ScopeKind::EndUser => Some(&ledger.add_end_user),
        ScopeKind::Tag => Some(&ledger.add_tag),
        ScopeKind::AccessGroup => Some(&ledger.add_access_group),
        _ => None,
    }
}
