//! The proof that the books add up: what every account and entity says it spent is the sum of its records.

use std::collections::BTreeMap;

use super::rows::{Column, Columns, Row, read_costs};
use super::session::Session;
use super::statements::Statements;
use super::{Difference, Result, Verification};
use crate::domain::{AccessGroup, EndUser, Key, Member, Money, Organization, Project, Scope, Tag, Team, User};

/// Sums by scope and period, wide enough for any number of records.
type Accounts = BTreeMap<(String, String), i128>;

/// Reads the whole ledger and compares. The session is of one moment.
pub(super) async fn verify(session: &mut dyn Session, statements: &Statements) -> Result<Verification> {
    let mut found = Verification::default();
    let (expected, total) = expected(session, statements, &mut found.records).await?;
    found.accounts = expected.len() as u64;
    found.total_nanodollars = narrow(total);
    let differences = &mut found.differences;
    periods(session, statements, &expected, differences).await?;
    entity::<Organization>(session, &statements.organizations.all, &expected, differences).await?;
    entity::<Project>(session, &statements.projects.all, &expected, differences).await?;
    entity::<Team>(session, &statements.teams.all, &expected, differences).await?;
    entity::<Member>(session, &statements.members.all, &expected, differences).await?;
    entity::<User>(session, &statements.users.all, &expected, differences).await?;
    entity::<Key>(session, &statements.keys.all, &expected, differences).await?;
    entity::<EndUser>(session, &statements.end_users.all, &expected, differences).await?;
    entity::<Tag>(session, &statements.tags.all, &expected, differences).await?;
    entity::<AccessGroup>(session, &statements.access_groups.all, &expected, differences).await?;
    Ok(found)
}

/// What every account should hold, and what all records cost.
async fn expected(session: &mut dyn Session, statements: &Statements, records: &mut u64) -> Result<(Accounts, i128)> {
    let (mut expected, mut total) = (Accounts::new(), 0i128);
    let mut checkpoint = |columns: &mut dyn Columns| {
        let place = (String::get(columns)?, String::get(columns)?);
        *expected.entry(place).or_default() += i128::from(Money::get(columns)?.as_nanos());
        Ok(())
    };
    session.each(&statements.ledger.checkpoints, Vec::new(), &mut checkpoint).await?;
    let mut record = |columns: &mut dyn Columns| {
        let (cost, accounts) = read_costs(columns)?;
        let cost = i128::from(cost.as_nanos());
        for account in accounts {
            let place = (account.scope.as_str().to_owned(), account.period.id.to_string());
            *expected.entry(place).or_default() += cost;
        }
        *records += 1;
        total += cost;
        Ok(())
    };
    session.each(&statements.ledger.costs, Vec::new(), &mut record).await?;
    Ok((expected, total))
}

/// Compares `period_spend`, row by row, both ways.
async fn periods(
    session: &mut dyn Session,
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
    let mut period = |columns: &mut dyn Columns| {
        let place = (String::get(columns)?, String::get(columns)?);
        let found = i128::from(Money::get(columns)?.as_nanos());
        wrong(&place, missing.remove(&place).unwrap_or(0), found);
        Ok(())
    };
    session.each(&statements.ledger.periods, Vec::new(), &mut period).await?;
    missing.iter().for_each(|(place, expected)| wrong(place, *expected, 0));
    Ok(())
}

/// Compares the `spend` of every row of a table with the totals of its scopes.
async fn entity<R: Row + Spending>(
    session: &mut dyn Session,
    all: &str,
    expected: &Accounts,
    differences: &mut Vec<Difference>,
) -> Result<()> {
    let mut compare = |columns: &mut dyn Columns| {
        let row = R::read(columns)?;
        let total =
            |scope: &Scope| expected.get(&(scope.as_str().to_owned(), "total".to_owned())).copied().unwrap_or(0);
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
    };
    session.each(all, Vec::new(), &mut compare).await
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
