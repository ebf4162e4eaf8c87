//! A network between a worker and its broker that breaks in the ways networks break. No task is lost, consuming resumes by
//! itself, and what a worker takes at once stays bounded. How long it takes to resume is measured by the benchmarks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs, reason = "tests")]

mod scene;

use std::{sync::Arc, time::Duration};

use scene::{NODE, PREFETCH, Scene, Server, eventually};

/// The one workers have by default; longer than the short partitions.
const PATIENT: Duration = Duration::from_secs(20);
/// Small, so that a partition longer than this is soon over.
const IMPATIENT: Duration = Duration::from_secs(2);

/// How many tasks there are before the network breaks, and how many come meanwhile.
const BEFORE: usize = 60;
const AFTER: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Connections are reset, and refused until it is over.
    Cut(Duration),
    /// Nothing passes; over before anybody gives the connection up.
    Held(Duration),
    /// Nothing passes, until both ends have given the connection up.
    HeldUntilGivenUp,
    /// Both ends of the old connection go on believing in it, until they have asked it for long enough.
    Stranded,
    /// Everything is slow, all the time.
    Slow(Duration),
}

/// Breaks the network in the middle of work; more comes meanwhile, and what runs ends meanwhile.
async fn survives(server: Server, heartbeat: Duration, broken: Broken) {
    let prefetch = usize::from(PREFETCH);
    let mut scene = Scene::open(server, heartbeat).await;
    if let Broken::Slow(each_way) = broken {
        scene.proxy.delay(each_way);
    }
    scene.send(BEFORE).await;
    scene.gate.add_permits(20);
    scene.started(20 + prefetch).await;
    let (generation, connections) = (scene.state.borrow().generation, scene.connections().await);
    match broken {
        Broken::Cut(_) => scene.proxy.cut(),
        Broken::Held(_) | Broken::HeldUntilGivenUp => scene.proxy.hold(),
        Broken::Stranded => scene.proxy.strand(),
        Broken::Slow(_) => {}
    }
    // What ends now can be told to nobody.
    scene.gate.add_permits(prefetch / 2);
    scene.send(AFTER).await;
    match broken {
        // How long a partition lasts, not how long something takes.
        Broken::Cut(length) | Broken::Held(length) => tokio::time::sleep(length).await,
        Broken::HeldUntilGivenUp | Broken::Stranded => {
            scene.noticed(generation).await;
            scene.given_up(&connections).await;
        }
        Broken::Slow(_) => {}
    }
    if !matches!(broken, Broken::Slow(_)) {
        scene.proxy.heal();
    }
    if matches!(broken, Broken::Cut(_) | Broken::HeldUntilGivenUp | Broken::Stranded) {
        scene.reconnected(generation).await;
    }
    // New work is taken up.
    scene.gate.add_permits(prefetch);
    scene.started(20 + prefetch + prefetch / 2).await;
    scene.prefetch_is_bounded(BEFORE as u64).await;
    let again = scene.finish().await;
    eprintln!("{broken:?}: {again} tasks ran more than once");
    if matches!(broken, Broken::Held(_) | Broken::Slow(_)) {
        assert_eq!(again, 0, "the connection was never lost");
    }
}

macro_rules! on_both {
    ($($name:ident: $heartbeat:expr, $broken:expr;)*) => {
        mod rabbitmq {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    survives(Server::rabbitmq().await, $heartbeat, $broken).await;
                }
            )*
        }
        mod redis {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    survives(Server::redis().await, $heartbeat, $broken).await;
                }
            )*
        }
    };
}

on_both! {
    a_cut_of_a_second_loses_nothing: PATIENT, Broken::Cut(Duration::from_secs(1));
    a_silence_of_a_second_loses_nothing_and_runs_nothing_twice: PATIENT, Broken::Held(Duration::from_secs(1));
    a_silence_longer_than_the_heartbeat_loses_nothing: IMPATIENT, Broken::HeldUntilGivenUp;
    a_connection_that_is_half_open_is_given_up_and_nothing_is_lost: IMPATIENT, Broken::Stranded;
    a_slow_network_is_only_slow: PATIENT, Broken::Slow(Duration::from_millis(50));
}

/// An idle worker asks for what comes. What it asked for before a silence may be handed out after it, to nobody.
async fn idle_in_a_silence(server: Server) {
    let mut scene = Scene::open(server, IMPATIENT).await;
    scene.gate.add_permits(1);
    scene.send(1).await;
    scene.started(1).await;
    let (generation, connections) = (scene.state.borrow().generation, scene.connections().await);
    scene.proxy.hold();
    scene.send(40).await;
    scene.noticed(generation).await;
    scene.given_up(&connections).await;
    scene.proxy.heal();
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_connection_asked_for_is_not_kept_from_the_next_on_rabbitmq() {
    idle_in_a_silence(Server::rabbitmq().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_connection_asked_for_is_not_kept_from_the_next_on_redis() {
    idle_in_a_silence(Server::redis().await).await;
}

/// What was written to a connection may arrive long after that was given up, because the network sends it again. On Redis it
/// may be a request for messages, whose answer nobody hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_arrives_late_keeps_nothing_from_anybody() {
    let mut scene = Scene::open(Server::redis().await, IMPATIENT).await;
    scene.gate.add_permits(1);
    scene.send(1).await;
    scene.started(1).await;
    let generation = scene.state.borrow().generation;
    // An idle worker asks all the time.
    scene.proxy.strand();
    scene.reconnected(generation).await;
    scene.send(AFTER).await;
    scene.started(1 + usize::from(PREFETCH)).await;
    assert!(scene.proxy.old_connections() > 0);
    scene.proxy.heal();
    eventually("the late requests were carried out", || async { scene.proxy.old_connections() == 0 }).await;
    // Not only when what a worker took and lost is looked for, which is after minutes.
    scene.prefetch_is_bounded(0).await;
    scene.finish().await;
}

/// Acknowledgements, results and requests are cut off at any moment.
async fn cut_again_and_again(server: Server) {
    let mut scene = Scene::open(server, PATIENT).await;
    scene.gate.add_permits(10_000);
    for cut in 1..=8 {
        scene.send(20).await;
        scene.started(20 * cut).await;
        let generation = scene.state.borrow().generation;
        scene.proxy.cut();
        scene.send(1).await;
        scene.noticed(generation).await;
        scene.proxy.heal();
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_again_and_again_keeps_no_task_waiting_on_rabbitmq() {
    cut_again_and_again(Server::rabbitmq().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_cut_again_and_again_keeps_no_task_waiting_on_redis() {
    cut_again_and_again(Server::redis().await).await;
}

/// The network is cut just as a task is acknowledged, and the worker is told to end just as the next one is: it does end, and
/// waits for nobody who will not answer.
async fn ends_in_order(server: Server) {
    let server = Arc::new(server);
    // The moment is hit once in a hundred times or so.
    for _ in 0..30 {
        let mut scene = Scene::open_on(&server, PATIENT).await;
        scene.gate.add_permits(100);
        scene.send(1).await;
        scene.started(1).await;
        let generation = scene.state.borrow().generation;
        scene.proxy.cut();
        scene.send(1).await;
        scene.noticed(generation).await;
        scene.proxy.heal();
        scene.started(2).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_network_is_cut_as_it_acknowledges_ends_in_order_on_rabbitmq() {
    ends_in_order(Server::rabbitmq().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_network_is_cut_as_it_acknowledges_ends_in_order_on_redis() {
    ends_in_order(Server::redis().await).await;
}

/// The mailbox of a node belongs to its connection alone, and RabbitMQ may believe in one whose host is gone for as long as
/// its heartbeat takes (405 RESOURCE_LOCKED for everybody else). The next worker of that name works all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_locked_by_a_dead_connection_keeps_nobody_from_working() {
    let mut scene = Scene::open(Server::rabbitmq().await, Duration::from_secs(600)).await;
    eventually("the worker answers", || async { scene.answering().await == [NODE] }).await;
    scene.proxy.strand();
    scene.replace_worker().await;
    scene.gate.add_permits(100);
    scene.send(100).await;
    // A few are in the dead connection's hands.
    scene.started(100 - usize::from(PREFETCH)).await;
    assert_eq!(scene.answering().await, [""; 0], "the mailbox is another connection's");
    assert!(scene.proxy.old_connections() > 0);
    // The broker learns that the old connection has ended.
    scene.proxy.heal();
    eventually("the new worker answers", || async { scene.answering().await == [NODE] }).await;
    scene.finish().await;
}

/// Half a minute is longer than the default heartbeat, and shorter than the time after which RabbitMQ gives a connection up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_of_any_kind_loses_nothing() {
    // The same, and shorter, in the ordinary run.
    let long = std::env::var_os("TUF_FLEET_TEST_LONG").is_some_and(|long| long == "1");
    let length = Duration::from_secs(if long { 30 } else { 3 });
    let (cut, held) = (Broken::Cut(length), Broken::Held(length));
    tokio::join!(
        survives(Server::rabbitmq().await, PATIENT, cut),
        survives(Server::redis().await, PATIENT, cut),
        survives(Server::rabbitmq().await, PATIENT, held),
        // Redis is asked more often, so that half a minute is more than it is believed.
        survives(Server::redis().await, PATIENT, if long { Broken::HeldUntilGivenUp } else { held }),
    );
}
