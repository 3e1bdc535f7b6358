//! The ledger of several writers: booked once, never in one another's way, and a day at a time.

use super::super::super::engine::{Engine, Reading};
use super::super::super::session::number;
use super::*;

pub(super) fn record(number: u64, cost: i64, scopes: &[Scope]) -> Record {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Record {
        id: HoldId::new(id),
        sequence: 0,
        status: RecordStatus::Usage,
        admitted_at: now(),
        settled_at: now(),
        parties: Parties::default(),
        model: "m".into(),
        usage: Usage::default(),
        cost: Money::nanos(cost),
        price_version: "v".into(),
        estimated: false,
        accounts: scopes.iter().map(|scope| Account { scope: scope.clone(), period: Period::total() }).collect(),
    }
}

fn end_user(number: u64) -> Scope {
    Scope::new(ScopeKind::EndUser, &[&format!("e{number}\0")])
}

#[tokio::test]
async fn a_batch_written_twice_is_booked_once() {
    let store = open(&Postgres::shared().database()).await.unwrap();
    let records: Vec<Record> = (0..1_000)
        .map(|n| record(n, 7, &[Scope::global(), end_user(n % 100), Scope::key(&KeyHash::of("x"))]))
        .collect();
    assert_eq!(store.write_records(&records).await.unwrap(), vec![true; 1_000]);
    assert_eq!(store.write_records(&records).await.unwrap(), vec![false; 1_000]);
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, proof.total_nanodollars, proof.differences), (1_000, 7_000, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_several_replicas_never_deadlock_and_the_books_add_up() {
    let server = Postgres::shared();
    let url = server.database();
    let mut writing = JoinSet::new();
    for writer in 0..4u64 {
        let store: SharedStore = Arc::new(open(&url).await.unwrap());
        let books = Arc::clone(&store);
        writing.spawn(async move {
            for batch in 0..10 {
                // The same accounts, each time in another order; half of the records are the neighbour's too.
                let records = (0..50u64).map(|n| {
                    let number = ((writer / 2) * 10 + batch) * 100 + n;
                    let turned = (0..8).map(|scope| end_user((scope * (writer * 2 + 1) + n) % 8));
                    let key = Scope::key(&KeyHash::of(&format!("sk-{}", n % 4)));
                    record(number, 1, &turned.chain([Scope::global(), key]).collect::<Vec<_>>())
                });
                books.write_records(&records.collect::<Vec<_>>()).await.unwrap();
            }
        });
        writing.spawn(async move {
            // Entities come, move and go meanwhile.
            let mut last = key(&format!("sk-{writer}"));
            store.create_key(&last, audit()).await.unwrap();
            for round in 0..5 {
                let next = Key { first_token: last.first_token, ..key(&format!("sk-{writer}-{round}")) };
                store.rotate_key(&last.token, &next, None, audit()).await.unwrap();
                let user = User { user_id: format!("u{writer}").into(), ..User::default() };
                store.put_user(&user, true, audit()).await.unwrap();
                store.delete_user(&format!("u{writer}"), audit()).await.unwrap();
                last = next;
            }
        });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    let proof = open(&url).await.unwrap().verify().await.unwrap();
    assert_eq!(proof.differences, []);
    // Two pairs of writers wrote the same 500 records; the rotations moved sums and added none.
    assert_eq!(proof.total_nanodollars, 1_000);
    assert_eq!(
        server.execute(name_of(&url), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
        "0"
    );
}

#[tokio::test]
async fn an_old_day_leaves_with_its_table() {
    let server = Postgres::shared();
    let url = server.database();
    let store = open(&url).await.unwrap();
    let day = now().as_millis().div_euclid(86_400_000);
    let old = |days: i64, number| Record {
        admitted_at: now().plus_millis(-days * 86_400_000),
        ..record(number, 5, &[Scope::global()])
    };
    store.write_records(&[old(0, 1), old(3, 2), old(100, 3)]).await.unwrap();
    let has =
        |day: i64| server.execute(name_of(&url), &format!("SELECT to_regclass('ledger_d{day}') IS NOT NULL")) == "t";
    assert!(has(day) && has(day + 1) && has(day - 3), "a table for each day, and tomorrow's beforehand");
    assert!(!has(day - 100), "what is far away goes to the default table");
    assert_eq!(store.trim_ledger(day - 1).await.unwrap(), 2);
    assert!(has(day) && !has(day - 3));
    assert_eq!(server.execute(name_of(&url), "SELECT COUNT(*) FROM ledger_default"), "0");
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, proof.differences), (1, Vec::new()));
    assert_eq!(server.execute(name_of(&url), "SELECT spend FROM ledger_checkpoint"), "10");
}

#[tokio::test]
async fn a_value_that_no_index_can_hold_is_refused_and_nothing_is_written() {
    let store = open(&Postgres::shared().database()).await.unwrap();
    let long: String = (0..200).map(|n| KeyHash::of(&format!("{n}")).to_string()).collect();
    let unfit = Record { model: long.into(), ..record(2, 5, &[Scope::global()]) };
    let refused = store.write_records(&[record(1, 5, &[Scope::global()]), unfit]).await;
    assert!(matches!(&refused, Err(DirectoryError::Refused(why)) if why.contains("54000")), "{refused:?}");
    assert_eq!(store.records(None, 0, 10).await.unwrap().total, 0);
    let proof = store.verify().await.unwrap();
    assert_eq!((proof.records, proof.differences), (0, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_stays_while_the_ledger_is_read() {
    let store = Arc::new(open(&Postgres::shared().database()).await.unwrap());
    let old = Record { admitted_at: now().plus_millis(-3 * 86_400_000), ..record(1, 5, &[Scope::global()]) };
    store.write_records(&[old]).await.unwrap();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (end, ends) = tokio::sync::oneshot::channel::<()>();
    let reader = Arc::clone(&store);
    let reading = tokio::spawn(async move {
        let read = reader.read(Reading::Ledger, move |session, _| {
            Box::pin(async move {
                // The sums of days that are gone are read first, as a proof of the books does.
                let gone = number(session, "SELECT COUNT(*) FROM ledger_checkpoint", Vec::new()).await?;
                begun.send(()).unwrap();
                ends.await.unwrap();
                Ok((gone, number(session, "SELECT COUNT(*) FROM ledger", Vec::new()).await?))
            })
        });
        read.await.unwrap()
    });
    has_begun.await.unwrap();
    let today = now().as_millis().div_euclid(86_400_000);
    let trimmed = store.trim_ledger(today).await;
    end.send(()).unwrap();
    assert_eq!(reading.await.unwrap(), (Some(0), Some(1)));
    assert!(is_unavailable(&trimmed), "it gives way: {trimmed:?}");
    assert_eq!(store.trim_ledger(today).await.unwrap(), 1);
}
