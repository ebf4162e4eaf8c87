//! For tests only: private servers, scratch repositories, a simulated file system that fails.

#[allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test helpers: a server that cannot be had fails the test that needs it, and its files are not ours to harden"
)]
pub mod servers;

#[allow(clippy::panic, clippy::disallowed_methods, reason = "test helpers")]
pub mod certificates;
pub mod exchange;
pub mod fs_conformance;
pub mod scratch;
pub mod sim_fs;
