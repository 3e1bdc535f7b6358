//! The ledger's tables: a record is inserted once, and only what was really inserted is added anywhere.

use rusqlite::Transaction;

use super::super::Result;
use super::super::rows::{Value, write_record};
use super::super::statements::{Ledger, Statements};
use super::super::sums::Sums;
use super::rows;
use crate::domain::{Record, Scope, ScopeKind};

/// Writes records and adds them up; answers which were new.
pub(super) fn write(transaction: &Transaction<'_>, statements: &Statements, records: &[Record]) -> Result<Vec<bool>> {
    let ledger = &statements.ledger;
    let (mut new, mut sums) = (Vec::with_capacity(records.len()), Sums::default());
    for record in records {
        let inserted = rows::execute(transaction, &ledger.insert, write_record(record))? == 1;
        if inserted {
            sums.add(record);
        }
        new.push(inserted);
    }
    for ((scope, period_id), (period, spend)) in sums.periods {
        let values = vec![
            name(&scope),
            Value::Text(period_id.to_string()),
            Value::Integer(period.start.as_millis()),
            Value::Integer(period.end.as_millis()),
            Value::Integer(spend),
        ];
        rows::execute(transaction, &ledger.add_period, values)?;
    }
    for ((day, scope, model), sum) in sums.days {
        let numbers = [sum.requests, sum.input_tokens, sum.output_tokens, sum.spend].map(Value::Integer);
        let mut values = vec![Value::Integer(day), name(&scope), Value::Text(model.to_string())];
        values.extend(numbers);
        rows::execute(transaction, &ledger.add_daily, values)?;
    }
    for (scope, spend) in sums.entities {
        if let Some(add) = add_to_entity(ledger, scope.kind()) {
            let mut values = vec![Value::Integer(spend)];
            values.extend(scope.names().into_iter().map(Value::Text));
            rows::execute(transaction, add, values)?;
        }
    }
    Ok(new)
}

fn name(scope: &Scope) -> Value {
    Value::Text(scope.as_str().to_owned())
}

/// The statement that adds to the entity of a scope, for scopes that have one. An entity without a row is passed over,
/// and finds its spend when it is created; an end user gets a row with its first spend.
fn add_to_entity(ledger: &Ledger, kind: ScopeKind) -> Option<&String> {
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
