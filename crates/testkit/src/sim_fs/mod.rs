//! A simulated file system that stops, loses unsynced data, and repeats operations.
//!
//! [`SimFs`] is an [`Fs`](durable_fs::Fs) in memory. It keeps the state that a program sees apart from the state that would
//! survive a power cut. A test runs its work once to count the operations, then once for each of them with
//! [`SimFs::stop_at`], reduces the state with [`SimFs::crash`], starts its program again and checks.
//!
//! These survive: the bytes of a file at its last [`sync`](durable_fs::WriteFile::sync), and the changes of names up to the
//! last [`sync_dir`](durable_fs::Fs::sync_dir) of a directory that they touch. A rename between directories is one change,
//! kept or lost whole. Changes of *different* names may survive in any order; changes of one name survive in their order.
//! [`SyncPoint::sync`](durable_fs::SyncPoint::sync) keeps everything.
//!
//! Beside stops, errors and repeated operations, three faults of shared disks can be planned: bytes whose loss is
//! reported to another process only ([`SimFs::lose_unsynced_at`]), names that lookups do not find for a while ([`SimFs::hide_at`]), and a
//! second actor that changes names between any two calls ([`SimFs::set_second_actor`]).

mod crash;
mod dir;
mod handles;
mod hidden_names;
mod hiding;
mod interference;
mod lost_bytes;
mod machine;
mod node;
mod operations;
mod power_cut;
mod second_actor;
mod sim;
mod tree;
mod walk;

pub use crash::CrashMode;
pub use power_cut::{POWER_CUT, is_power_cut};
pub use sim::SimFs;
