//! Servers and interpreters that tests need: a private RabbitMQ and Redis, a network to break, the Python peers, guarded child
//! processes.
//!
//! Everything here panics with a message that says what to do when a server cannot be had: a test that cannot run has
//! failed. `scripts/test.sh` installs and starts what is needed; single tests started by hand find it as well.

mod http;
mod process;
mod proxy;
mod python;
mod rabbitmq;
mod redis;
mod supervisor;

pub use process::{Finished, Process};
pub use proxy::Proxy;
pub use python::{Environment, Python};
pub use rabbitmq::{PrivateRabbitMq, RabbitMq, VHost};
pub use redis::PrivateRedis;

use std::path::{Path, PathBuf};

/// The root of the checkout this was built from.
#[must_use]
pub fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here)
}

/// Where private servers keep their files: `TUF_FLEET_TEST_SERVERS`, else `target/test-servers` of the checkout.
fn servers_dir() -> PathBuf {
    let dir = std::env::var_os("TUF_FLEET_TEST_SERVERS")
        .map_or_else(|| workspace().join("target/test-servers"), PathBuf::from);
    if let Err(e) = std::fs::create_dir_all(&dir) {
        panic!("cannot create {}: {e}", dir.display());
    }
    dir
}
