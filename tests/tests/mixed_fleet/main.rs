//! A Python and a Rust worker on one queue, while workers and brokers are killed: every task runs at least once, and every
//! result is there. With `TUF_FLEET_TEST_LONG` set there are ten thousand tasks.
//!
//! Results are kept by a Redis that is not killed, so that a result that was there once is there in the end. What the Python
//! worker is told so that it loses nothing is explained where it is made. One loss of Celery's no setting prevents: on Redis
//! a message it has asked for is lost if Redis or the worker is killed before it has noted it. So the Python worker, and Redis,
//! are killed while it holds a task, and asks for none. The Rust worker, and RabbitMQ, are killed at any time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod lab;

use std::time::Duration;

use lab::{Broker, Lab};
use system_tests::Choices;

/// What is killed while tasks are sent and run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Python,
    Rust,
    Broker,
    Everything,
}

const EVENTS: [Event; 4] = [Event::Python, Event::Rust, Event::Broker, Event::Everything];

fn happens(event: Event, lab: &mut Lab, choices: &mut Choices) {
    let python_is_lost = |lab: &Lab| matches!(lab.broker, Broker::Redis(_));
    // In the middle of whatever is under way.
    let moment = Duration::from_millis(choices.below(200));
    match event {
        Event::Python => {
            let held = lab.caught_by("python");
            lab.kill_python();
            lab.release(&held);
            lab.start_python();
        }
        Event::Rust if choices.of(&[true, false]) => {
            let held = lab.caught_by("rust");
            lab.kill_rust();
            lab.release(&held);
            lab.start_rust();
        }
        Event::Rust => {
            std::thread::sleep(moment);
            lab.kill_rust();
            lab.start_rust();
        }
        Event::Broker => {
            let held = lab.caught_by("python");
            std::thread::sleep(moment);
            lab.broker.kill();
            // After a loss of Redis it may stay alive and consume nothing, which is Celery's.
            let again = python_is_lost(lab);
            if again {
                lab.kill_python();
            }
            lab.release(&held);
            lab.broker.start_again();
            if again {
                lab.start_python();
            }
        }
        Event::Everything => {
            let held = [lab.caught_by("python"), lab.caught_by("rust")];
            std::thread::sleep(moment);
            lab.kill_rust();
            lab.broker.kill();
            lab.kill_python();
            held.iter().for_each(|id| lab.release(id));
            lab.broker.start_again();
            lab.start_rust();
            lab.start_python();
        }
    }
}

fn loses_nothing(broker: Broker) {
    let long = std::env::var_os("TUF_FLEET_TEST_LONG").is_some_and(|long| long == "1");
    let (tasks, rounds) = if long { (10_000, 20) } else { (400, 4) };
    let mut choices = Choices::new();
    let mut lab = Lab::open(broker);
    for round in 0..rounds {
        let sending = lab.send(tasks / rounds);
        let event = EVENTS[usize::try_from(round).unwrap() % EVENTS.len()];
        eprintln!("round {round}: {event:?}");
        happens(event, &mut lab, &mut choices);
        lab.wait_for(sending);
    }
    lab.finish();
}

#[test]
fn a_mixed_fleet_on_rabbitmq_loses_nothing_while_everything_is_killed() {
    loses_nothing(Broker::rabbitmq());
}

#[test]
fn a_mixed_fleet_on_redis_loses_nothing_while_everything_is_killed() {
    loses_nothing(Broker::redis());
}
