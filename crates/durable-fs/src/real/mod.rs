//! The operating system.

mod dir;
mod fs;
mod handles;
mod open;
mod stat;
mod sync_point;

pub use fs::RealFs;
