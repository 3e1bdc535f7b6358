//! Rows: how the domain's types lie in columns. Both engines share it: numbers are BIGINT (money in nano-dollars,
//! moments in milliseconds since 1970, booleans 0 and 1), lists and maps are JSON in TEXT, an absent value is NULL.

mod columns;
mod entities;
mod ledger;

pub(super) use columns::{Column, Columns, Value, corrupt};
pub(super) use ledger::{RECORD_COLUMNS, RECORD_NUMBERS, day_of, read_costs, read_record, write_record};
pub(crate) use ledger::{accounts_from_json, accounts_to_json};

use super::Result;
use crate::domain::Scope;

/// A type that is one row of one table.
pub(super) trait Row: Sized {
    const TABLE: &'static str;
    /// What a person calls it, for errors.
    const WHAT: &'static str;
    /// The columns of the primary key.
    const KEY: &'static [&'static str];
    /// Whether the table has a `spend`, which is read with the row and written only by the ledger.
    const SPENDS: bool;

    /// The columns that are written, in order; without `spend`.
    fn columns() -> &'static [&'static str];
    /// The values of [`Row::columns`].
    fn values(&self) -> Vec<Value>;
    /// Reads [`Row::columns`], then `spend` where there is one.
    fn read(columns: &mut dyn Columns) -> Result<Self>;
    /// Its name for errors.
    fn name(&self) -> String;
    /// The scopes whose total its `spend` is.
    fn scopes(&self) -> Vec<Scope>;

    /// How many columns a read takes.
    fn width() -> usize {
        Self::columns().len() + usize::from(Self::SPENDS)
    }

    /// A row that an outer join may not have found: absent where its first column, part of the key, is NULL.
    fn read_joined(columns: &mut dyn Columns) -> Result<Option<Self>> {
        if columns.is_null()? {
            columns.skip(Self::width());
            return Ok(None);
        }
        Self::read(columns).map(Some)
    }
}

/// The values of an insert: the columns, and the scopes whose totals its `spend` begins with.
pub(super) fn insert_values<R: Row>(row: &R) -> Vec<Value> {
    let mut values = row.values();
    if R::SPENDS {
        let scopes = row.scopes();
        let names = scopes.iter().chain(scopes.last()).take(2);
        values.extend(names.map(|scope| Value::Text(scope.as_str().to_owned())));
    }
    values
}

/// The values of the primary key.
pub(super) fn key_values<R: Row>(row: &R) -> Vec<Value> {
    let (columns, values) = (R::columns(), row.values());
    let places = R::KEY.iter().filter_map(|name| columns.iter().position(|column| column == name));
    places.map(|place| values[place].clone()).collect()
}
