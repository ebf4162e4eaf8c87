//! A signed TUF repository as a log of commits: records, floors, retention and one idempotent function per role.
//!
//! The library is synchronous and knows no broker, no configuration and no clock: time is passed in, files are reached
//! through [`tuf_core::store::Store`] and [`durable_fs::Fs`].

mod far_names;
mod named_file;
mod notices;
mod numbered;
mod skipped_names;

pub mod floor;
pub mod log;
pub mod retention;
pub mod roles;
