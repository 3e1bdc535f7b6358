//! The ledger's row: a record and the accounts it adds to.

use std::sync::Arc;

use super::super::Result;
use super::columns::corrupt;
use super::{Column, Columns, Value};
use crate::domain::{Account, HoldId, KeyHash, Money, Parties, Period, Record, RecordStatus, Scope, Timestamp, Usage};

/// The columns of a record, in the order they are written and read.
pub(in super::super) const RECORD_COLUMNS: &[&str] = &[
    "day",
    "id",
    "sequence",
    "status",
    "admitted_at",
    "settled_at",
    "token",
    "user_id",
    "team_id",
    "organization_id",
    "project_id",
    "end_user_id",
    "tags",
    "model",
    "usage",
    "cost",
    "price_version",
    "estimated",
    "accounts",
];

/// Those of them that are numbers.
pub(in super::super) const RECORD_NUMBERS: &[&str] =
    &["day", "sequence", "admitted_at", "settled_at", "cost", "estimated"];

const DAY_MILLIS: i64 = 86_400_000;

/// The UTC day of an admission, counted from 1970-01-01: what the ledger is cut into.
pub(in super::super) fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY_MILLIS)
}

/// Accounts as JSON: `[scope, period, start, end]` each; the endless period is its name alone.
pub(crate) fn accounts_to_json(accounts: &[Account]) -> serde_json::Value {
    let one = |account: &Account| {
        if account.period.is_total() {
            return serde_json::json!([account.scope.as_str(), &*account.period.id]);
        }
        let (start, end) = (account.period.start.as_millis(), account.period.end.as_millis());
        serde_json::json!([account.scope.as_str(), &*account.period.id, start, end])
    };
    accounts.iter().map(one).collect()
}

/// Reads what [`accounts_to_json`] wrote; `None` where it is something else.
pub(crate) fn accounts_from_json(json: &serde_json::Value) -> Option<Vec<Account>> {
    let one = |account: &serde_json::Value| {
        let parts = account.as_array()?;
        let (scope, id) = (Scope::parse(parts.first()?.as_str()?)?, parts.get(1)?.as_str()?);
        let period = match parts.len() {
            2 => Period::total(),
            4 => Period {
                id: id.into(),
                start: Timestamp::millis(parts[2].as_i64()?),
                end: Timestamp::millis(parts[3].as_i64()?),
            },
            _ => return None,
        };
        Some(Account { scope, period })
    };
    json.as_array()?.iter().map(one).collect()
}

/// Reads the cost of a record, and the accounts it adds to.
pub(in super::super) fn read_costs(columns: &mut dyn Columns) -> Result<(Money, Vec<Account>)> {
    let (cost, accounts) = (Money::get(columns)?, String::get(columns)?);
    let accounts = serde_json::from_str(&accounts).ok().and_then(|json| accounts_from_json(&json));
    Ok((cost, accounts.ok_or_else(|| corrupt("a record has unknown accounts"))?))
}

/// The values of [`RECORD_COLUMNS`].
pub(in super::super) fn write_record(record: &Record) -> Vec<Value> {
    let mut values = Vec::with_capacity(RECORD_COLUMNS.len());
    values.push(Value::Integer(day_of(record.admitted_at)));
    values.push(Value::Text(record.id.to_string()));
    record.sequence.put(&mut values);
    values.push(Value::Text(record.status.as_str().to_owned()));
    record.admitted_at.put(&mut values);
    record.settled_at.put(&mut values);
    let parties = &record.parties;
    parties.key.put(&mut values);
    parties.user_id.put(&mut values);
    parties.team_id.put(&mut values);
    parties.organization_id.put(&mut values);
    parties.project_id.put(&mut values);
    parties.end_user_id.put(&mut values);
    parties.tags.put(&mut values);
    record.model.put(&mut values);
    values.push(serde_json::to_string(&record.usage).map_or(Value::Null, Value::Text));
    record.cost.put(&mut values);
    record.price_version.put(&mut values);
    record.estimated.put(&mut values);
    values.push(Value::Text(accounts_to_json(&record.accounts).to_string()));
    values
}

/// Reads [`RECORD_COLUMNS`].
pub(in super::super) fn read_record(columns: &mut dyn Columns) -> Result<Record> {
    columns.skip(1);
    let id: HoldId = String::get(columns)?.parse().map_err(corrupt)?;
    let sequence = u32::get(columns)?;
    let status = String::get(columns)?;
    let status = RecordStatus::ALL.into_iter().find(|known| known.as_str() == status);
    let (admitted_at, settled_at) = (Timestamp::get(columns)?, Timestamp::get(columns)?);
    let parties = Parties {
        key: Option::<KeyHash>::get(columns)?,
        user_id: Column::get(columns)?,
        team_id: Column::get(columns)?,
        organization_id: Column::get(columns)?,
        project_id: Column::get(columns)?,
        end_user_id: Column::get(columns)?,
        tags: Column::get(columns)?,
    };
    let model = Arc::<str>::get(columns)?;
    let usage: Usage = serde_json::from_str(&String::get(columns)?).map_err(corrupt)?;
    let (cost, price_version, estimated) = (Money::get(columns)?, Arc::<str>::get(columns)?, bool::get(columns)?);
    let accounts: serde_json::Value = serde_json::from_str(&String::get(columns)?).map_err(corrupt)?;
    Ok(Record {
        id,
        sequence,
        status: status.ok_or_else(|| corrupt(format!("record {id} has an unknown status")))?,
        admitted_at,
        settled_at,
        parties,
        model,
        usage,
        cost,
        price_version,
        estimated,
        accounts: accounts_from_json(&accounts).ok_or_else(|| corrupt(format!("record {id} has unknown accounts")))?,
    })
}
