//! The only crate that touches files.
//!
//! [`Fs`] is the small set of operations the fleet needs, each with the durability it promises.
//! [`RealFs`] is the operating system; `testkit::SimFs` is a simulated one that can stop at any
//! operation, lose what was not synced and repeat operations whose reply was lost.
//! [`durable`] holds the few sequences built on top of it: *write, sync, link, sync the directory*.

mod api;
pub mod durable;
mod real;

pub use api::{DirEntry, FileKind, Fs, LockGuard, ReadFile, Space, Stat, WriteFile};
pub use real::RealFs;
