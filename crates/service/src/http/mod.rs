//! The HTTP server behind every HTTP surface: the health endpoints of a worker, and the repository of `rugged up`.
//!
//! Strangers can open connections, so their number and their patience are bounded ([`HttpLimits`]), and no client, however
//! slow, takes descriptors that the process needs for its work.

mod connections;
mod guarded_body;
mod limits;
mod server;
mod write_guard;

#[cfg(test)]
mod tests;

pub use limits::HttpLimits;
pub use server::serve;
