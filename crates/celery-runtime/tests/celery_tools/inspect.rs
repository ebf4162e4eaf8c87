//! `celery status` and every `celery inspect`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use celery_runtime::client::SendOptions;
use serde_json::{Map, Value, json};

use crate::{
    compare::{Differences, assert_no_row_is_stale, assert_the_same, differences, neutral_value},
    lab::{Lab, OURS, SOON, Server, blocking, tools, words},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_of_our_worker_what_it_shows_of_a_python_worker() {
    inspect_shows_the_same(Lab::start(Server::rabbitmq().await, "threads", false).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inspect_shows_the_same_over_redis() {
    inspect_shows_the_same(Lab::start(Server::redis().await, "threads", false).await).await;
}

async fn inspect_shows_the_same(lab: Lab) {
    give_work(&lab).await;
    let commands = words(&[
        "active",
        "active_queues",
        "clock",
        "conf",
        "memdump",
        "memdump 5",
        "memsample",
        "objgraph",
        "ping",
        "query_task nope",
        "registered",
        "registered rate_limit",
        "report",
        "reserved",
        "revoked",
        "scheduled",
        "stats",
    ]);
    let compared: BTreeSet<String> = commands.iter().map(|command| command[0].clone()).collect();
    assert_eq!(BTreeSet::from_iter(lab.commands("inspect").await), compared, "not what celery inspect --list has");
    let mut found = Differences::new();
    for (command, python, ours) in lab.both("inspect", commands).await {
        let method = command.split(' ').next().unwrap();
        // The ids carry the queue's name.
        let [python, ours] = [python, ours].map(|value| neutral_value(&value, &lab.python_node));
        differences(method, &python, &ours, &lab.python_node, &mut found);
        if method == "conf" {
            for url in ["broker_url", "result_backend"] {
                // Ours does not even say that there is a password where there is no user.
                let of_python = python[url].as_str().unwrap().replace("//:********@", "//");
                assert_eq!(ours[url].as_str(), Some(of_python.as_str()));
            }
        }
    }
    assert_the_same(&found);
    assert_no_row_is_stale(&found, &["conf", "memdump", "objgraph", "report"]);
    tasks_are_found(&lab).await;
    both_are_online(&lab).await;
    // What runs would be waited for.
    lab.client.control().revoke(&["runs-ours".to_owned()], true).await.unwrap();
    lab.end().await;
}

/// Each has done one task, holds one for later and works on one; returns when both say so.
async fn give_work(lab: &Lab) {
    let options = |id: &str| SendOptions { task_id: Some(id.to_owned()), ..SendOptions::default() };
    for queue in ["pythons", "ours"] {
        let add = [("x".to_owned(), json!(1)), ("y".to_owned(), json!(2))];
        assert_eq!(lab.client.call(queue, "lab.add", Map::from_iter(add), SOON).await.unwrap(), 3);
        let send = |id: String, task: &'static str, args: Vec<Value>, countdown: Option<u64>| {
            let options = SendOptions { countdown: countdown.map(Duration::from_secs), ..options(&id) };
            lab.client.send(queue, task, args, Map::new(), options)
        };
        send(format!("later-{queue}"), "lab.add", vec![json!(1), json!(2)], Some(3600)).await.unwrap();
        send(format!("runs-{queue}"), "lab.sleep", vec![json!(600)], None).await.unwrap();
    }
    let until = Instant::now() + SOON;
    loop {
        let both = lab.client.control().to(lab.nodes()).timeout(SOON);
        let active = both.inspect("active").await.unwrap();
        let scheduled = both.inspect("scheduled").await.unwrap();
        let all = active.iter().chain(&scheduled);
        if all.filter(|reply| reply.value.as_array().is_some_and(|tasks| tasks.len() == 1)).count() == 4 {
            break;
        }
        assert!(Instant::now() < until, "not all tasks were taken: {active:?} {scheduled:?}");
    }
}

async fn tasks_are_found(lab: &Lab) {
    let broker = lab.server.broker_url();
    let queried = blocking(move || {
        let query =
            ["inspect", "-j", "-t", "5", "query_task", "later-pythons", "later-ours", "runs-pythons", "runs-ours"];
        tools(&broker, &[query.to_vec()]).remove(0)
    })
    .await;
    let queried: Value = serde_json::from_str(queried["output"].as_str().unwrap()).unwrap();
    let mut found = Differences::new();
    for (task, place) in [("later", "scheduled"), ("runs", "active")] {
        let of = |node: &str, queue: &str| neutral_value(&queried[node][format!("{task}-{queue}")], &lab.python_node);
        let (python, ours) = (of(&lab.python_node, "pythons"), of(OURS, "ours"));
        assert_eq!((&python[0], &ours[0]), (&json!(place), &json!(place)), "{queried}");
        // It is shown as `active` shows it.
        let at = if place == "active" { "active" } else { "query_task" };
        differences(at, &python, &ours, &lab.python_node, &mut found);
    }
    assert_the_same(&found);
}

async fn both_are_online(lab: &Lab) {
    let broker = lab.server.broker_url();
    let answers = blocking(move || tools(&broker, &[vec!["status", "-t", "5"], vec!["status", "-j", "-t", "5"]])).await;
    let text = answers[0]["output"].as_str().unwrap();
    for node in lab.nodes() {
        assert!(text.contains(&format!("{node}: OK")), "{text}");
    }
    assert!(text.contains("2 nodes online"), "{text}");
    let json_line = answers[1]["output"].as_str().unwrap().lines().next().unwrap();
    let pong = json!({"ok": "pong"});
    let online: Value = serde_json::from_str(json_line).unwrap();
    assert_eq!(online, json!({lab.python_node.as_str(): pong, OURS: pong}));
}
