//! The contract of a result backend.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::{ExceptionInfo, ResultMeta, Signature, TaskRequest, task::TaskIdentity};
use serde_json::Value;

use super::{error::BackendError, expectation::Expectation};

/// A shared backend handle.
pub type SharedBackend = Arc<dyn ResultBackend>;

/// Stores outcomes and delivers them to waiting callers.
///
/// Every method may be called while the server is away: a call waits a bounded time and then fails with
/// [`BackendError::Unavailable`].
#[async_trait]
pub trait ResultBackend: Send + Sync + fmt::Debug {
    /// Stores a final state (SUCCESS, FAILURE, REVOKED) so that it outlives this call: the server that keeps it has confirmed
    /// it. A stored SUCCESS is never overwritten, where the backend can know it.
    ///
    /// An unwanted result (no reply queue, `ignore_result`, a caller that has left) is no error.
    ///
    /// # Errors
    /// [`BackendError::is_temporary`] says whether the same call may succeed later. Until it does, the task must not be
    /// acknowledged.
    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError>;

    /// Reports a state that is not final: STARTED, RETRY, the task's own. Best effort; a failure is only logged.
    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta);

    /// Whether [`chord_part`](Self::chord_part) and [`start_chord`](Self::start_chord) work. If not, tasks that need them are
    /// refused before they run, as Celery's client refuses to send them.
    fn supports_chords(&self) -> bool {
        false
    }

    /// Announces a chord of `size` members before they are sent as `group`.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] if the backend has no chords.
    async fn start_chord(&self, group: &str, size: u64) -> Result<(), BackendError> {
        let _ = (group, size);
        Err(BackendError::Unsupported("keep count of a chord"))
    }

    /// Counts the final state of a chord's member, after it was stored. Counting the same member again changes nothing.
    ///
    /// Returns the chord once all its parts are counted, to exactly one caller at a time. That caller publishes the body and
    /// then calls [`chord_done`](Self::chord_done). If it dies in between, the redelivery of its task gets the chord.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] if the backend has no chords.
    async fn chord_part(&self, task: &TaskRequest, meta: &ResultMeta) -> Result<Option<ReadyChord>, BackendError> {
        let _ = (task, meta);
        Err(BackendError::Unsupported("keep count of a chord"))
    }

    /// Deletes the counters of a chord, after the body that [`chord_part`](Self::chord_part) returned was published and
    /// confirmed.
    ///
    /// # Errors
    /// If the backend cannot be reached. The body was published nevertheless.
    async fn chord_done(&self, group: &str) -> Result<(), BackendError> {
        let _ = group;
        Ok(())
    }

    /// The URL as configuration shows it, without secrets.
    fn shown(&self) -> String {
        "rpc://".to_owned()
    }

    /// The queue that tasks of this client name in `reply_to`. Every Celery client sends one, with any backend.
    fn reply_to(&self) -> &str;

    /// Starts to wait for the result of a task. Call it before the task is published, so that no answer comes too early. Dropping
    /// the [`Expectation`] stops waiting.
    ///
    /// # Errors
    /// If the backend cannot be reached.
    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError>;

    /// Keeps the member ids of a group, as `GroupResult.save()` does. Does nothing where results are messages.
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
    /// The body, to be published; its `options` carry the `task_id` and `reply_to`.
    pub body: Signature,
    /// The results of the members in the order of the group; or, when a member failed, the exception
    /// `celery.exceptions.ChordError` with which the body ends without running.
    pub outcome: Result<Vec<Value>, ExceptionInfo>,
}
