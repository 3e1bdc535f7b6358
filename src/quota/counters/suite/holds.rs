//! The life of a hold: what each message does, whatever it finds.

use std::time::Duration;

use super::world::*;
use crate::domain::{Kind, Money, Progress, RecordStatus};
use crate::quota::counters::{Books, CountersError, HoldState, Settled, Terms, Verdict};

fn full(number: u8) -> Make {
    hold(number).requests(100).tokens(40, 1_000).in_flight(100).spend(50, 1_000)
}

async fn all(world: &World) -> [(i64, i64); 4] {
    let mut standings = [(0, 0); 4];
    for (standing, kind) in standings.iter_mut().zip([Kind::Requests, Kind::Tokens, Kind::InFlight, Kind::Spend]) {
        *standing = world.read(&counter("t", kind)).await;
    }
    standings
}

pub(crate) async fn settlement_replaces_what_was_held_by_what_was_used(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    assert_eq!(all(&world).await, [(1, 0), (0, 40), (0, 1), (0, 50)]);
    assert_eq!(world.start(&one).await, HoldState::Held);
    assert_eq!(world.start(&one).await, HoldState::Started);
    assert_eq!(world.counters.holds().await.unwrap(), (0, 1));
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Applied);
    assert_eq!(all(&world).await, [(1, 0), (25, 0), (0, 0), (30, 0)]);
    assert_eq!(world.booked(), [(RecordStatus::Usage, 0, 30)]);
    assert_eq!(world.books.started.lock().len(), usize::from(world.journals));
    assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
}

pub(crate) async fn a_settlement_above_the_limit_is_charged_in_full(world: World) {
    let one = hold(1).tokens(40, 50).spend(50, 60).done();
    world.admitted(&one).await;
    world.settle(&one, 90, 200).await;
    assert_eq!(world.read(&counter("t", Kind::Tokens)).await, (90, 0));
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (200, 0));
    assert_eq!(world.refused(&hold(2).spend(1, 60).done()).await.spent, 200);
}

pub(crate) async fn a_settlement_counts_once(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Applied, "the start was lost");
    let before = all(&world).await;
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Duplicate);
    let again = record(&one, 25, 30, world.now());
    assert_eq!(world.counters.settle(&one, 25, again, true).await.unwrap(), Settled::Duplicate);
    assert_eq!(all(&world).await, before);
    assert_eq!(world.booked().len(), 1);
}

pub(crate) async fn a_start_after_the_settlement_changes_nothing(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    world.settle(&one, 25, 30).await;
    assert_eq!(world.start(&one).await, HoldState::Settled);
    assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Settled);
    world.counters.renew(&[(one.clone(), Progress::default())]).await.unwrap();
    world.pass(100 * SECOND);
    assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
    assert_eq!(world.booked().len(), 1);
    assert!(world.books.started.lock().is_empty() && world.books.progressed.lock().is_empty());
}

pub(crate) async fn a_released_hold_gives_back_everything(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Held);
    assert_eq!(all(&world).await, [(0, 0); 4]);
    assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Released);
    assert_eq!(world.counters.release(full(2).done().id).await.unwrap(), HoldState::Absent);
    assert!(world.booked().is_empty());
}

pub(crate) async fn a_started_hold_is_never_released(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    world.start(&one).await;
    assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Started);
    assert_eq!(all(&world).await, [(1, 0), (0, 40), (0, 1), (0, 50)]);
}

pub(crate) async fn a_request_that_ran_though_it_was_released_is_booked(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    world.counters.release(one.id).await.unwrap();
    assert_eq!(world.start(&one).await, HoldState::Released);
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Applied);
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Duplicate);
    assert_eq!(all(&world).await, [(1, 0), (25, 0), (0, 0), (30, 0)]);
    assert_eq!(world.booked(), [(RecordStatus::Usage, 0, 30)]);
}

pub(crate) async fn a_hold_nobody_starts_returns_while_the_meter_is_alive(world: World) {
    let (one, other) = (full(1).done(), full(2).done());
    world.admitted(&one).await;
    world.admitted(&other).await;
    world.start(&other).await;
    world.pass(30 * SECOND - 1);
    assert_eq!(all(&world).await, [(2, 0), (0, 80), (0, 2), (0, 100)]);
    world.pass(1);
    assert_eq!(all(&world).await, [(1, 0), (0, 40), (0, 1), (0, 50)]);
    assert!(world.booked().is_empty());
    assert!(!world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    // It ran after all, and was only slow: everything is booked now.
    assert_eq!(world.start(&one).await, HoldState::Expired);
    assert_eq!(world.settle(&one, 25, 30).await, Settled::Applied);
    assert_eq!(all(&world).await, [(2, 0), (25, 40), (0, 1), (30, 50)]);
    assert_eq!(world.booked(), [(RecordStatus::Usage, 0, 30)]);
}

pub(crate) async fn a_hold_nobody_starts_is_booked_where_the_meter_is_dead(world: World) {
    let one = full(1).done();
    // A start on another gateway, and one too long ago, prove nothing.
    world.counters.start(&full(8).done(), OTHER_GATEWAY, Progress::default()).await.unwrap();
    world.counters.start(&full(9).done(), GATEWAY, Progress::default()).await.unwrap();
    world.pass(1);
    world.admitted(&one).await;
    assert!(!world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    world.pass(30 * SECOND);
    assert_eq!(all(&world).await, [(1, 0), (40, 0), (0, 0), (7, 0)]);
    assert_eq!(world.booked(), [(RecordStatus::Unmetered, 0, 7)]);
    assert!(world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    assert!(!world.counters.meter_is_dead(OTHER_GATEWAY, world.now()).await.unwrap());
    assert!(world.books.knows(one.id).await.unwrap());
    let unmetered = world.books.records.lock()[0].clone();
    assert!(unmetered.estimated);
    assert_eq!((unmetered.usage.input_tokens, unmetered.usage.output_tokens), (3, 4));
    assert_eq!(unmetered.accounts, one.binding.accounts);
}

pub(crate) async fn a_dead_meter_refuses_all_but_a_probe_every_five_seconds(world: World) {
    world.admitted(&full(1).done()).await;
    world.pass(30 * SECOND);
    world.admitted(&full(2).done()).await;
    let in_five = Verdict::MeterDead { retry_after: Duration::from_secs(5) };
    assert_eq!(world.admit(&full(3).done()).await, in_five);
    assert_eq!(world.admit(&hold(3).tokens(1, 10).done()).await, in_five);
    world.admitted(&hold(4).requests(100).in_flight(100).done()).await;
    assert!(matches!(world.admit_from(&full(5).done(), OTHER_GATEWAY).await, Verdict::Admitted { .. }));
    let lenient = Terms { gateway: GATEWAY, meter_required: false };
    let verdict = world.counters.admit(full(6).done(), lenient).await.unwrap();
    assert!(matches!(verdict, Verdict::Admitted { .. }));
    world.pass(5 * SECOND);
    world.admitted(&full(7).done()).await;
    assert_eq!(world.admit(&full(3).done()).await, in_five);
    // A probe is no free ride.
    world.pass(25 * SECOND);
    assert!(world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    assert_eq!(world.booked().iter().filter(|(status, ..)| *status == RecordStatus::Unmetered).count(), 5);
    world.start(&full(7).done()).await;
    assert!(!world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    world.admitted(&full(3).done()).await;
    world.admitted(&full(8).done()).await;
}

pub(crate) async fn a_started_hold_that_falls_silent_is_booked_as_last_reported(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    world.pass(10 * SECOND);
    world.start(&one).await;
    world.pass(40 * SECOND);
    let progress = Progress { input_tokens: 10, output_tokens: 20, cost: Money::nanos(33) };
    world.counters.renew(&[(one.clone(), progress)]).await.unwrap();
    world.pass(45 * SECOND - 1);
    assert_eq!(world.counters.holds().await.unwrap(), (0, 1));
    world.pass(1);
    assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
    assert_eq!(world.booked(), [(RecordStatus::Unsettled, 0, 33)]);
    assert_eq!(all(&world).await, [(0, 0), (0, 0), (0, 0), (33, 0)]);
    assert_eq!(world.counters.release(one.id).await.unwrap(), HoldState::Expired);
}

pub(crate) async fn a_late_settlement_books_the_difference(world: World) {
    // Each: whether it started, then what its correction must be.
    for (number, start, status, difference, tokens) in
        [(1, true, RecordStatus::Unsettled, 12, 25 - 9), (2, false, RecordStatus::Unmetered, 23, 0)]
    {
        let one = full(number).done();
        world.admitted(&one).await;
        if start {
            let progress = Progress { input_tokens: 4, output_tokens: 5, cost: Money::nanos(18) };
            world.counters.start(&one, GATEWAY, progress).await.unwrap();
        }
        world.pass(70 * SECOND);
        let (before, held) = world.read(&counter("t", Kind::Tokens)).await;
        assert_eq!(held, 0);
        assert_eq!(world.settle(&one, 25, 30).await, Settled::Corrected);
        assert_eq!(world.settle(&one, 25, 30).await, Settled::Duplicate);
        let booked = world.booked();
        let (first, correction) = (booked[booked.len() - 2], booked[booked.len() - 1]);
        assert_eq!(first, (status, 0, 30 - difference));
        assert_eq!(correction, (RecordStatus::Usage, 1, difference));
        assert_eq!(world.read(&counter("t", Kind::Tokens)).await, (before + tokens, 0));
        world.pass(70 * SECOND);
    }
    let total: i64 = world.booked().iter().map(|(_, _, cost)| cost).sum();
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (total, 0));
    assert_eq!(total, 60);
}

pub(crate) async fn renewals_keep_a_hold_and_stand_for_a_lost_start(world: World) {
    let (one, absent) = (full(1).done(), full(2).done());
    world.admitted(&one).await;
    for _ in 0..20 {
        world.pass(15 * SECOND);
        world
            .counters
            .renew(&[(absent.clone(), Progress::default()), (one.clone(), Progress::default())])
            .await
            .unwrap();
        assert_eq!(world.counters.holds().await.unwrap(), (0, 1));
    }
    if world.journals {
        assert_eq!(world.books.started.lock().as_slice(), [one.id]);
        assert_eq!(world.books.progressed.lock().len(), 20, "only what is known is noted");
    }
    assert!(world.booked().is_empty());
}

pub(crate) async fn use_reported_out_of_order_only_grows(world: World) {
    let one = full(1).done();
    world.admitted(&one).await;
    let report = |output_tokens, cost| Progress { input_tokens: 1, output_tokens, cost: Money::nanos(cost) };
    world.counters.renew(&[(one.clone(), report(20, 21))]).await.unwrap();
    world.counters.renew(&[(one.clone(), report(10, 11))]).await.unwrap();
    world.counters.start(&one, GATEWAY, Progress::default()).await.unwrap();
    world.pass(45 * SECOND);
    assert_eq!(all(&world).await, [(1, 0), (21, 0), (0, 0), (21, 0)]);
}

pub(crate) async fn what_is_forgotten_is_settled_only_when_the_ledger_does_not_know_it(world: World) {
    world.admitted(&full(1).done()).await;
    let lost = full(2).done();
    assert_eq!(world.settle(&lost, 50, 30).await, Settled::Forgotten);
    assert!(world.booked().is_empty());
    let late = record(&lost, 50, 30, world.now());
    assert_eq!(world.counters.settle(&lost, 50, late.clone(), true).await.unwrap(), Settled::Applied);
    assert_eq!(world.counters.settle(&lost, 50, late, true).await.unwrap(), Settled::Duplicate);
    assert_eq!(all(&world).await, [(1, 0), (10, 40), (0, 1), (30, 50)], "an excess over what was held is charged");
    let one = full(1).done();
    world.settle(&one, 1, 1).await;
    world.pass(600 * SECOND - 1);
    assert_eq!(world.settle(&one, 1, 1).await, Settled::Duplicate);
    world.pass(1);
    assert_eq!(world.settle(&one, 1, 1).await, Settled::Forgotten, "after ten minutes");
}

pub(crate) async fn a_clock_that_goes_back_stands_still(world: World) {
    world.pass(3_600 * SECOND);
    let one = hold(1).requests(1).in_flight(9).done();
    world.admitted(&one).await;
    world.pass(-3_600 * SECOND);
    let refusal = world.refused(&hold(2).requests(1).done()).await;
    assert_eq!(refusal.retry_after, Duration::from_secs(60));
    assert!(!world.counters.meter_is_dead(GATEWAY, world.now()).await.unwrap());
    assert_eq!(world.counters.holds().await.unwrap(), (1, 0));
    world.pass(3_600 * SECOND + 60 * SECOND);
    world.admitted(&hold(2).requests(1).done()).await;
    assert_eq!(world.counters.holds().await.unwrap(), (1, 0));
}

pub(crate) async fn too_many_open_holds_are_refused(world: World) {
    let make = |number| hold(0).numbered(number).requests(1_000_000).done();
    for number in 0..world.max_holds as u32 {
        world.admitted(&make(number)).await;
    }
    let terms = Terms { gateway: GATEWAY, meter_required: true };
    let full = world.counters.admit(make(1_000_000), terms).await;
    assert!(matches!(full, Err(CountersError::Full(open)) if open == world.max_holds));
    world.admitted(&make(0)).await;
    world.counters.release(make(0).id).await.unwrap();
    world.admitted(&make(1_000_000)).await;
}
