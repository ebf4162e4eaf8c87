//! The rules of every broker and every result backend, and of workers on every broker, as tests.
//!
//! [`conformance!`]`(fixture)` and [`backend_conformance!`]`(fixture)` make one test per rule; `fixture` is an async function
//! without arguments that returns a [`Fixture`] or a [`BackendFixture`]. A rule is an async function of [`brokers`],
//! [`broadcasts`], [`workers`], [`waiting`], [`ending`], [`workflows`], [`retries`], [`limits`], [`control`] or [`backends`] that
//! takes the fixture; its name states the rule, and it panics if the rule does not hold.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests: their names state the rules, and their assertions the expectations"
)]

pub mod backends;
pub mod broadcasts;
pub mod brokers;
pub mod control;
pub mod ending;
pub mod limits;
pub mod retries;
pub mod running_worker;
pub mod waiting;
pub mod workers;
pub mod workflows;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::{Message, TaskRequest};
use celery_runtime::{
    backend::SharedBackend,
    broker::{Broker, Consumer, Delivery, Publish},
};
use serde_json::{Map, Value};

/// How long a required event may take.
pub const SOON: Duration = Duration::from_secs(30);
/// How long to watch for an event that must not happen.
pub const A_WHILE: Duration = Duration::from_millis(250);

/// A broker under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A new connection to it.
    async fn connect(&self) -> Arc<dyn Broker>;
    /// Breaks every connection for a moment. Returns when they are broken.
    async fn cut(&self);
    /// Whether unacknowledged deliveries belong to their connection, so that a cut requeues them; otherwise they outlive it.
    fn connections_hold_deliveries(&self) -> bool {
        true
    }
    /// Whether the broker drops expired messages; otherwise the worker refuses them.
    fn drops_the_expired(&self) -> bool {
        true
    }
}

/// A result backend under test.
#[async_trait]
pub trait BackendFixture: Send + Sync {
    /// A new connection to it, as of another process: results stored through one are visible to all.
    async fn connect(&self) -> SharedBackend;
    /// Whether results are kept, so that later callers find them; otherwise they are messages to waiting callers.
    fn keeps_results(&self) -> bool {
        true
    }
}

/// Asserts that a queue has no messages, ready or unacknowledged: a new consumer gets nothing.
pub async fn assert_empty(broker: &Arc<dyn Broker>, queue: &str) {
    let mut consumer = broker.consume(&queue.into(), 10).await.unwrap();
    let got = tokio::time::timeout(A_WHILE, consumer.next()).await;
    assert!(got.is_err(), "the queue is not empty: {got:?}");
}

/// The next delivery, which must come.
pub async fn next(consumer: &mut Box<dyn Consumer>) -> Delivery {
    tokio::time::timeout(SOON, consumer.next()).await.expect("nothing was delivered").expect("the consumer ended")
}

pub fn task(name: &str, id: &str, args: Vec<Value>) -> Message {
    TaskRequest::builder(name, id).args(args).build().to_message().unwrap()
}

pub fn to(queue: &str, id: &str) -> Publish {
    Publish::task(queue, task("t", id, vec![]))
}

pub fn id_of(delivery: &Delivery) -> String {
    delivery.message.properties.correlation_id.clone().unwrap()
}

pub fn no_kwargs() -> Map<String, Value> {
    Map::new()
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SOON;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Logs to standard error if `RUST_LOG` is set.
pub fn logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        use tracing_subscriber::{filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};
        let filter: Targets = std::env::var("RUST_LOG").ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let _ = tracing_subscriber::registry().with(lines).with(filter).try_init();
    });
}

/// Makes a test of each rule for brokers, and for workers and clients on them. The argument is an async function that returns
/// a [`Fixture`]; each test calls it once. Needs `tokio` with its test macro.
#[macro_export]
macro_rules! conformance {
    ($fixture:path) => {
        $crate::conformance!(@ $fixture, brokers:
            a_task_arrives_with_everything_it_had,
            a_task_for_a_queue_that_does_not_exist_is_an_error,
            a_reply_without_a_waiting_caller_is_no_error,
            unacknowledged_messages_are_delivered_again,
            prefetch_bounds_unacknowledged_deliveries,
            a_cut_makes_old_deliveries_stale_and_brings_them_again,
            prefetch_holds_after_a_cut,
            a_rejected_message_comes_back_only_if_asked,
            an_expired_message_is_not_delivered,
            a_cancelled_consumer_takes_nothing_more_and_may_still_acknowledge,
            an_open_delivery_is_not_acknowledged_with_its_neighbours,
            prefetched_messages_of_a_cancelled_consumer_go_to_others,
            a_queue_bound_to_a_further_exchange_says_where_a_task_came_from,
            a_delivery_is_settled_once,
            many_publishers_each_learn_their_own_outcome,
            next_may_be_dropped_without_losing_a_delivery,
            a_closed_broker_says_so,
        );
        $crate::conformance!(@ $fixture, broadcasts:
            a_control_request_reaches_every_worker,
            an_answer_reaches_the_client_that_asked,
            events_reach_listeners_with_a_matching_pattern,
            a_broadcast_without_listeners_is_no_error,
            a_listener_that_is_gone_gets_nothing,
            a_subscription_listens_again_after_a_cut,
        );
        $crate::conformance!(@ $fixture, control:
            every_worker_answers_and_a_named_one_ends_the_wait,
            a_worker_shows_its_tasks,
            a_command_that_changes_a_worker_is_refused_unless_allowed,
            a_worker_that_allows_changes_is_controlled,
            a_busy_worker_answers,
            a_request_through_another_exchange_is_ignored,
            a_worker_sends_online_heartbeat_and_offline_events,
            a_starting_worker_learns_the_revoked_tasks,
        );
        $crate::conformance!(@ $fixture, workers:
            a_call_returns_the_result,
            a_failure_arrives_typed,
            an_unknown_task_fails_as_not_registered,
            wrong_arguments_are_a_type_error,
            pickle_and_garbage_are_refused_with_a_result,
            a_panic_is_a_failure_and_the_worker_lives,
            an_expired_task_is_not_run,
            a_chord_is_refused_before_it_runs_where_results_are_messages,
            progress_is_reported_before_the_result,
            a_dead_reply_queue_stops_nothing,
            an_ignored_result_is_not_sent,
            a_call_without_an_answer_times_out,
        );
        $crate::conformance!(@ $fixture, waiting:
            fast_tasks_do_not_wait_behind_exclusive_ones,
            exclusive_tasks_run_one_at_a_time_in_order,
            a_task_waits_for_its_eta_without_blocking_others,
            a_task_with_a_distant_eta_does_not_block_a_full_queue,
            a_held_task_is_not_doubled_by_a_lost_connection,
        );
        $crate::conformance!(@ $fixture, ending:
            a_task_that_ignores_its_soft_limit_can_be_terminated,
            a_stamp_terminates_only_stamped_tasks,
            a_cut_in_the_middle_of_a_task_loses_nothing,
            a_warm_shutdown_finishes_running_tasks_and_requeues_the_rest,
            a_task_that_outlives_the_grace_period_is_cancelled_and_redelivered,
        );
        $crate::conformance!(@ $fixture, workflows:
            a_chain_passes_its_results_on_to_the_caller,
            callbacks_and_errbacks_are_sent_and_are_children,
            a_group_runs_concurrently_and_its_results_are_in_order,
            a_chain_that_ends_in_a_group_is_unrolled,
            a_failure_in_a_chain_becomes_the_result_of_its_end,
            a_chain_whose_next_queue_is_missing_fails_and_is_not_lost,
            a_step_without_a_queue_follows_the_routes,
            stamps_and_lineage_are_inherited,
            a_compressed_task_is_read,
        );
        $crate::conformance!(@ $fixture, retries:
            a_task_is_tried_again_until_it_succeeds,
            after_the_last_try_the_caller_gets_the_exception_itself,
            follow_up_tasks_are_sent_after_the_last_try,
            a_retry_that_expires_is_revoked,
            an_ignored_task_is_acknowledged_without_a_result,
            a_rejected_task_returns_only_with_requeue,
        );
        $crate::conformance!(@ $fixture, limits:
            a_hard_time_limit_is_a_failure,
            a_soft_time_limit_asks_the_task_to_stop,
            a_revoked_task_is_not_run,
            a_terminated_task_is_cancelled_and_ends,
            a_rate_limit_spreads_tasks_and_blocks_no_others,
            started_is_reported_and_results_may_be_extended,
            an_unwanted_result_is_not_stored_and_its_chain_continues,
            queues_and_prefetch_change_while_it_runs,
            a_cold_shutdown_requeues_running_tasks,
            events_report_each_step_of_a_task,
        );
    };
    (@ $fixture:path, $module:ident: $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::logs();
                let fixture = $fixture().await;
                $crate::$module::$test(&fixture).await;
            }
        )*
    };
}

/// Makes a test of each rule for result backends. The argument is an async function that returns a [`BackendFixture`]; each
/// test calls it once. Needs `tokio` with its test macro.
#[macro_export]
macro_rules! backend_conformance {
    ($fixture:path) => {
        $crate::conformance!(@ $fixture, backends:
            a_result_reaches_its_caller_and_no_other,
            intermediate_states_are_seen_before_the_final_one,
            the_first_success_stands,
            an_existing_result_is_found,
            an_unwanted_result_is_no_error,
            a_chord_is_ready_once_in_order_despite_duplicates,
            one_of_many_concurrent_finishers_publishes_a_chord,
            a_member_that_failed_makes_the_chord_an_error,
        );
    };
}

/// The example of the README, compiled as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
