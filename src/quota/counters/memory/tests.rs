use std::sync::Arc;

use super::super::suite::counters_suite;
use super::super::suite::world::*;
use super::*;

const SMALL: MemorySettings = MemorySettings { max_holds: 300, max_waiting: 4, max_ended: 1_000, max_counters: 1_200 };

fn counters(settings: MemorySettings) -> (Arc<MemoryCounters>, World) {
    let (clock, books) = (Arc::new(TestClock::new()), Arc::new(TestBooks::default()));
    let counters = Arc::new(MemoryCounters::with_clock(books.clone(), settings, clock.clone()));
    let MemorySettings { max_holds, max_waiting, .. } = settings;
    (counters.clone(), World { counters, clock, books, max_holds, max_waiting, journals: true, cases: 512 })
}

fn world() -> World {
    counters(SMALL).1
}

counters_suite!(world);

#[tokio::test]
async fn counters_that_say_nothing_leave_the_table() {
    let (counters, world) = counters(SMALL);
    let make =
        |number| hold(number).requests(9).tokens(1, 9).in_flight(9).spend(1, 9).on(budget_of("t", day(0)), 1, 9).done();
    world.admitted(&make(1)).await;
    world.start(&make(1)).await;
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 5);
    world.settle(&make(1), 1, 1).await;
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 4, "the slot is free");
    world.pass(60 * SECOND);
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 2, "the minute is over");
    world.pass(3_600 * SECOND);
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 0, "the budgets can be loaded again");
    world.admitted(&make(2)).await;
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (1, 1));
    world.settle(&make(2), 1, 1).await;
    world.admitted(&make(3)).await;
    world.pass(86_400 * SECOND);
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 1, "the day is over; the total was booked to just now");
}

#[tokio::test]
async fn a_budget_nobody_loads_leaves_the_table() {
    let (counters, world) = counters(SMALL);
    let missing = world.missing(&hold(1).spend(1, 9).done()).await;
    world.pass(60 * SECOND);
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 0);
    assert!(!counters.load(&missing, &*world.books).await.unwrap(), "too late");
}

#[tokio::test]
async fn ended_holds_are_remembered_in_a_bounded_number() {
    let (counters, world) = counters(MemorySettings { max_ended: 10, ..SMALL });
    let make = |number| hold(0).numbered(number).requests(1_000).done();
    for number in 0..11 {
        world.admitted(&make(number)).await;
        world.settle(&make(number), 0, 0).await;
    }
    assert_eq!(world.settle(&make(0), 0, 0).await, Settled::Forgotten);
    assert_eq!(world.settle(&make(1), 0, 0).await, Settled::Duplicate);
    drop(counters);
}

#[tokio::test]
async fn many_holds_that_end_at_once_all_end() {
    let (counters, world) = counters(SMALL);
    for number in 0..SMALL.max_holds as u32 {
        world.admitted(&hold(0).numbered(number).in_flight(1_000).spend(1, 1_000_000).done()).await;
    }
    world.pass(30 * SECOND);
    counters.sweep(world.now());
    assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
    assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, 0));
    assert_eq!(world.booked().len(), SMALL.max_holds);
}

#[tokio::test]
async fn more_counters_than_may_be_are_refused_until_a_sweep() {
    let settings = MemorySettings { max_counters: 100, ..SMALL };
    let (counters, world) = counters(settings);
    let terms = Terms { gateway: GATEWAY, meter_required: true };
    let make = |number: u32| hold(0).numbered(number).on(counter(&number.to_string(), Kind::InFlight), 1, 1).done();
    for number in 0..settings.max_counters as u32 {
        world.admitted(&make(number)).await;
    }
    let one_more = counters.admit(make(1_000), terms).await;
    assert!(matches!(one_more, Err(CountersError::Unavailable(_))));
    world.settle(&make(1), 0, 0).await;
    counters.sweep(world.now());
    world.admitted(&make(1_000)).await;
}

/// Threads that admit, start, renew, settle, repeat and release as they like: the budget is never passed on the way, and
/// in the end it stands at what is booked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn counters_and_books_agree_when_many_threads_use_them() {
    const BUDGET: Amount = 5_000;
    let (_, world) = counters(SMALL);
    let world = Arc::new(world);
    let budget = counter("t", Kind::Spend);
    let tasks = (0..8u32).map(|task| {
        let (world, budget) = (world.clone(), budget.clone());
        tokio::spawn(async move {
            for number in (task * 1_000)..(task * 1_000 + 300) {
                let one = hold(0).numbered(number).tokens(1, 100_000).in_flight(6).spend(10, BUDGET).done();
                if !matches!(world.admit(&one).await, Verdict::Admitted { .. }) {
                    tokio::task::yield_now().await;
                    continue;
                }
                let (spent, held) = world.read(&budget).await;
                assert!(spent + held <= BUDGET);
                match number % 4 {
                    0 => drop(world.counters.release(one.id).await),
                    1 => {
                        world.settle(&one, 1, 7).await;
                    }
                    _ => {
                        world.start(&one).await;
                        assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Started);
                        assert_eq!(world.settle(&one, 2, 10).await, Settled::Applied);
                        assert_eq!(world.settle(&one, 2, 10).await, Settled::Duplicate);
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let booked: i64 = world.booked().iter().map(|(_, _, cost)| cost).sum();
    assert!(booked > 0);
    assert_eq!(world.read(&budget).await, (booked, 0));
    assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, 0));
    assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
}
