//! Statements that are run for many rows: one by one, or all at once where the engine takes arrays.

use super::Dialect;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    Integer,
    Text,
}

/// A statement that is run for many rows.
#[derive(Debug)]
pub(in super::super) struct Bulk {
    /// For one row; its values are `$1`, `$2` …
    pub one: String,
    /// For all rows at once, where the engine can: `$1` is all first values, as an array.
    pub many: Option<String>,
    pub kinds: Vec<Kind>,
}

impl Bulk {
    /// Inserts rows of these columns; `conflict` says what happens where there is one.
    pub(super) fn insert(dialect: Dialect, table: &str, columns: &[(&str, Kind)], conflict: &str) -> Bulk {
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let kinds: Vec<Kind> = columns.iter().map(|(_, kind)| *kind).collect();
        let placeholders = (1..=columns.len()).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        let one = dialect.write(&format!("INSERT INTO {table} ({names}) VALUES ({placeholders}) {conflict}"));
        let many = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                Some(format!("INSERT INTO {table} ({names}) SELECT * FROM {} {conflict}", arrays(&kinds)))
            }
        };
        Bulk { one, many, kinds }
    }

    /// Answers those of many keys that a table has.
    pub(super) fn find(dialect: Dialect, table: &str, key: &[(&str, Kind)]) -> Bulk {
        let kinds: Vec<Kind> = key.iter().map(|(_, kind)| *kind).collect();
        let names = key.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let equal = |value: &str| {
            let equal = key.iter().enumerate().map(|(n, (name, _))| format!("{name} = {value}{}", n + 1));
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let one = dialect.write(&format!("SELECT {names} FROM {table} WHERE {}", equal("$")));
        let many = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                let asked = (1..=kinds.len()).map(|n| format!("v{n}")).collect::<Vec<_>>().join(", ");
                let from = arrays(&kinds);
                Some(format!("SELECT {names} FROM {from} AS asked ({asked}) JOIN {table} ON {}", equal("v")))
            }
        };
        Bulk { one, many, kinds }
    }

    /// Adds `$1` to the spend of the entity with the key `$2` (and `$3`).
    pub(super) fn add(dialect: Dialect, table: &str, key: &[&str]) -> Bulk {
        let kinds: Vec<Kind> = std::iter::once(Kind::Integer).chain(key.iter().map(|_| Kind::Text)).collect();
        let condition = |value: &dyn Fn(usize) -> String| {
            let equal = key.iter().enumerate().map(|(n, column)| format!("{column} = {}", value(n + 2)));
            equal.collect::<Vec<_>>().join(" AND ")
        };
        let one = condition(&|n| format!("${n}"));
        let one = dialect.write(&format!("UPDATE {table} SET spend = spend + $1 WHERE {one}"));
        let many = match dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                let names = (1..=kinds.len()).map(|n| format!("v{n}")).collect::<Vec<_>>().join(", ");
                Some(format!(
                    "UPDATE {table} SET spend = spend + v1 FROM {} AS added ({names}) WHERE {}",
                    arrays(&kinds),
                    condition(&|n| format!("v{n}"))
                ))
            }
        };
        Bulk { one, many, kinds }
    }
}

/// The rows that arrays of values are the columns of.
fn arrays(kinds: &[Kind]) -> String {
    let array = |(n, kind): (usize, &Kind)| match kind {
        Kind::Integer => format!("${}::BIGINT[]", n + 1),
        Kind::Text => format!("${}::TEXT[]", n + 1),
    };
    format!("UNNEST({})", kinds.iter().enumerate().map(array).collect::<Vec<_>>().join(", "))
}
