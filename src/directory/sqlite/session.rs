//! A SQLite connection as a [`Session`]: every answer is there at once.

use async_trait::async_trait;
use rusqlite::types::{ToSql, ToSqlOutput, Value as Sqlite, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::super::Result;
use super::super::rows::{Columns, Value, corrupt};
use super::super::session::{Failure, Session, Take};
use super::super::statements::Bulk;
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

/// See the module.
pub(super) struct SqliteSession<'c> {
    pub connection: &'c mut Connection,
}

impl SqliteSession<'_> {
    fn run(&mut self, text: &str, values: Vec<Value>, take: Take<'_>) -> Result<()> {
        let mut statement = self.connection.prepare_cached(text).map_err(errors::of)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(errors::of)?;
        while let Some(row) = rows.next().map_err(errors::of)? {
            take(&mut Reader { row, next: 0 })?;
        }
        Ok(())
    }
}

#[async_trait]
impl Session for SqliteSession<'_> {
    async fn each(&mut self, text: &str, values: Vec<Value>, take: Take<'_>) -> Result<()> {
        self.run(text, values, take)
    }

    async fn execute(&mut self, text: &str, values: Vec<Value>) -> std::result::Result<u64, Failure> {
        let failed = |error| match errors::violated(&error) {
            Some("UNIQUE constraint failed: keys.key_alias") => Failure::Taken(Some("key alias")),
            Some("UNIQUE constraint failed: users.sso_user_id") => Failure::Taken(Some("SSO user of")),
            Some("UNIQUE constraint failed: access_groups.access_group_name") => {
                Failure::Taken(Some("name of access group"))
            }
            Some(_) => Failure::Taken(None),
            None => Failure::Other(errors::of(error)),
        };
        let mut statement = self.connection.prepare_cached(text).map_err(failed)?;
        statement.execute(params_from_iter(values)).map(|rows| rows as u64).map_err(failed)
    }

    async fn each_of(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>, take: Take<'_>) -> Result<()> {
        rows.into_iter().try_for_each(|values| self.run(&bulk.one, values, take))
    }

    /// The transaction is alone already.
    async fn lock_sums(&mut self) -> Result<()> {
        Ok(())
    }

    async fn remove_day(&mut self, remove: &str, day: i64) -> Result<()> {
        self.run(remove, vec![Value::Integer(day)], &mut super::super::engine::nothing)
    }
}
