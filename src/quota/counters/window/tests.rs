use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::millis(millis)
}

/// What the window must be: a list of every charge with its time.
#[derive(Default)]
struct Log(Vec<(i64, Amount)>);

impl Log {
    /// The sum of charges in the 60 s that end now.
    fn last_minute(&self, now: i64) -> Amount {
        self.0.iter().filter(|(time, _)| *time > now - WINDOW).map(|(_, amount)| amount).sum()
    }
}

fn admit(window: &mut SlidingWindow, now: i64, amount: Amount, limit: Amount) -> bool {
    window.advance(at(now));
    let (spent, held) = window.standing();
    let fits = spent + held + amount <= limit;
    if fits {
        window.charge(at(now), amount, true);
    }
    fits
}

/// A step: time that passes, tokens asked for, and what share of them (in percent, past 100 too) is used once it is
/// settled, some steps later.
fn steps() -> impl Strategy<Value = Vec<(i64, Amount, Amount, usize)>> {
    let pause = prop_oneof![3 => 0..3_000i64, 1 => 3_000..70_000i64, 1 => Just(BUCKET), 1 => Just(WINDOW)];
    vec((pause, 1..60i64, 0..150i64, 0..6usize), 1..80)
}

proptest! {
    #[test]
    fn no_interval_of_a_minute_admits_more_than_the_limit(steps in steps(), limit in 20..120i64, start in 0..5_000i64) {
        let (mut window, mut log, mut now) = (SlidingWindow::default(), Log::default(), start);
        let mut open: Vec<(usize, i64, Amount, Amount, usize)> = Vec::new();
        for (at_step, (pause, amount, percent, later)) in steps.into_iter().enumerate() {
            now += pause;
            window.advance(at(now));
            let (due, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(when, ..)| *when <= at_step);
            open = rest;
            for (_, charged_at, held, used, entry) in due {
                window.settle(at(now), at(charged_at), held, used);
                // A surplus returns to where it was charged; an excess is new.
                log.0[entry].1 = held.min(used);
                if used > held {
                    log.0.push((now, used - held));
                }
            }
            let (spent, held) = window.standing();
            prop_assert!(spent >= 0 && held >= 0);
            prop_assert!(spent + held >= log.last_minute(now), "the window may never hold less than was charged");
            prop_assert!(window.buckets.len() <= 13);
            prop_assert_eq!(window.buckets.iter().map(|bucket| bucket.sum).sum::<Amount>(), window.sum);
            prop_assert_eq!(window.buckets.iter().map(|bucket| bucket.held).sum::<Amount>(), window.held);
            if admit(&mut window, now, amount, limit) {
                prop_assert!(log.last_minute(now) + amount <= limit);
                log.0.push((now, amount));
                open.push((at_step + 1 + later, now, amount, amount * percent / 100, log.0.len() - 1));
            } else {
                prop_assert!(spent + held + amount > limit);
            }
        }
    }

    #[test]
    fn nothing_is_kept_longer_than_its_bucket(steps in steps(), start in 0..5_000i64) {
        let (mut window, mut log, mut now) = (SlidingWindow::default(), Log::default(), start);
        for (pause, amount, ..) in steps {
            now += pause;
            window.advance(at(now));
            let (spent, held) = window.standing();
            prop_assert!(spent + held <= log.0.iter().filter(|(time, _)| *time > now - WINDOW - BUCKET).map(|(_, a)| a).sum());
            window.charge(at(now), amount, false);
            log.0.push((now, amount));
        }
    }

    #[test]
    fn a_burst_of_the_whole_limit_passes(amounts in vec(1..50i64, 1..20), start in 0..100_000i64) {
        let mut window = SlidingWindow::default();
        let limit = amounts.iter().sum();
        for amount in amounts {
            prop_assert!(admit(&mut window, start, amount, limit));
        }
        prop_assert!(!admit(&mut window, start, 1, limit));
    }

    #[test]
    fn a_lone_caller_who_waits_as_told_gets_in_and_not_a_moment_sooner(
        steps in steps(), limit in 60..120i64, amount in 1..60i64,
    ) {
        let (mut window, mut now) = (SlidingWindow::default(), 0);
        for (pause, amount, percent, _) in steps {
            now += pause;
            if admit(&mut window, now, amount, limit) {
                window.settle(at(now), at(now), amount, amount * percent / 100);
            }
        }
        window.advance(at(now));
        let wait = window.wait(at(now), amount, limit).unwrap().as_millis() as i64;
        prop_assert!(wait <= WINDOW);
        if wait > 0 {
            prop_assert!(!admit(&mut window.clone(), now + wait - 1, amount, limit));
        }
        prop_assert!(admit(&mut window, now + wait, amount, limit));
    }

    #[test]
    fn after_the_reset_the_window_is_empty_and_not_a_moment_sooner(steps in steps()) {
        let (mut window, mut now) = (SlidingWindow::default(), 0);
        for (pause, amount, ..) in steps {
            now += pause;
            window.advance(at(now));
            window.charge(at(now), amount, false);
        }
        let reset = window.reset(at(now)).as_millis() as i64;
        window.advance(at(now + reset - 1));
        prop_assert!(!window.is_empty());
        window.advance(at(now + reset));
        prop_assert!(window.is_empty());
        prop_assert_eq!(window.standing(), (0, 0));
    }
}

#[test]
fn a_surplus_returns_only_while_its_bucket_is_live() {
    for (settled_at, left) in [(59_999, 4), (60_000, 0)] {
        let mut window = SlidingWindow::default();
        window.charge(at(0), 10, true);
        window.advance(at(settled_at));
        window.settle(at(settled_at), at(0), 10, 4);
        assert_eq!(window.standing(), (left, 0), "at {settled_at}");
    }
}

#[test]
fn an_excess_is_charged_when_it_becomes_known() {
    let mut window = SlidingWindow::default();
    window.charge(at(0), 10, true);
    window.advance(at(30_000));
    window.settle(at(30_000), at(0), 10, 15);
    assert_eq!(window.standing(), (15, 0));
    window.advance(at(60_000));
    assert_eq!(window.standing(), (5, 0));
}

#[test]
fn what_is_larger_than_the_limit_never_fits() {
    assert_eq!(SlidingWindow::default().wait(at(0), 11, 10), None);
    assert_eq!(SlidingWindow::default().wait(at(0), 10, 10), Some(Duration::ZERO));
}

#[test]
fn absurd_amounts_do_no_harm() {
    let mut window = SlidingWindow::default();
    window.charge(at(0), Amount::MAX, true);
    window.settle(at(1), at(0), Amount::MAX, Amount::MIN);
    window.charge(at(2), Amount::MAX, false);
    window.settle(at(3), at(2), 0, Amount::MAX);
    window.advance(at(i64::MAX));
    assert!(window.is_empty());
}
