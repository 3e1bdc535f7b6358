//! A session: one connection of an engine while a job uses it. What reads and writes rows is written once against
//! [`Session`]; SQLite answers at once, on the thread that owns the connection, and PostgreSQL when it can.

use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value as Json;

use super::rows::{Columns, Row, Value, corrupt, insert_values, key_values};
use super::statements::{Bulk, Table};
use super::{DirectoryError, Page, Result};

/// Takes rows one at a time.
pub(super) type Take<'t> = &'t mut (dyn FnMut(&mut dyn Columns) -> Result<()> + Send);

/// Why a statement changed nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// A unique column holds the value already; the name of what is taken where it is not the row's own.
    Taken(Option<&'static str>),
    Other(DirectoryError),
}

impl From<Failure> for DirectoryError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Taken(what) => {
                DirectoryError::Unavailable(format!("{} is there already", what.unwrap_or("a row")))
            }
            Failure::Other(error) => error,
        }
    }
}

/// One connection, in use by one job.
#[async_trait]
pub(super) trait Session: Send {
    /// Runs a statement and hands every row it answers to `take`.
    async fn each(&mut self, text: &str, values: Vec<Value>, take: Take<'_>) -> Result<()>;

    /// Runs a statement; answers how many rows it changed.
    async fn execute(&mut self, text: &str, values: Vec<Value>) -> std::result::Result<u64, Failure>;

    /// Runs a statement for every one of many rows, in few round trips.
    async fn each_of(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>, take: Take<'_>) -> Result<()>;

    /// Waits until no other transaction adds to sums, and keeps others from it until this one ends.
    async fn lock_sums(&mut self) -> Result<()>;

    /// Takes the records of a day out of the ledger; `remove` is the statement that deletes them.
    async fn remove_day(&mut self, remove: &str, day: i64) -> Result<()>;
}

/// Every row of a query, read by `read`.
pub(super) async fn all<T: Send>(
    session: &mut dyn Session,
    text: &str,
    values: Vec<Value>,
    mut read: impl FnMut(&mut dyn Columns) -> Result<T> + Send,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut take = |columns: &mut dyn Columns| {
        found.push(read(columns)?);
        Ok(())
    };
    session.each(text, values, &mut take).await?;
    Ok(found)
}

/// The first row of a query.
pub(super) async fn one<T: Send>(
    session: &mut dyn Session,
    text: &str,
    values: Vec<Value>,
    read: impl FnMut(&mut dyn Columns) -> Result<T> + Send,
) -> Result<Option<T>> {
    Ok(all(session, text, values, read).await?.into_iter().next())
}

/// A number, such as a count or a spend.
pub(super) async fn number(session: &mut dyn Session, text: &str, values: Vec<Value>) -> Result<Option<i64>> {
    Ok(one(session, text, values, |columns| columns.integer()).await?.flatten())
}

/// One page of a table and its number of rows; of one moment where the session is a snapshot.
pub(super) async fn page<T: Send>(
    session: &mut dyn Session,
    (page, count): (&str, &str),
    (mut values, offset, limit): (Vec<Value>, u64, u64),
    read: impl FnMut(&mut dyn Columns) -> Result<T> + Send,
) -> Result<Page<T>> {
    let total = number(session, count, values.clone()).await?.unwrap_or(0);
    let bound = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    values.extend([bound(limit), bound(offset)]);
    Ok(Page { rows: all(session, page, values, read).await?, total: u64::try_from(total).unwrap_or(0) })
}

/// Runs a statement; answers how many rows it changed.
pub(super) async fn execute(session: &mut dyn Session, text: &str, values: Vec<Value>) -> Result<u64> {
    Ok(session.execute(text, values).await?)
}

/// Inserts a row, or replaces the one with its key. Its spend is left to the ledger.
pub(super) async fn put<R: Row + Sync>(session: &mut dyn Session, table: &Table, row: &R, create: bool) -> Result<()> {
    let values = if create { insert_values(row) } else { [row.values(), key_values(row)].concat() };
    let text = if create { &table.insert } else { &table.update };
    match session.execute(text, values).await {
        Ok(0) => Err(missing::<R>(row.name())),
        Ok(_) => Ok(()),
        Err(Failure::Taken(what)) => Err(DirectoryError::Exists { what: what.unwrap_or(R::WHAT), name: row.name() }),
        Err(Failure::Other(error)) => Err(error),
    }
}

/// Refuses to replace the row with this key where it is not what the change was computed from. Its spend may differ: only
/// the ledger writes it. What is missing is left to the change to find.
pub(super) async fn unchanged<R: Row + Serialize + Send>(
    session: &mut dyn Session,
    table: &Table,
    key: Vec<Value>,
    before: Option<&Json>,
) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    let Some(row) = one(session, &table.select, key, R::read).await? else { return Ok(()) };
    let now = serde_json::to_value(&row).map_err(corrupt)?;
    if without_spend::<R>(now) == without_spend::<R>(before.clone()) {
        return Ok(());
    }
    Err(DirectoryError::Changed { what: R::WHAT, name: row.name() })
}

fn without_spend<R: Row>(mut row: Json) -> Json {
    if R::SPENDS
        && let Some(fields) = row.as_object_mut()
    {
        fields.remove("spend");
    }
    row
}

pub(super) fn missing<R: Row>(name: String) -> DirectoryError {
    DirectoryError::NotFound { what: R::WHAT, name }
}

/// Deletes the row with this key.
pub(super) async fn delete<R: Row>(session: &mut dyn Session, table: &Table, key: &[&str]) -> Result<()> {
    match execute(session, &table.delete, texts(key)).await? {
        0 => Err(missing::<R>(key.join(", "))),
        _ => Ok(()),
    }
}

pub(super) fn texts(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| Value::Text((*name).to_owned())).collect()
}
