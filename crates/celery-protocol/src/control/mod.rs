//! Remote control: requests to all workers, what they mean, and the answers.
//!
//! A [`ControlRequest`] travels through the fanout exchange `celery.pidbox`; a worker it [is for](ControlRequest::is_for)
//! reads its [`Command`] and answers with a [`ControlReply`], if it was asked to. Commands have typed arguments; reply values
//! are the JSON shapes Celery 5.7 answers with, built by [`values`].

mod command;
mod matcher;
mod rate;
mod reply;
mod request;
pub mod values;

pub use command::{Command, CommandError, METHODS, Revocation};
pub use rate::{RateLimit, RateLimitError};
pub use reply::{ControlReply, error, ok};
pub use request::{ControlError, ControlRequest, ReplyTo};

use crate::limits::Limits;

/// Bounds on control messages: larger than the largest a worker sends, a `hello` with the 50 000 revoked ids it may keep.
pub const LIMITS: Limits = Limits { body_bytes: 4 * 1024 * 1024, depth: 32, values: 200_000 };
