//! Celery's wire contract, pure: no I/O, no async, no clock.
//!
//! Everything that crosses a broker is a [`message::Message`]: properties, a typed header table
//! and body bytes. The other modules turn one into what it means and back:
//!
//! * [`task`] — task messages (protocol 2, and protocol 1 and the hybrid form for reading);
//! * [`canvas`] — workflows: what a signature, or the end of a task, has sent;
//! * [`routing`] — which queue a task goes to by its name;
//! * [`result`] — the meta object a worker answers with;
//! * [`redis`] — keys, envelopes and Lua texts of the Redis transport and backend;
//! * [`control`] — remote control: requests to all workers and their answers;
//! * [`events`] — what workers tell monitors;
//! * [`topology`] — the queues and exchanges as Celery declares them.
//!
//! What is written equals what Celery 5.7 writes for the same call: header order and AMQP type
//! tags, properties, and the bytes of the JSON body. What is read may be anything; it is bounded
//! by [`limits::Limits`] and bad input is a typed error that still knows whom to answer.

pub mod body;
pub mod canvas;
pub mod clock;
pub mod compression;
pub mod control;
pub mod delayed;
pub mod events;
pub mod exception;
pub mod json;
pub mod limits;
pub mod message;
pub mod python;
pub mod redis;
pub mod result;
pub mod routing;
pub mod task;
pub mod time;
pub mod topology;
pub mod value;

pub use body::BodyError;
pub use clock::LamportClock;
pub use exception::ExceptionInfo;
pub use limits::Limits;
pub use message::{Message, Properties};
pub use result::{ResultMeta, State};
pub use routing::{RouteWish, Routes};
pub use task::{DecodeError, Rejection, Signature, TaskBuilder, TaskHeaders, TaskIdentity, TaskRequest};
pub use time::WireTime;
pub use value::{FieldTable, FieldValue};

/// The examples of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
