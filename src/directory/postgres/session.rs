//! A PostgreSQL connection as a [`Session`]. Statements are prepared once for a connection, or sent whole with the types
//! of their values where a pooler gives every transaction another connection.

use std::pin::pin;

use async_trait::async_trait;
use bytes::BytesMut;
use deadpool_postgres::ClientWrapper;
use futures_util::TryStreamExt;
use tokio_postgres::RowStream;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::super::Result;
use super::super::rows::{Columns, Value, corrupt};
use super::super::session::{Failure, Session, Take};
use super::super::statements::{Bulk, Kind};
use super::errors;

/// Rows read before others get their turn.
const ROWS_A_TURN: u32 = 256;

/// What is bound to a placeholder.
#[derive(Debug)]
enum Param {
    Value(Value),
    Integers(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

impl Param {
    /// Its type, where the statement is not prepared; the server finds out what a NULL is of.
    fn kind(&self) -> Type {
        match self {
            Param::Value(Value::Null) => Type::UNKNOWN,
            Param::Value(Value::Integer(_)) => Type::INT8,
            Param::Value(Value::Text(_)) => Type::TEXT,
            Param::Integers(_) => Type::INT8_ARRAY,
            Param::Texts(_) => Type::TEXT_ARRAY,
        }
    }
}

impl ToSql for Param {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Param::Value(Value::Null) => Ok(IsNull::Yes),
            Param::Value(Value::Integer(number)) if *kind == Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
            Param::Value(Value::Integer(number)) => number.to_sql(kind, out),
            Param::Value(Value::Text(text)) => text.to_sql(kind, out),
            Param::Integers(numbers) => numbers.to_sql(kind, out),
            Param::Texts(texts) => texts.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::VARCHAR, Type::INT8_ARRAY, Type::TEXT_ARRAY, Type::UNKNOWN]
            .contains(kind)
    }

    to_sql_checked!();
}

/// PostgreSQL's texts cannot hold U+0000, ours can: it is written as two characters that begin with this one of the
/// private area, and so is this one itself.
const ESCAPE: char = '\u{E000}';

fn escaped(text: String) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text;
    }
    let mut written = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\0' => written.extend([ESCAPE, '0']),
            ESCAPE => written.extend([ESCAPE, '1']),
            c => written.push(c),
        }
    }
    written
}

fn unescaped(text: String) -> String {
    if !text.contains(ESCAPE) {
        return text;
    }
    text.replace("\u{E000}0", "\0").replace("\u{E000}1", "\u{E000}")
}

fn bound(value: Value) -> Value {
    match value {
        Value::Text(text) => Value::Text(escaped(text)),
        value => value,
    }
}

/// The columns of rows as arrays.
fn arrays(kinds: &[Kind], rows: Vec<Vec<Value>>) -> Vec<Param> {
    let mut columns: Vec<Param> = kinds
        .iter()
        .map(|kind| match kind {
            Kind::Integer => Param::Integers(Vec::with_capacity(rows.len())),
            Kind::Text => Param::Texts(Vec::with_capacity(rows.len())),
        })
        .collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            match (column, bound(value)) {
                (Param::Integers(numbers), Value::Integer(number)) => numbers.push(Some(number)),
                (Param::Texts(texts), Value::Text(text)) => texts.push(Some(text)),
                (Param::Integers(numbers), _) => numbers.push(None),
                (Param::Texts(texts), _) => texts.push(None),
                (Param::Value(_), _) => {}
            }
        }
    }
    columns
}

/// Any value that is not NULL.
struct Present;

impl FromSql<'_> for Present {
    fn from_sql(_: &Type, _: &[u8]) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Present)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A row of PostgreSQL, read from left to right.
struct Reader<'r> {
    row: &'r tokio_postgres::Row,
    next: usize,
}

impl Reader<'_> {
    fn next<'r, T: FromSql<'r>>(&'r mut self) -> Result<Option<T>> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| corrupt(errors::said(&error)))
    }
}

impl Columns for Reader<'_> {
    fn integer(&mut self) -> Result<Option<i64>> {
        self.next()
    }
    fn text(&mut self) -> Result<Option<String>> {
        Ok(self.next()?.map(unescaped))
    }
    fn is_null(&mut self) -> Result<bool> {
        let present: Option<Present> = self.row.try_get(self.next).map_err(|error| corrupt(errors::said(&error)))?;
        Ok(present.is_none())
    }
    fn skip(&mut self, columns: usize) {
        self.next += columns;
    }
}

/// See the module.
pub(super) struct PostgresSession<'c> {
    pub client: &'c ClientWrapper,
    pub prepared: bool,
}

impl PostgresSession<'_> {
    async fn start(&self, text: &str, params: Vec<Param>) -> std::result::Result<RowStream, tokio_postgres::Error> {
        if self.prepared {
            let statement = self.client.prepare_cached(text).await?;
            self.client.query_raw(&statement, params).await
        } else {
            let typed = params.into_iter().map(|param| {
                let kind = param.kind();
                (param, kind)
            });
            self.client.query_typed_raw(text, typed).await
        }
    }

    async fn run(&self, text: &str, params: Vec<Param>, take: Take<'_>) -> Result<()> {
        let stream = self.start(text, params).await.map_err(|error| errors::of(&error))?;
        let mut stream = pin!(stream);
        let mut rows = 0u32;
        while let Some(row) = stream.try_next().await.map_err(|error| errors::of(&error))? {
            take(&mut Reader { row: &row, next: 0 })?;
            rows += 1;
            if rows.is_multiple_of(ROWS_A_TURN) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

fn single(values: Vec<Value>) -> Vec<Param> {
    values.into_iter().map(|value| Param::Value(bound(value))).collect()
}

#[async_trait]
impl Session for PostgresSession<'_> {
    async fn each(&mut self, text: &str, values: Vec<Value>, take: Take<'_>) -> Result<()> {
        self.run(text, single(values), take).await
    }

    async fn execute(&mut self, text: &str, values: Vec<Value>) -> std::result::Result<u64, Failure> {
        let failed = |error: tokio_postgres::Error| errors::failure(&error);
        let stream = self.start(text, single(values)).await.map_err(failed)?;
        let mut stream = pin!(stream);
        while stream.try_next().await.map_err(failed)?.is_some() {}
        Ok(stream.rows_affected().unwrap_or(0))
    }

    async fn each_of(&mut self, bulk: &Bulk, rows: Vec<Vec<Value>>, take: Take<'_>) -> Result<()> {
        if let Some(many) = &bulk.many {
            return if rows.is_empty() { Ok(()) } else { self.run(many, arrays(&bulk.kinds, rows), take).await };
        }
        for values in rows {
            self.run(&bulk.one, single(values), take).await?;
        }
        Ok(())
    }

    async fn lock_sums(&mut self) -> Result<()> {
        let lock = super::alone(super::locks::SUMS);
        self.client.batch_execute(&lock).await.map_err(|error| errors::of(&error))
    }

    async fn remove_day(&mut self, _: &str, day: i64) -> Result<()> {
        let remove = format!("DROP TABLE IF EXISTS ledger_d{day}; DELETE FROM ledger_default WHERE day = {day}");
        self.client.batch_execute(&remove).await.map_err(|error| errors::of(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_any_character_comes_back_as_it_was() {
        for text in ["", "plain", "a\0b", "\0\0", "\u{E000}", "\u{E000}0", "\u{E000}1\0", "0\u{E000}\u{E000}0"] {
            let written = escaped(text.to_owned());
            assert!(!written.contains('\0'));
            assert_eq!(unescaped(written), text, "{text:?}");
        }
    }
}
