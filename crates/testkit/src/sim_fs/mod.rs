//! A simulated file system that stops, loses unsynced data, and repeats operations.
//!
//! [`SimFs`] is an [`Fs`](durable_fs::Fs) in memory. It keeps the state that a program sees apart from the state that would
//! survive a power cut. A test runs its work once to count the operations, then once for each of them with
//! [`SimFs::stop_at`], reduces the state with [`SimFs::crash`], starts its program again and checks.
//!
//! These survive: the bytes of a file at its last [`sync`](durable_fs::WriteFile::sync), and the changes of names up to the
//! last [`sync_dir`](durable_fs::Fs::sync_dir) of a directory that they touch. A rename between directories is one change,
//! kept or lost whole. Changes of *different* names may survive in any order; changes of one name survive in their order.
//! [`sync_all`](durable_fs::Fs::sync_all) keeps everything.

mod crash;
mod handles;
mod machine;
mod node;
mod operations;
mod power_cut;
mod sim;
mod tree;
mod walk;

pub use crash::CrashMode;
pub use power_cut::{POWER_CUT, is_power_cut};
pub use sim::SimFs;
