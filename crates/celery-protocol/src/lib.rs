//! Celery's wire contract: types and codecs, without I/O, async or a clock.
//!
//! Everything that crosses a broker is a [`message::Message`]: properties, a typed header table
//! and body bytes. The other modules decode and encode it:
//!
//! * [`task`] — task messages (protocol 2; protocol 1 and the hybrid form only for reading);
//! * [`canvas`] — workflows: the messages that a signature, or the end of a task, sends;
//! * [`routing`] — the queue of a task, by its name;
//! * [`result`] — the meta object with which a worker answers;
//! * [`redis`] — keys, envelopes and Lua texts of the Redis transport and backend;
//! * [`control`] — remote control: requests to all workers and their answers;
//! * [`events`] — the events that workers send to monitors;
//! * [`topology`] — the queues and exchanges as Celery declares them.
//!
//! Written messages equal those of Celery 5.7 for the same call: header order and AMQP type tags,
//! properties, and the bytes of the JSON body. Input may be anything: [`limits::Limits`] bound it,
//! and bad input is a typed error that still knows the caller to answer.

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
