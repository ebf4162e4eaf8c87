//! Result backends: where a task's outcome goes, and how a caller waits for it. [`connect`] picks one by URL.
//!
//! | URL | backend |
//! |---|---|
//! | `rpc://` | [`rpc::RpcBackend`]: a message to the queue in the task's `reply_to`; only the process that asked can read it |
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
pub mod redis;
pub mod rpc;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::{ExceptionInfo, ResultMeta, Signature, TaskRequest, task::TaskIdentity};
use serde_json::Value;

pub use connect::{BackendConnectError, connect};
pub use error::BackendError;
pub use expectation::{Expectation, Waiting};

/// A shared backend handle.
pub type SharedBackend = Arc<dyn ResultBackend>;

/// Stores outcomes and hands them to whoever waits. Everything may be called while its server is away: calls wait a bounded
/// time and then fail with [`BackendError::Unavailable`].
#[async_trait]
pub trait ResultBackend: Send + Sync + fmt::Debug {
    /// Stores a final state (SUCCESS, FAILURE, REVOKED) so that it outlives this call: confirmed by whoever keeps it. A
    /// SUCCESS that is stored already is never overwritten where the backend can know (`reference §2.3`).
    ///
    /// A result nobody wants (no reply queue, `ignore_result`, a caller that has left) is no error.
    ///
    /// # Errors
    /// [`BackendError::is_temporary`] says whether the same call may succeed later. Until it does, the task must not be
    /// acknowledged.
    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError>;

    /// Tells about a state that is not final: STARTED, RETRY, the task's own. Best effort; a failure is only logged.
    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta);

    /// Whether [`chord_part`](Self::chord_part) and [`start_chord`](Self::start_chord) work. Without, tasks that need them
    /// are refused before they run, as Celery's client refuses to send them.
    fn supports_chords(&self) -> bool {
        false
    }

    /// Announces a chord before its members are sent: `size` parts are to come for `group`.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] where there are no chords.
    async fn start_chord(&self, group: &str, size: u64) -> Result<(), BackendError> {
        let _ = (group, size);
        Err(BackendError::Unsupported("keep count of a chord"))
    }

    /// Counts the final state of a chord's member, after it was stored. Counting the same member again changes nothing.
    ///
    /// Returns the chord once all its parts are there, to exactly one caller at a time: whoever gets it publishes the body
    /// and then calls [`chord_done`](Self::chord_done). A caller that dies in between leaves the chord to the redelivery of
    /// its task (`reference §2.4`).
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] where there are no chords.
    async fn chord_part(&self, task: &TaskRequest, meta: &ResultMeta) -> Result<Option<ReadyChord>, BackendError> {
        let _ = (task, meta);
        Err(BackendError::Unsupported("keep count of a chord"))
    }

    /// The body of a chord returned by [`chord_part`](Self::chord_part) was published (confirmed): its counters may go.
    ///
    /// # Errors
    /// If the backend cannot be reached. The body was published all the same.
    async fn chord_done(&self, group: &str) -> Result<(), BackendError> {
        let _ = group;
        Ok(())
    }

    /// The URL as configuration shows it, without secrets.
    fn shown(&self) -> String {
        "rpc://".to_owned()
    }

    /// The queue tasks of this client name in `reply_to`. Every Celery client sends one, whatever its backend.
    fn reply_to(&self) -> &str;

    /// Gets ready for the result of a task that is about to be sent. Called before the task is published, so that no answer
    /// is too quick. Dropping the [`Expectation`] stops waiting.
    ///
    /// # Errors
    /// If the backend cannot be reached.
    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError>;

    /// Keeps the member ids of a group, as `GroupResult.save()` does; nothing where results are messages.
    ///
    /// # Errors
    /// If the backend cannot be reached.
    async fn save_group(&self, group: &str, members: &[String]) -> Result<(), BackendError> {
        let _ = (group, members);
        Ok(())
    }
}

/// A chord whose members have all ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyChord {
    /// The group of the members.
    pub group: String,
    /// What is to follow; its `options` carry the `task_id` and `reply_to` of the body.
    pub body: Signature,
    /// What the members returned, in the order of the group; or the exception the body ends with unrun,
    /// `celery.exceptions.ChordError`, when one of them failed.
    pub outcome: Result<Vec<Value>, ExceptionInfo>,
}
