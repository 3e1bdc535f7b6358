//! Limits and budgets: what admits, what refuses, and what is told about it.

use std::time::Duration;

use parking_lot::Mutex;

use super::world::*;
use crate::domain::{Kind, Money, Period, RecordStatus, Timestamp};
use crate::quota::counters::{Books, Terms, Unseeded, Verdict};

const TERMS: Terms = Terms { gateway: GATEWAY, meter_required: true };

pub(crate) async fn a_refused_request_consumes_nothing(world: World) {
    let first = hold(1).requests(10).tokens(60, 100).in_flight(10).spend(60, 100).done();
    world.admitted(&first).await;
    for (number, refused, by) in [
        (2, hold(2).requests(10).tokens(41, 100).in_flight(10).spend(40, 100), 1),
        (3, hold(3).requests(10).tokens(40, 100).in_flight(10).spend(41, 100), 3),
        (4, hold(4).requests(10).tokens(40, 100).in_flight(1).spend(40, 100), 2),
        (5, hold(5).requests(1).tokens(40, 100).in_flight(10).spend(40, 100), 0),
    ] {
        assert_eq!(world.refused(&refused.done()).await.charge, by, "hold {number}");
    }
    assert_eq!(world.read(&counter("t", Kind::Requests)).await, (1, 0));
    assert_eq!(world.read(&counter("t", Kind::Tokens)).await, (0, 60));
    assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, 1));
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (0, 60));
    world.admitted(&hold(6).requests(10).tokens(40, 100).in_flight(10).spend(40, 100).done()).await;
}

pub(crate) async fn eleven_hundred_limits_are_judged_and_charged_as_one(world: World) {
    let named = |at: u32| counter(&format!("tag-{at}"), Kind::Requests);
    let make = |number| {
        let limit = |at| if at == 1_050 { 2 } else { 10 };
        (0..1_100).fold(hold(number), |make, at| make.on(named(at), 1, limit(at))).done()
    };
    assert_eq!(world.admitted(&make(1)).await.len(), 1_100);
    world.admitted(&make(2)).await;
    assert_eq!(world.refused(&make(3)).await.charge, 1_050);
    for at in [0, 700, 1_050, 1_099] {
        assert_eq!(world.read(&named(at)).await, (2, 0), "{at}");
    }
    world.counters.release(make(1).id).await.unwrap();
    world.admitted(&make(3)).await;
}

pub(crate) async fn a_second_admission_of_a_hold_charges_nothing(world: World) {
    let one = hold(1).requests(1).tokens(100, 100).in_flight(1).spend(100, 100).done();
    let first = world.admitted(&one).await;
    assert_eq!(world.admitted(&one).await, first);
    assert_eq!(world.counters.holds().await.unwrap(), (1, 0));
    world.settle(&one, 100, 100).await;
    assert_eq!(world.admitted(&one).await.len(), 4);
    assert_eq!(world.read(&counter("t", Kind::Requests)).await, (1, 0));
    assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, 0));
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (100, 0));
}

pub(crate) async fn a_budget_that_is_not_loaded_is_never_zero(world: World) {
    let budget = counter("t", Kind::Spend);
    let one = hold(1).requests(5).spend(1, 100).done();
    let missing = world.missing(&one).await;
    assert_eq!(missing.counter, budget);
    assert_eq!(world.counters.read(&budget).await.unwrap(), None);
    assert_eq!(world.read(&counter("t", Kind::Requests)).await, (0, 0), "nothing is charged before it is");
    world.books.book(record(&hold(9).booked(&budget).done(), 0, 100, world.now()));
    let other = Unseeded { generation: missing.generation + 1, ..missing.clone() };
    assert!(!world.counters.load(&other, &*world.books).await.unwrap());
    assert!(world.counters.load(&missing, &*world.books).await.unwrap());
    assert_eq!(world.refused(&one).await.spent, 100);
}

pub(crate) async fn what_is_settled_while_a_budget_is_loaded_counts_once(world: World) {
    let budget = counter("t", Kind::Spend);
    let running = |number| hold(number).requests(500).booked(&budget).done();
    for number in 10..16 {
        world.admitted(&running(number)).await;
    }
    let first = hold(1).spend(1, 1_000).done();
    let missing = world.missing(&first).await;
    // One is settled before the load, and one on either side of each reading as long as there are any.
    world.settle(&running(10), 0, 30).await;
    let (before, after) = (Mutex::new(vec![running(11), running(12)]), Mutex::new(vec![running(13), running(14)]));
    let books = BusyBooks { world: &world, before, after };
    let mut missing = vec![missing];
    while let Some(one) = missing.pop() {
        world.counters.load(&one, &books).await.unwrap();
        if let Verdict::Unseeded(still) = world.counters.admit(first.clone(), TERMS).await.unwrap() {
            missing = still;
        }
    }
    let settled = world.books.records.lock().len() as i64;
    assert!(settled >= 3, "{settled}");
    assert_eq!(world.read(&budget).await, (30 * settled, 1));
    world.settle(&running(15), 0, 30).await;
    assert_eq!(world.read(&budget).await, (30 * (settled + 1), 1));
}

pub(crate) async fn a_sum_that_comes_second_changes_nothing(world: World) {
    let one = hold(1).spend(10, 100).done();
    let missing = world.missing(&one).await;
    world.books.book(record(&hold(9).booked(&missing.counter).done(), 0, 5, world.now()));
    assert!(world.counters.load(&missing, &*world.books).await.unwrap());
    world.admitted(&one).await;
    assert!(world.counters.load(&missing, &TestBooks::default()).await.unwrap());
    assert_eq!(world.read(&missing.counter).await, (5, 10));
}

pub(crate) async fn two_hundred_at_once_pass_a_budget_for_fifty_exactly_fifty_times(world: World) {
    let world = std::sync::Arc::new(world);
    let calls = (0..200).map(|number| {
        let world = world.clone();
        tokio::spawn(async move {
            let one = hold(0).numbered(number).requests(1_000).spend(10, 500).done();
            let admitted = matches!(world.admit(&one).await, Verdict::Admitted { .. });
            tokio::task::yield_now().await;
            if admitted {
                world.start(&one).await;
                world.settle(&one, 0, 10).await;
            }
            admitted
        })
    });
    let mut passed = 0;
    for call in calls.collect::<Vec<_>>() {
        passed += usize::from(call.await.unwrap());
    }
    assert_eq!(passed, 50);
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (500, 0));
    assert_eq!(world.booked().len(), 50);
}

pub(crate) async fn what_is_left_and_when_it_is_whole_again_are_exact(world: World) {
    let make = |number| hold(number).requests(5).tokens(10, 100).in_flight(3).on(budget_of("t", day(0)), 20, 100);
    world.pass(7_500);
    let told = |remaining: Vec<crate::quota::counters::Remaining>| {
        remaining.iter().map(|left| (left.remaining, left.reset.as_millis() as i64)).collect::<Vec<_>>()
    };
    let day_left = 86_400 * SECOND - 7_500;
    assert_eq!(told(world.admitted(&make(1).done()).await), [(4, 60_000), (90, 60_000), (2, 0), (80, day_left)]);
    world.pass(20_000);
    world.settle(&make(1).done(), 4, 15).await;
    assert_eq!(
        told(world.admitted(&make(2).done()).await),
        [(3, 60_000), (86, 60_000), (2, 0), (65, day_left - 20_000)]
    );
    world.settle(&make(2).done(), 0, 0).await;
    world.pass(40_000);
    assert_eq!(
        told(world.admitted(&make(3).done()).await),
        [(3, 60_000), (90, 60_000), (2, 0), (65, day_left - 60_000)]
    );
}

pub(crate) async fn the_limit_that_refuses_longest_is_named(world: World) {
    let daily = |number, amount, limit| hold(number).on(budget_of("t", day(0)), amount, limit);
    let tokens = counter("u", Kind::Tokens);
    let full = daily(1, 100, 100).requests(1).on(tokens.clone(), 10, 10).in_flight(1).spend(50, 100).done();
    world.admitted(&full).await;
    world.start(&full).await;
    world.pass(20_000);
    // Held only: in flight, tokens and money may come back; requests may not.
    let refusal = world.refused(&hold(2).in_flight(1).on(tokens.clone(), 1, 10).done()).await;
    assert_eq!((refusal.charge, refusal.spent, refusal.held), (1, 0, 10));
    assert_eq!((refusal.retry_after, refusal.may_be_released), (Duration::from_secs(40), true));
    let refusal = world.refused(&hold(2).requests(1).in_flight(1).on(tokens.clone(), 1, 10).done()).await;
    assert_eq!((refusal.charge, refusal.may_be_released), (0, false), "equally long: the first");
    let refusal = world.refused(&daily(2, 1, 100).done()).await;
    assert_eq!((refusal.spent, refusal.held, refusal.may_be_released), (0, 100, true));
    world.settle(&full, 10, 100).await;
    // Spent: until the day ends, or for good.
    let refusal = world.refused(&daily(2, 1, 100).requests(1).done()).await;
    assert_eq!((refusal.charge, refusal.spent, refusal.held), (0, 100, 0));
    assert_eq!(refusal.retry_after, Duration::from_secs(86_400 - 20));
    assert!(!refusal.never && !refusal.may_be_released);
    let refusal = world.refused(&daily(2, 1, 100).spend(1, 100).done()).await;
    assert_eq!((refusal.charge, refusal.never), (1, true));
    // Larger than the limit itself.
    let refusal = world.refused(&daily(2, 1, 100).on(tokens, 11, 10).done()).await;
    assert_eq!((refusal.charge, refusal.never, refusal.may_be_released), (1, true, false));
}

pub(crate) async fn waiting_as_told_gets_a_caller_in(world: World) {
    for number in 0..20 {
        world.admitted(&hold(number).requests(20).done()).await;
        world.pass(1_700);
    }
    let mut waited = 0;
    for number in 100..110 {
        let wait = world.refused(&hold(number).requests(20).done()).await.retry_after.as_millis() as i64;
        world.pass(wait - 1);
        world.refused(&hold(number).requests(20).done()).await;
        world.pass(1);
        for held in 0..20 {
            // Takes whatever came back with the bucket, so that the next has to wait again.
            let verdict = world.admit(&hold(0).numbered(number as u32 * 100 + held).requests(20).done()).await;
            if !matches!(verdict, Verdict::Admitted { .. }) {
                assert!(held > 0, "the first after the wait gets in");
                break;
            }
        }
        waited += wait;
    }
    assert!(waited > 60_000);
}

pub(crate) async fn a_counter_named_twice_is_charged_once_and_checked_twice(world: World) {
    let one = hold(1).spend(40, 100).spend(40, 50).done();
    assert_eq!(world.admitted(&one).await.iter().map(|left| left.remaining).collect::<Vec<_>>(), [60, 10]);
    assert_eq!(world.refused(&hold(2).spend(40, 100).spend(40, 50).done()).await.charge, 1);
    world.settle(&one, 0, 40).await;
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (40, 0));
}

pub(crate) async fn another_period_than_the_clocks_is_sent_back(world: World) {
    let tomorrow = hold(1).requests(1).on(budget_of("t", day(1)), 1, 10).done();
    assert_eq!(world.admit(&tomorrow).await, Verdict::WrongPeriod { now: world.now() });
    world.pass(86_400 * SECOND - 1);
    assert_eq!(world.admit(&tomorrow).await, Verdict::WrongPeriod { now: world.now() });
    world.pass(1);
    world.admitted(&tomorrow).await;
    let yesterday = hold(2).on(budget_of("t", day(0)), 1, 10).done();
    assert_eq!(world.admit(&yesterday).await, Verdict::WrongPeriod { now: world.now() });
}

pub(crate) async fn a_settlement_counts_in_the_period_of_its_admission(world: World) {
    let late = |number, period| hold(number).on(budget_of("t", day(period)), 60, 100).done();
    world.pass(86_400 * SECOND - 10_000);
    world.admitted(&late(1, 0)).await;
    world.start(&late(1, 0)).await;
    world.pass(10_000);
    world.admitted(&late(2, 1)).await;
    world.settle(&late(1, 0), 0, 50).await;
    assert_eq!(world.read(&budget_of("t", day(0))).await, (50, 0));
    assert_eq!(world.read(&budget_of("t", day(1))).await, (0, 60));
}

pub(crate) async fn a_soft_limit_is_told_once_by_the_admission_that_finds_it_passed(world: World) {
    let make = |number, period| hold(number).on(budget_of("t", day(period)), 10, 100).soft(50).done();
    let opening =
        crate::domain::Record { status: RecordStatus::Opening, ..record(&make(0, 0), 0, 50, Timestamp::millis(START)) };
    world.counters.adjust(opening).await.unwrap();
    let mut told = Vec::new();
    for number in 1..4 {
        told.push(world.admitted(&make(number, 0)).await[0].soft_limit_passed);
    }
    assert_eq!(told, [true, false, false]);
    assert!(world.counters.soft_events().is_empty());
    world.pass(86_400 * SECOND);
    assert!(!world.admitted(&make(5, 1)).await[0].soft_limit_passed, "a new period");
}

pub(crate) async fn a_soft_limit_passed_by_a_settlement_is_an_event(world: World) {
    let make = |number| hold(number).spend(60, 200).soft(50).done();
    assert!(!world.admitted(&make(1)).await[0].soft_limit_passed, "what is held does not count");
    world.admitted(&make(2)).await;
    world.settle(&make(1), 0, 49).await;
    assert!(world.counters.soft_events().is_empty());
    world.settle(&make(2), 0, 2).await;
    let events = world.counters.soft_events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].counter, counter("t", Kind::Spend));
    assert_eq!((events[0].soft_limit, events[0].spent), (Money::nanos(50), Money::nanos(51)));
    assert!(world.counters.soft_events().is_empty());
    assert!(!world.admitted(&make(3)).await[0].soft_limit_passed, "told already");
}

pub(crate) async fn an_adjustment_moves_every_account_it_names(world: World) {
    let one = hold(1).spend(10, 100).on(budget_of("t", day(0)), 10, 100).done();
    world.admitted(&one).await;
    world.settle(&one, 0, 90).await;
    assert_eq!(world.refused(&hold(2).spend(20, 100).done()).await.spent, 90);
    let adjustment = crate::domain::Record {
        status: RecordStatus::Adjustment,
        ..record(&hold(9).spend(0, 0).on(budget_of("t", day(0)), 0, 0).done(), 0, -90, world.now())
    };
    world.counters.adjust(adjustment).await.unwrap();
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (0, 0));
    assert_eq!(world.read(&budget_of("t", day(0))).await, (0, 0));
    assert_eq!(world.booked(), [(RecordStatus::Usage, 0, 90), (RecordStatus::Adjustment, 0, -90)]);
    world.admitted(&hold(2).spend(20, 100).done()).await;
}

pub(crate) async fn budgets_list_what_is_loaded(world: World) {
    let one = hold(1).requests(9).spend(10, 100).on(budget_of("u", day(0)), 10, 100).done();
    world.admitted(&one).await;
    world.settle(&one, 0, 3).await;
    let mut budgets = world.counters.budgets().await.unwrap();
    budgets.sort_by_key(|(account, _)| account.scope.clone());
    let accounts = [account_of(&budget_of("t", Period::total())), account_of(&budget_of("u", day(0)))];
    assert_eq!(budgets, accounts.map(|account| (account, Money::nanos(3))));
}
