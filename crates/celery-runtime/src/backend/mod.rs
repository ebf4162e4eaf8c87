//! Result backends store the outcome of tasks and deliver it to waiting callers. [`connect`] picks one by URL.
//!
//! | URL | backend |
//! |---|---|
//! | `rpc://` | [`rpc::RpcBackend`]: a message to the queue in the task's `reply_to`; only the calling process can read it |
//! | `redis://user:password@host:port/db` | [`redis::RedisBackend`]: a key per task, announced; any client can read it; chords included |
//! | `memory://` | [`memory::MemoryBackend`]: a table inside this process, shared by cloning; chords included |
//!
//! A worker uses [`store`](ResultBackend::store), [`progress`](ResultBackend::progress) and
//! [`chord_part`](ResultBackend::chord_part); a client [`expect`](ResultBackend::expect) and
//! [`save_group`](ResultBackend::save_group).

mod connect;
mod error;
mod expectation;
pub mod memory;
mod pending;
pub mod redis;
pub mod rpc;
mod traits;

pub use connect::{BackendConnectError, connect};
pub use error::BackendError;
pub use expectation::Expectation;
pub use pending::PendingResults;
pub use traits::{ReadyChord, ResultBackend, SharedBackend};
