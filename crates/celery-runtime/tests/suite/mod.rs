//! What every broker must do, and what a worker must do on every broker.
//!
//! `conformance!(fixture)` makes one test per rule; `fixture` is an async function that returns a [`Fixture`].

pub mod brokers;
pub mod workers;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use async_trait::async_trait;
use celery_protocol::{Message, TaskRequest};
use celery_runtime::broker::{Broker, Consumer, Delivery, Publish};
use serde_json::{Map, Value};

/// How long anything that has to happen may take.
pub const SOON: Duration = Duration::from_secs(30);
/// How long to look whether something happens that must not.
pub const A_WHILE: Duration = Duration::from_millis(250);

/// A broker under test.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// A new connection to it.
    async fn connect(&self) -> Arc<dyn Broker>;
    /// Breaks every connection for a moment; returns when they are broken.
    async fn cut(&self);
}

/// Messages ready in a queue and messages unacknowledged are all gone: a new consumer gets nothing.
pub async fn assert_empty(broker: &Arc<dyn Broker>, queue: &str) {
    let mut consumer = broker.consume(&queue.into(), 10).await.unwrap();
    let got = tokio::time::timeout(A_WHILE, consumer.next()).await;
    assert!(got.is_err(), "still there: {got:?}");
}

/// The next delivery, which has to come.
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
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    });
}

#[macro_export]
macro_rules! conformance {
    ($fixture:path) => {
        conformance!(@ $fixture, brokers:
            a_task_arrives_with_everything_it_had,
            a_task_for_a_queue_that_does_not_exist_is_an_error,
            a_reply_nobody_waits_for_is_no_error,
            what_was_not_acknowledged_is_delivered_again,
            prefetch_bounds_what_is_unacknowledged,
            a_cut_makes_old_deliveries_stale_and_brings_them_again,
            prefetch_holds_after_a_cut,
            a_rejected_message_comes_back_only_if_asked,
            an_expired_message_is_not_delivered,
            a_cancelled_consumer_takes_nothing_more_and_may_still_acknowledge,
            a_queue_bound_to_a_further_exchange_says_where_a_task_came_from,
            a_delivery_is_settled_once,
            many_publishers_each_learn_their_own_outcome,
            next_may_be_dropped_without_losing_a_delivery,
            a_closed_broker_says_so,
        );
        conformance!(@ $fixture, workers:
            a_call_returns_the_result,
            a_failure_arrives_typed,
            an_unknown_task_is_told,
            wrong_arguments_are_a_type_error,
            pickle_and_garbage_are_refused_with_a_result,
            a_panic_is_a_failure_and_the_worker_lives,
            an_expired_task_is_not_run,
            a_task_with_follow_ups_is_refused_unrun,
            progress_is_seen_on_the_way,
            fast_tasks_do_not_wait_behind_exclusive_ones,
            exclusive_tasks_run_one_at_a_time_in_order,
            a_task_waits_for_its_eta_without_blocking_others,
            a_dead_reply_queue_stops_nothing,
            an_ignored_result_is_not_sent,
            a_cut_in_the_middle_of_a_task_loses_nothing,
            a_warm_shutdown_finishes_what_runs_and_gives_back_the_rest,
            what_outlives_the_grace_period_is_cancelled_and_delivered_again,
            a_call_nobody_answers_times_out,
        );
    };
    (@ $fixture:path, $module:ident: $($test:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::suite::logs();
                let fixture = $fixture().await;
                $crate::suite::$module::$test(&fixture).await;
            }
        )*
    };
}
