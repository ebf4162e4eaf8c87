//! A broker that is not there.

use std::fs;

use system_tests::{Fleet, Keys, WORKERS, clients};
use testkit::servers::PrivateRabbitMq;

use crate::{files, logged, quick};

#[test]
fn a_broker_that_is_down_at_start_is_waited_for_and_delays_only_what_needs_it() {
    let mut rabbit = PrivateRabbitMq::start();
    let mut fleet = Fleet::lay_out(rabbit.vhost(), Keys::Ed25519, &quick(&[]));
    rabbit.stop();
    for worker in WORKERS {
        fleet.start_worker(worker);
    }
    fleet.post_drop("one", &files([("file", "x")]));
    // The roles need nobody to tell them to begin.
    system_tests::eventually("the first timestamp", || fs::metadata(fleet.metadata().join("timestamp.json")).ok());
    for worker in WORKERS {
        let line = logged(&fleet, worker, "\"finding\":\"amqp://");
        assert!(
            line.contains("\"warn\"") && line.contains(":***@") && line.contains("start it, or correct broker_url"),
            "{line}"
        );
    }
    rabbit.start_again();
    fleet.published("one");
    fleet.wait_ready();
    assert_eq!(clients::our_client(&fleet), files([("file", "x")]));
    drop(fleet);
}
