//! Every feature of a Celery estate, between unmodified Celery of three versions and ours, over both transports.
//!
//! The modules below are the cells, the tests in them groups of features; a test that fails names the features. The ordinary
//! suite runs each transport and each version at least once, `TUF_FLEET_TEST_LONG` all cells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod calls;
mod chords;
mod lab;
mod ours;
mod report;
mod workflows;

use lab::{Celery, Cell, Transport};

macro_rules! cells {
    ($($name:ident: $transport:ident, $celery:ident, $sizes:ident;)*) => { $(
        mod $name {
            use super::*;

            const CELL: Cell = Cell { transport: Transport::$transport, celery: Celery::$celery };

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_python_client_gets_what_it_asked_of_our_worker() {
                if sizes::$sizes() {
                    calls::python_calls_ours(CELL).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn workflows_pass_through_python_and_rust_workers_whoever_sent_them() {
                if sizes::$sizes() {
                    workflows::both_ways(CELL).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_chord_counts_members_of_python_and_rust() {
                if sizes::$sizes() {
                    chords::mixed(CELL).await;
                }
            }
        }
    )* };
}

cells! {
    rabbitmq_celery_5_4: RabbitMq, V5_4, ordinary;
    rabbitmq_celery_5_6: RabbitMq, V5_6, long;
    rabbitmq_celery_5_7: RabbitMq, V5_7, ordinary;
    redis_celery_5_4: Redis, V5_4, long;
    redis_celery_5_6: Redis, V5_6, ordinary;
    redis_celery_5_7: Redis, V5_7, ordinary;
}

mod sizes {
    pub fn ordinary() -> bool {
        true
    }

    pub fn long() -> bool {
        std::env::var_os("TUF_FLEET_TEST_LONG").is_some()
    }
}
