//! Retention: days that are too old leave the ledger, and what they add up to stays, as a checkpoint.

use std::collections::BTreeMap;

use super::Result;
use super::engine::{Engine, Reading, Writing, nothing};
use super::rows::{Columns, Value, read_costs};
use super::session::{self, Session};
use super::statements::Statements;

/// Sums by scope and period.
type Sums = BTreeMap<(String, String), i64>;

/// Takes every day before `day` out of the ledger, the oldest first; answers how many there were.
pub(super) async fn trim(engine: &impl Engine, day: i64) -> Result<u64> {
    let mut days = 0;
    loop {
        let oldest = engine.read(Reading::Row, |session, statements| {
            Box::pin(session::number(session, &statements.ledger.oldest_day, Vec::new()))
        });
        let Some(oldest) = oldest.await?.filter(|oldest| *oldest < day) else { return Ok(days) };
        while !trim_day(engine, oldest).await? {}
        days += 1;
    }
}

/// Takes one day out; `false` where records came to it meanwhile. Adding it up may take long and keeps nobody from
/// writing; what is added up is taken out only as long as it is still all there is. Records are never changed, so their
/// number says so.
async fn trim_day(engine: &impl Engine, day: i64) -> Result<bool> {
    let (records, sums) =
        engine.read(Reading::Ledger, move |session, statements| Box::pin(add_up(session, statements, day))).await?;
    engine
        .write(Writing::Days, move |session, statements| Box::pin(take_out(session, statements, day, records, sums)))
        .await
}

async fn add_up(session: &mut dyn Session, statements: &Statements, day: i64) -> Result<(i64, Sums)> {
    let (mut records, mut sums) = (0, Sums::new());
    let mut take = |columns: &mut dyn Columns| {
        let (cost, accounts) = read_costs(columns)?;
        for account in accounts {
            let place = (account.scope.as_str().to_owned(), account.period.id.to_string());
            let sum = sums.entry(place).or_default();
            *sum = sum.saturating_add(cost.as_nanos());
        }
        records += 1;
        Ok(())
    };
    session.each(&statements.ledger.costs_of_day, vec![Value::Integer(day)], &mut take).await?;
    Ok((records, sums))
}

async fn take_out(
    session: &mut dyn Session,
    statements: &Statements,
    day: i64,
    records: i64,
    sums: Sums,
) -> Result<bool> {
    let there = session::number(session, &statements.ledger.count_of_day, vec![Value::Integer(day)]).await?;
    if there != Some(records) {
        return Ok(false);
    }
    let rows = sums
        .into_iter()
        .map(|((scope, period), sum)| vec![Value::Text(scope), Value::Text(period), Value::Integer(sum)]);
    session.each_of(&statements.ledger.add_checkpoint, rows.collect(), &mut nothing).await?;
    session.remove_day(&statements.ledger.remove_day, day).await?;
    Ok(true)
}
