//! What the whole-system tests in `tests/` share: a fleet of separate worker processes over a real RabbitMQ, drops made
//! with the tools a pipeline has, and the clients that judge the outcome.
//!
//! Everything here panics with what it found: a test that cannot go on has failed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test helpers: they arrange and look at files as others would, and a failure is a failed test"
)]

mod binaries;
pub mod celery;
mod choices;
pub mod clients;
mod drops;
mod fleet;
pub mod guide;
mod returning;
mod wait;
mod watch;

pub use binaries::binary;
pub use choices::Choices;
pub use drops::Files;
pub use fleet::{Fleet, Keys, MONITOR, SNAPSHOT, TARGETS, TIMESTAMP, WORKERS};
pub use returning::Returning;
pub use wait::{eventually, eventually_ok};
pub use watch::Watch;
