//! Reading and writing rows: the domain's types over SQLite's statements.

use rusqlite::types::{ToSql, ToSqlOutput, Value as Sqlite, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::super::rows::{Columns, Row, Value, corrupt, insert_values, key_values};
use super::super::statements::Table;
use super::super::{DirectoryError, Page, Result};
use super::errors;

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Owned(Sqlite::Null),
            Value::Integer(number) => ToSqlOutput::Owned(Sqlite::Integer(*number)),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

/// A row of SQLite, read from left to right.
struct Reader<'r, 's> {
    row: &'r rusqlite::Row<'s>,
    next: usize,
}

impl Columns for Reader<'_, '_> {
    fn integer(&mut self) -> Result<Option<i64>> {
        self.next += 1;
        self.row.get(self.next - 1).map_err(corrupt)
    }
    fn text(&mut self) -> Result<Option<String>> {
        self.next += 1;
        self.row.get(self.next - 1).map_err(corrupt)
    }
    fn is_null(&mut self) -> Result<bool> {
        Ok(self.row.get_ref(self.next).map_err(corrupt)? == ValueRef::Null)
    }
    fn skip(&mut self, columns: usize) {
        self.next += columns;
    }
}

/// Every row of a query, read by `read`.
pub(super) fn all<T>(
    connection: &Connection,
    text: &str,
    values: Vec<Value>,
    mut read: impl FnMut(&mut dyn Columns) -> Result<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    each(connection, text, values, |columns| {
        found.push(read(columns)?);
        Ok(())
    })?;
    Ok(found)
}

/// Hands every row of a query to `take`, one at a time.
pub(super) fn each(
    connection: &Connection,
    text: &str,
    values: Vec<Value>,
    mut take: impl FnMut(&mut dyn Columns) -> Result<()>,
) -> Result<()> {
    let mut statement = connection.prepare_cached(text).map_err(errors::of)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(errors::of)?;
    while let Some(row) = rows.next().map_err(errors::of)? {
        take(&mut Reader { row, next: 0 })?;
    }
    Ok(())
}

/// The first row of a query.
pub(super) fn one<T>(
    connection: &Connection,
    text: &str,
    values: Vec<Value>,
    read: impl FnMut(&mut dyn Columns) -> Result<T>,
) -> Result<Option<T>> {
    Ok(all(connection, text, values, read)?.into_iter().next())
}

/// A number, such as a count or a spend.
pub(super) fn number(connection: &Connection, text: &str, values: Vec<Value>) -> Result<Option<i64>> {
    Ok(one(connection, text, values, |columns| columns.integer())?.flatten())
}

/// One page of a table and its number of rows, both of one moment.
pub(super) fn page<T>(
    connection: &Connection,
    (page, count): (&str, &str),
    (mut values, offset, limit): (Vec<Value>, u64, u64),
    read: impl FnMut(&mut dyn Columns) -> Result<T>,
) -> Result<Page<T>> {
    let snapshot = connection.unchecked_transaction().map_err(errors::of)?;
    let total = number(&snapshot, count, values.clone())?.unwrap_or(0);
    let bound = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    values.extend([bound(limit), bound(offset)]);
    Ok(Page { rows: all(&snapshot, page, values, read)?, total: u64::try_from(total).unwrap_or(0) })
}

/// Runs a statement; answers how many rows it changed.
pub(super) fn execute(connection: &Connection, text: &str, values: Vec<Value>) -> Result<usize> {
    let mut statement = connection.prepare_cached(text).map_err(errors::of)?;
    statement.execute(params_from_iter(values)).map_err(errors::of)
}

/// Inserts a row, or replaces the one with its key. Its spend is left to the ledger.
pub(super) fn put<R: Row>(connection: &Connection, table: &Table, row: &R, create: bool) -> Result<()> {
    let values = if create {
        insert_values(row)
    } else {
        let mut values = row.values();
        values.extend(key_values(row));
        values
    };
    let text = if create { &table.insert } else { &table.update };
    let mut statement = connection.prepare_cached(text).map_err(errors::of)?;
    match statement.execute(params_from_iter(values)) {
        Ok(0) => Err(missing::<R>(row.name())),
        Ok(_) => Ok(()),
        Err(error) => Err(match errors::violated(&error) {
            Some("UNIQUE constraint failed: keys.key_alias") => taken("key alias", row),
            Some("UNIQUE constraint failed: users.sso_user_id") => taken("SSO user of", row),
            Some("UNIQUE constraint failed: access_groups.access_group_name") => taken("name of access group", row),
            Some(_) => taken(R::WHAT, row),
            None => errors::of(error),
        }),
    }
}

fn taken<R: Row>(what: &'static str, row: &R) -> DirectoryError {
    DirectoryError::Exists { what, name: row.name() }
}

pub(super) fn missing<R: Row>(name: String) -> DirectoryError {
    DirectoryError::NotFound { what: R::WHAT, name }
}

/// Deletes the row with this key.
pub(super) fn delete<R: Row>(connection: &Connection, table: &Table, key: &[&str]) -> Result<()> {
    match execute(connection, &table.delete, texts(key))? {
        0 => Err(missing::<R>(key.join(", "))),
        _ => Ok(()),
    }
}

pub(super) fn texts(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| Value::Text((*name).to_owned())).collect()
}
