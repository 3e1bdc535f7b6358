use std::sync::Arc;

use super::super::suite::counters_suite;
use super::super::suite::world::*;
use super::*;

const SMALL: MemorySettings = MemorySettings { max_holds: 300, max_waiting: 4, max_ended: 1_000 };

fn counters(settings: MemorySettings) -> (Arc<MemoryCounters>, World) {
    let (clock, books) = (Arc::new(TestClock::new()), Arc::new(TestBooks::default()));
    let counters = Arc::new(MemoryCounters::with_clock(books.clone(), settings, clock.clone()));
    let MemorySettings { max_holds, max_waiting, .. } = settings;
    (counters.clone(), World { counters, clock, books, max_holds, max_waiting })
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
    let terms = Terms { gateway: GATEWAY, meter_required: true };
    let Verdict::Unseeded(missing) = counters.admit(hold(1).spend(1, 9).done(), terms).await.unwrap() else {
        panic!("not loaded")
    };
    world.pass(60 * SECOND);
    counters.sweep(world.now());
    assert_eq!(counters.counters(), 0);
    assert!(!counters.seed(&missing[0].counter, missing[0].generation, Money::ZERO).await.unwrap(), "too late");
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
