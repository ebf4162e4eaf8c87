//! Remote control: requests to workers, their commands, and the answers.
//!
//! A [`ControlRequest`] travels through the fanout exchange `celery.pidbox`. A worker it [is for](ControlRequest::is_for)
//! reads its [`Command`] and answers with a [`ControlReply`], if the request asks for one. Commands have typed arguments; reply values
//! are JSON as in Celery 5.7, built by [`values`].

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

/// The limits of control messages: above the largest that a worker sends, a `hello` with up to 50 000 revoked ids.
pub const LIMITS: Limits = Limits { body_bytes: 4 * 1024 * 1024, depth: 32, values: 200_000 };
