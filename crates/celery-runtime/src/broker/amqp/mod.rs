//! RabbitMQ over AMQP 0-9-1.
//!
//! `lapin` moves the frames; its automatic recovery is off. A supervisor task owns the connection and opens a new one when it
//! is lost. Publishers use the present connection, or wait for the next. Each consumer has a driver task with a channel of its
//! own, and starts again on a new channel whenever the old one ends. Every such start is a new generation: a delivery knows its
//! own, and is never acknowledged on another.

mod acks;
mod amqp_broker;
mod connection;
mod consumer;
mod convert;
mod driver;
mod guard;
#[cfg(any(test, fuzzing))]
pub(crate) mod guard_fuzz;
mod link;
mod lock;
mod publisher;
mod source;
mod topology;
mod transport;

pub use amqp_broker::AmqpBroker;
