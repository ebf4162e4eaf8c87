//! Servers and interpreters for tests: a private RabbitMQ and Redis, a network that tests can break, the Python peers, guarded
//! child processes.
//!
//! These helpers panic when a server is missing, with the next step in the message: a test that cannot run has failed.
//! `scripts/test.sh` installs and starts the servers. Single tests started by hand find them too.

mod http;
mod paths;
mod process;
mod proxy;
mod python;
mod rabbitmq;
mod redis;
mod supervisor;

pub use paths::workspace;
pub use process::{Finished, Process};
pub use proxy::Proxy;
pub use python::{Environment, Python};
pub use rabbitmq::{PrivateRabbitMq, RabbitMq, VHost};
pub use redis::PrivateRedis;
