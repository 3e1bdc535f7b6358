//! The proof that the books add up: what every account and entity says it spent is the sum of its records.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::super::rows::{Column, Row, Value, accounts_from_json, corrupt};
use super::super::statements::Statements;
use super::super::{Difference, Result, Verification};
use super::{errors, rows};
use crate::domain::{AccessGroup, EndUser, Key, Member, Money, Organization, Project, Scope, Tag, Team, User};

/// Sums by scope and period, wide enough for any number of records.
type Accounts = BTreeMap<(String, String), i128>;

/// Reads the whole ledger in one snapshot and compares.
pub(super) fn verify(connection: &Connection, statements: &Statements) -> Result<Verification> {
    let snapshot = connection.unchecked_transaction().map_err(errors::of)?;
    let mut found = Verification::default();
    let (expected, total) = expected(&snapshot, statements, &mut found.records)?;
    found.accounts = expected.len() as u64;
    found.total_nanodollars = narrow(total);
    periods(&snapshot, statements, &expected, &mut found.differences)?;
    let books = Books { connection: &snapshot, expected: &expected };
    let differences = &mut found.differences;
    books.entity::<Organization>(&statements.organizations.all, differences)?;
    books.entity::<Project>(&statements.projects.all, differences)?;
    books.entity::<Team>(&statements.teams.all, differences)?;
    books.entity::<Member>(&statements.members.all, differences)?;
    books.entity::<User>(&statements.users.all, differences)?;
    books.entity::<Key>(&statements.keys.all, differences)?;
    books.entity::<EndUser>(&statements.end_users.all, differences)?;
    books.entity::<Tag>(&statements.tags.all, differences)?;
    books.entity::<AccessGroup>(&statements.access_groups.all, differences)?;
    Ok(found)
}

/// What every account should hold, and what all records cost.
fn expected(connection: &Connection, statements: &Statements, records: &mut u64) -> Result<(Accounts, i128)> {
    let (mut expected, mut total) = (Accounts::new(), 0i128);
    rows::each(connection, &statements.ledger.checkpoints, Vec::new(), |columns| {
        let place = (String::get(columns)?, String::get(columns)?);
        *expected.entry(place).or_default() += i128::from(Money::get(columns)?.as_nanos());
        Ok(())
    })?;
    rows::each(connection, &statements.ledger.costs, Vec::new(), |columns| {
        let (cost, accounts) = (i128::from(Money::get(columns)?.as_nanos()), String::get(columns)?);
        let accounts = serde_json::from_str(&accounts).ok().and_then(|json| accounts_from_json(&json));
        for account in accounts.ok_or_else(|| corrupt("a record has unknown accounts"))? {
            let place = (account.scope.as_str().to_owned(), account.period.id.to_string());
            *expected.entry(place).or_default() += cost;
        }
        *records += 1;
        total += cost;
        Ok(())
    })?;
    Ok((expected, total))
}

/// Compares `period_spend`, row by row, both ways.
fn periods(
    connection: &Connection,
    statements: &Statements,
    expected: &Accounts,
    differences: &mut Vec<Difference>,
) -> Result<()> {
    let mut missing = expected.clone();
    let mut wrong = |place: &(String, String), expected: i128, found: i128| {
        if expected != found {
            differences.push(Difference {
                place: "period_spend".to_owned(),
                account: format!("{} {}", place.0, place.1),
                expected_nanodollars: narrow(expected),
                found_nanodollars: narrow(found),
            });
        }
    };
    rows::each(connection, &statements.ledger.periods, Vec::new(), |columns| {
        let place = (String::get(columns)?, String::get(columns)?);
        let found = i128::from(Money::get(columns)?.as_nanos());
        wrong(&place, missing.remove(&place).unwrap_or(0), found);
        Ok(())
    })?;
    missing.iter().for_each(|(place, expected)| wrong(place, *expected, 0));
    Ok(())
}

struct Books<'a> {
    connection: &'a Connection,
    expected: &'a Accounts,
}

impl Books<'_> {
    /// Compares the `spend` of every row of a table with the totals of its scopes.
    fn entity<R: Row + Spending>(&self, all: &str, differences: &mut Vec<Difference>) -> Result<()> {
        rows::each(self.connection, all, Vec::<Value>::new(), |columns| {
            let row = R::read(columns)?;
            let total = |scope: &Scope| {
                self.expected.get(&(scope.as_str().to_owned(), "total".to_owned())).copied().unwrap_or(0)
            };
            let expected: i128 = row.scopes().iter().map(total).sum();
            let found = row.spend().as_nanos();
            if expected != i128::from(found) {
                differences.push(Difference {
                    place: R::TABLE.to_owned(),
                    account: row.name(),
                    expected_nanodollars: narrow(expected),
                    found_nanodollars: found,
                });
            }
            Ok(())
        })
    }
}

trait Spending {
    fn spend(&self) -> Money;
}

macro_rules! spending {
    ($($type:ident),+) => {$(
        impl Spending for $type {
            fn spend(&self) -> Money {
                self.spend
            }
        }
    )+};
}

spending!(Organization, Project, Team, Member, User, Key, EndUser, Tag, AccessGroup);

/// A sum as it is shown; one that does not fit is shown as the nearest that does.
fn narrow(sum: i128) -> i64 {
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}
