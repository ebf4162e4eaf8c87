//! The operating system.

mod fs;
mod handles;
mod open;
mod stat;

pub use fs::RealFs;
