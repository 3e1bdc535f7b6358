//! What every form of the counters must do, written once against the trait. A form runs it with
//! `counters_suite!(world)`, where `world` is a function that makes a fresh [`world::World`] of counters, books and a clock.

pub(crate) mod holds;
pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod patience;
pub(crate) mod world;

/// Expands to one test for each behaviour.
macro_rules! counters_suite {
    ($world:expr) => {
        counters_suite!(@ $world, limits: [
            a_refused_request_consumes_nothing,
            eleven_hundred_limits_are_judged_and_charged_as_one,
            a_second_admission_of_a_hold_charges_nothing,
            a_budget_that_is_not_loaded_is_never_zero,
            what_is_settled_while_a_budget_is_loaded_counts_once,
            a_sum_that_comes_second_changes_nothing,
            two_hundred_at_once_pass_a_budget_for_fifty_exactly_fifty_times,
            what_is_left_and_when_it_is_whole_again_are_exact,
            the_limit_that_refuses_longest_is_named,
            waiting_as_told_gets_a_caller_in,
            a_counter_named_twice_is_charged_once_and_checked_twice,
            another_period_than_the_clocks_is_sent_back,
            a_settlement_counts_in_the_period_of_its_admission,
            a_soft_limit_is_told_once_by_the_admission_that_finds_it_passed,
            a_soft_limit_passed_by_a_settlement_is_an_event,
            an_adjustment_moves_every_account_it_names,
            budgets_list_what_is_loaded,
        ]);
        counters_suite!(@ $world, holds: [
            settlement_replaces_what_was_held_by_what_was_used,
            a_settlement_above_the_limit_is_charged_in_full,
            a_settlement_counts_once,
            a_start_after_the_settlement_changes_nothing,
            a_released_hold_gives_back_everything,
            a_started_hold_is_never_released,
            a_request_that_ran_though_it_was_released_is_booked,
            a_hold_nobody_starts_returns_while_the_meter_is_alive,
            a_hold_nobody_starts_is_booked_where_the_meter_is_dead,
            a_dead_meter_refuses_all_but_a_probe_every_five_seconds,
            a_started_hold_that_falls_silent_is_booked_as_last_reported,
            a_late_settlement_books_the_difference,
            renewals_keep_a_hold_and_stand_for_a_lost_start,
            use_reported_out_of_order_only_grows,
            what_is_forgotten_is_settled_only_when_the_ledger_does_not_know_it,
            a_clock_that_goes_back_stands_still,
            too_many_open_holds_are_refused,
        ]);
        counters_suite!(@ $world, patience: [
            a_release_between_the_refusal_and_the_wait_is_not_missed,
            a_waiter_is_woken_by_release_settlement_and_expiry,
            a_release_elsewhere_wakes_nobody,
            patience_ends,
            no_more_wait_than_may,
            a_sequential_client_with_one_slot_always_gets_in,
        ]);
        #[test]
        fn any_interleaving_of_messages_does_what_the_table_says() {
            crate::quota::counters::suite::model::any_interleaving_does_what_the_table_says($world);
        }
    };
    (@ $world:expr, $part:ident: [$($behaviour:ident,)*]) => {
        $(#[tokio::test]
        async fn $behaviour() {
            crate::quota::counters::suite::$part::$behaviour($world()).await;
        })*
    };
}

pub(crate) use counters_suite;
