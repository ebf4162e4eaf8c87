//! Queues full of tasks that others sent: the fleet's own work does not wait behind them.

use std::time::Duration;

use celery_protocol::task::Signature;
use celery_runtime::broker::{ConnectOptions, connect};
use celery_runtime::client::{Client, SendOptions};
use serde_json::{Map, json};
use system_tests::{Fleet, Keys, WORKERS, clients};
use testkit::servers::{PrivateRedis, RabbitMq};

use crate::{files, quick};

/// Tasks for later in the queue of each worker: more than any prefetch.
const FOR_LATER: usize = 500;
/// Tasks that follow one task.
const FOLLOW_UPS: usize = 2_000;

/// Fills the queue of each worker with tasks for the next hour, and sends each one that many tasks follow.
fn flood(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(connect(url, ConnectOptions::default()).await.unwrap()).await.unwrap();
        let later = SendOptions { countdown: Some(Duration::from_secs(3_600)), ..SendOptions::default() };
        for worker in WORKERS {
            for _ in 0..FOR_LATER {
                let _ = client.send(worker, "ping", vec![], Map::new(), later.clone()).await.unwrap();
            }
            let follow_up = Signature::new("ping", vec![]).with_option("queue", worker);
            let followed = SendOptions { link: vec![follow_up; FOLLOW_UPS], ..SendOptions::default() };
            let _ = client.send(worker, "ping", vec![], Map::new(), followed).await.unwrap();
        }
    });
}

fn releases_pass_a_flood(fleet: Fleet, url: &str) {
    flood(url);
    fleet.post_drop("during", &files([("during", "a release")]));
    fleet.published("during");
    assert_eq!(clients::our_client(&fleet), files([("during", "a release")]));
    for worker in WORKERS {
        let log = fleet.log_of(worker);
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn tasks_for_later_and_thousands_of_follow_ups_on_rabbitmq_delay_no_release() {
    let fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &quick(&[]));
    let url = fleet.vhost().amqp_url.clone();
    releases_pass_a_flood(fleet, &url);
}

#[test]
fn tasks_for_later_and_thousands_of_follow_ups_on_redis_delay_no_release() {
    let redis = PrivateRedis::start();
    let url = redis.url(0);
    let fleet = Fleet::start(RabbitMq::shared().vhost(), Keys::Ed25519, &quick(&[("broker_url", json!(url))]));
    releases_pass_a_flood(fleet, &url);
}
