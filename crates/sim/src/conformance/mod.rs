//! The store contract as tests: what every store must do, whichever it is.
//!
//! A store passes when `adjutant_sim::conformance!(make)` passes, where `make` returns a fresh [`World`]. The cases need no
//! runtime. They are tests, so they unwrap.
#![allow(clippy::unwrap_used)]

pub mod answers;
pub mod approvals;
pub mod devices;
pub mod feed;
pub mod line;
pub mod memories;
pub mod money;
pub mod needs;
pub mod nodes;
pub mod owners;
pub mod runs;
pub mod seats;
pub mod threads;
pub mod workers;
mod world;

pub use futures::executor::block_on;
pub use world::World;

/// One `#[test]` per case. `$make` is a function without arguments that returns a [`World`].
#[macro_export]
macro_rules! conformance {
    ($make:path) => {
        $crate::conformance! { @all @each $make; }
    };
    (list $make:path) => {
        $crate::conformance! { @all @list $make; }
    };
    (@all @$what:ident $make:path;) => {
        $crate::conformance! { @$what $make;
            runs:
                an_accepted_run_is_queued_and_said
                a_key_that_was_seen_is_the_same_run
                a_queue_has_a_bound
                a_patient_offer_gets_the_run_that_comes
                a_withdrawn_offer_takes_nothing
                a_session_has_one_active_run
                a_claim_carries_the_whole_log_and_the_next_fence
                an_older_fence_writes_nothing
                a_lease_that_lapses_gives_the_run_to_the_next
                an_extended_lease_holds
                a_parked_run_rests_until_its_time
                a_signal_wakes_a_parked_run
                a_signal_that_nobody_heard_ends_the_rest_at_once
                signals_are_heard_once_per_claim_until_they_are_written
                a_signal_comes_with_the_entry_that_parks
                words_go_to_the_run_that_waits_for_them
                a_run_that_is_over_takes_nothing
                claims_of_the_dead_are_released_at_once
                runs_are_found_by_name_and_listed
                many_claimers_never_share_a_run_or_a_seat;
            line:
                claims_follow_priority_then_age
                a_rest_that_is_over_does_not_go_before_priority
                an_offer_takes_as_many_runs_as_it_has_slots
                who_asks_again_gets_what_comes_next;
            needs:
                a_run_that_needs_something_is_for_who_offers_it
                a_look_that_found_nothing_hides_nothing_from_another
                a_session_keeps_its_order_whatever_its_runs_need
                nobody_else_takes_over_what_needs_something
                nobody_else_wakes_what_needs_something
                a_run_is_not_handed_over_to_who_does_not_offer_what_it_needs;
            money:
                a_reservation_over_a_cap_writes_nothing
                many_reservations_at_once_never_pass_a_cap
                settled_money_moves_from_held_to_used
                a_run_that_ends_holds_no_money
                a_bucket_empties_and_refills;
            approvals:
                the_first_answer_wins_and_reaches_the_run
                an_expired_question_takes_no_answer
                questions_lapse_with_their_run
                an_answer_in_the_log_is_in_the_row
                grants_are_kept_listed_and_revoked;
            threads:
                positions_are_gapless_and_waiting_messages_come_last
                a_page_of_messages_ends_before_a_position
                a_run_sees_what_came_since_a_position
                compacted_messages_are_hidden_not_lost
                messages_are_found_by_their_words
                a_forgotten_thread_leaves_no_words
                threads_are_listed_and_renamed;
            seats:
                a_session_is_made_once
                a_reset_gives_a_new_thread_and_keeps_the_old
                a_busy_session_is_neither_reset_nor_deleted
                settings_of_a_session_change_one_by_one
                sessions_are_listed_by_last_use;
            memories:
                recall_follows_scope
                expired_facts_are_not_recalled
                a_fact_with_the_same_key_is_replaced
                forgotten_facts_are_gone;
            feed:
                cursors_rise_and_nothing_is_missed
                the_feed_tells_the_life_of_a_run;
            answers:
                an_answer_is_remembered_for_its_key_and_body
                the_audit_chain_grows_in_order
                agents_change_only_from_the_revision_that_was_seen
                tools_are_what_was_announced_last
                a_store_in_use_verifies;
            workers:
                workers_are_seen
                a_worker_hears_that_it_is_to_drain
                what_a_worker_left_is_claimable_at_once
                a_run_that_is_handed_over_waits_for_its_worker_first
                a_move_is_heard_without_waking_and_until_it_is_done;
            devices:
                a_request_is_filed_once_and_approved_once
                another_wish_takes_the_place_of_the_first
                a_source_and_all_sources_have_their_bounds
                a_request_lapses_by_time_and_by_wrong_codes
                tokens_are_replaced_and_revoked
                a_setup_code_works_once
                what_is_decided_is_written_down
                a_second_owner_has_other_devices;
            nodes:
                a_key_is_one_request_and_keeps_its_answer
                an_answer_counts_once_and_from_the_right_node
                what_waits_is_given_out_again
                a_mailbox_has_its_bounds
                what_a_node_offers_is_approved;
            owners:
                a_second_owner_sees_nothing
                a_second_owner_changes_nothing;
        }
    };
    (@list $make:path; $($module:ident: $($case:ident)+;)+) => {
        vec![$($(
            (
                concat!(stringify!($module), "::", stringify!($case)),
                (|| $crate::conformance::block_on($crate::conformance::$module::$case(&$make()))) as fn(),
            ),
        )+)+]
    };
    (@each $make:path; $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                $crate::conformance::block_on($crate::conformance::$module::$case(&$make()));
            }
        )+)+
    };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::World;
    use crate::{MemoryStore, SimBus, SimClock, SimEntropy};

    fn world() -> World {
        let clock = SimClock::new();
        let store = MemoryStore::new(
            Arc::clone(&clock) as _,
            Arc::new(SimEntropy::new(1)),
            SimBus::reliable(),
        );
        World::new(Arc::new(store), clock, ())
    }

    crate::conformance!(world);
}
