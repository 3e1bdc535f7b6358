//! Waiting for room: nobody waits for what has come already, and nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use super::world::*;
use crate::domain::{Kind, Progress};
use crate::quota::counters::{Settled, Verdict};

/// Longer than any test; whoever waits this long was not woken.
const LONG: Duration = Duration::from_secs(20);

pub(crate) async fn a_release_between_the_refusal_and_the_wait_is_not_missed(world: World) {
    let slot = counter("t", Kind::InFlight);
    world.admitted(&hold(1).in_flight(1).done()).await;
    let refusal = world.refused(&hold(2).in_flight(1).done()).await;
    assert!(refusal.may_be_released);
    world.settle(&hold(1).in_flight(1).done(), 0, 0).await;
    assert!(world.counters.wait_for_room(&slot, refusal.epoch, LONG).await);
    world.admitted(&hold(2).in_flight(1).done()).await;
}

pub(crate) async fn a_waiter_is_woken_by_release_settlement_and_expiry(world: World) {
    let slot = counter("t", Kind::InFlight);
    for how in 0..3u8 {
        let one = hold(how).in_flight(1).done();
        world.admitted(&one).await;
        let refusal = world.refused(&hold(9).in_flight(1).done()).await;
        let waits: Vec<_> = (0..3)
            .map(|_| {
                let (counters, slot) = (world.counters.clone(), slot.clone());
                tokio::spawn(async move { counters.wait_for_room(&slot, refusal.epoch, LONG).await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        match how {
            0 => assert_eq!(world.settle(&one, 0, 0).await, Settled::Applied),
            1 => drop(world.counters.release(one.id).await.unwrap()),
            _ => {
                world.pass(31 * SECOND);
                world.counters.holds().await.unwrap();
            }
        }
        for wait in waits {
            assert!(wait.await.unwrap(), "way {how}");
        }
    }
}

pub(crate) async fn a_release_elsewhere_wakes_nobody(world: World) {
    let elsewhere = hold(2).on(counter("u", Kind::InFlight), 1, 1).done();
    world.admitted(&hold(1).in_flight(1).done()).await;
    world.admitted(&elsewhere).await;
    let refusal = world.refused(&hold(3).in_flight(1).done()).await;
    world.settle(&elsewhere, 0, 0).await;
    let slot = counter("t", Kind::InFlight);
    assert!(!world.counters.wait_for_room(&slot, refusal.epoch, Duration::from_millis(1)).await);
}

pub(crate) async fn patience_ends(world: World) {
    let one = hold(1).in_flight(1).done();
    world.admitted(&one).await;
    let refusal = world.refused(&hold(2).in_flight(1).done()).await;
    let slot = counter("t", Kind::InFlight);
    assert!(!world.counters.wait_for_room(&slot, refusal.epoch, Duration::ZERO).await);
    world.settle(&one, 0, 0).await;
    assert!(world.counters.wait_for_room(&slot, refusal.epoch, Duration::ZERO).await);
}

pub(crate) async fn no_more_wait_than_may(world: World) {
    let slot = counter("t", Kind::InFlight);
    world.admitted(&hold(1).in_flight(1).done()).await;
    let epoch = world.refused(&hold(2).in_flight(1).done()).await.epoch;
    let wait = || {
        let (counters, slot) = (world.counters.clone(), slot.clone());
        tokio::spawn(async move { counters.wait_for_room(&slot, epoch, LONG).await })
    };
    let waits: Vec<_> = (0..world.max_waiting).map(|_| wait()).collect();
    tokio::task::yield_now().await;
    assert!(!world.counters.wait_for_room(&slot, epoch, LONG).await, "answered at once");
    // One who gives up makes room for another.
    waits[0].abort();
    while !waits[0].is_finished() {
        tokio::task::yield_now().await;
    }
    let last = wait();
    tokio::task::yield_now().await;
    assert!(!last.is_finished());
    world.counters.release(hold(1).done().id).await.unwrap();
    assert!(last.await.unwrap());
}

pub(crate) async fn a_sequential_client_with_one_slot_always_gets_in(world: World) {
    let world = Arc::new(world);
    for number in 0..1_000 {
        let one = hold(0).numbered(number).in_flight(1).done();
        loop {
            match world.admit(&one).await {
                Verdict::Admitted { .. } => break,
                Verdict::Refused(refusal) => {
                    let counter = one.charge(refusal.charge).unwrap().counter;
                    assert!(refusal.may_be_released);
                    assert!(world.counters.wait_for_room(counter, refusal.epoch, LONG).await);
                }
                other => panic!("{other:?}"),
            }
        }
        // The settlement is on its way while the next call is asked for.
        let world = world.clone();
        tokio::spawn(async move {
            world.counters.start(&one, GATEWAY, Progress::default()).await.unwrap();
            tokio::task::yield_now().await;
            world.settle(&one, 0, 0).await;
        });
    }
}
