//! Every `celery control`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    compare::{Differences, assert_no_row_is_stale, assert_the_same, differences},
    lab::{Lab, SOON, Server, blocking, tools, words},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_does_to_our_worker_what_it_does_to_a_python_worker() {
    control_does_the_same(Lab::start(Server::rabbitmq().await, "prefork", false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_does_the_same_over_redis() {
    control_does_the_same(Lab::start(Server::redis().await, "prefork", false).await).await;
}

async fn control_does_the_same(lab: Lab) {
    let commands = words(&[
        "enable_events",
        "enable_events",
        "disable_events",
        "disable_events",
        "heartbeat",
        "election",
        "rate_limit lab.add 10/m",
        "rate_limit lab.echo 100",
        "rate_limit lab.fail 0.5/s",
        "rate_limit lab.typed 7/h",
        "rate_limit lab.nope 10/m",
        "rate_limit lab.add ten/m",
        "rate_limit lab.add 10/x",
        "time_limit lab.add 60 120",
        "time_limit lab.nope 60 120",
        "autoscale 4 1",
        "add_consumer extra",
        "cancel_consumer extra",
        "add_consumer more more direct more",
        "revoke some-id",
        "terminate SIGTERM other-id",
        "revoke_by_stamped_headers customer=7",
        "revoke_by_stamped_headers customer=7 customer=8 season=late",
        "pool_grow",
        "pool_grow 2",
        "pool_shrink",
        "pool_restart",
    ]);
    let mut compared: BTreeSet<String> = commands.iter().map(|command| command[0].clone()).collect();
    // The last thing that is asked.
    compared.insert("shutdown".to_owned());
    assert_eq!(BTreeSet::from_iter(lab.commands("control").await), compared, "not what celery control --list has");
    let mut found = Differences::new();
    for (command, python, ours) in lab.both("control", commands).await {
        differences(&command, &python, &ours, &lab.python_node, &mut found);
    }
    // What was done is seen.
    let inspected = lab.both("inspect", words(&["registered", "revoked", "active_queues", "stats"])).await;
    for (command, python, ours) in &inspected {
        differences(command, python, ours, &lab.python_node, &mut found);
    }
    assert_the_same(&found);
    assert_no_row_is_stale(&found, &["election"]);
    let [_, _, (_, python, ours), _] = inspected.as_slice() else { panic!("{inspected:?}") };
    assert_eq!((queues(python), queues(ours)), (names(&["more", "pythons"]), names(&["more", "ours"])));
    both_shut_down(lab).await;
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn queues(active: &Value) -> BTreeSet<String> {
    active.as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect()
}

async fn both_shut_down(lab: Lab) {
    let (broker, both) = (lab.server.broker_url(), lab.nodes().join(","));
    let asked = blocking(move || tools(&broker, &[vec!["control", "-t", "1", "-d", &both, "shutdown"]])).await;
    // Neither answers, so that the tool says that nobody did.
    assert_eq!(asked[0]["exit"], 69, "{asked:?}");
    lab.ours.ended().await;
    let python = lab.python;
    let _ = blocking(move || python.wait(SOON)).await.success();
}
