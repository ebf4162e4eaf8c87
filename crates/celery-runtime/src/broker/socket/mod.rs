//! A bridge to the in-process broker of another process on this machine, over a Unix socket that only its owner may open.
//!
//! The process that hosts the workers serves its [`MemoryBroker`](super::memory::MemoryBroker) with [`SocketServer`]; a second
//! process connects with `memory+unix:///path/broker.sock`, publishes tasks and receives replies. Task queues cannot be
//! consumed through it. A lost connection is not opened again: the queues of the other side are gone with its process.
//!
//! Frames are a big-endian `u32` length and that many bytes of JSON, at most [`MAX_FRAME`].

mod client;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod frame_fuzz;
mod server;

pub use client::SocketBroker;
pub use frame::MAX_FRAME;
pub use server::{ServeError, SocketServer, serve_socket};
