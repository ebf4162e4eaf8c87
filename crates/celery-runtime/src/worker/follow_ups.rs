//! Whether the tasks that follow a task could be sent, which is checked before it runs.

use celery_protocol::{
    Signature,
    canvas::{CanvasError, Sender},
};
use serde_json::Value;

use super::task_in_hand::TaskInHand;
use crate::clock;

/// Why a task is refused before it runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowUpError {
    /// A chord follows, and the result backend cannot count its members.
    #[error("chords are not supported by the result backend of this worker")]
    ChordsUnsupported,
    /// The message asks for follow-up tasks that make no sense.
    #[error("the tasks that follow cannot be sent: {0}")]
    Canvas(#[from] CanvasError),
}

impl TaskInHand<'_> {
    /// Checks that the tasks that follow this one, on success and on failure, can be sent.
    pub fn check_follow_ups(&self) -> Result<(), FollowUpError> {
        let embed = &self.task.embed;
        let follows = |list: &Option<Vec<Signature>>| list.as_ref().is_some_and(|list| !list.is_empty());
        if !(follows(&embed.callbacks) || follows(&embed.chain) || follows(&embed.errbacks) || embed.chord.is_some()) {
            return Ok(());
        }
        if !self.core.backend.supports_chords() {
            let next = embed.chain.iter().flatten().last();
            let chord = embed.callbacks.iter().flatten().chain(next).any(Signature::has_chord);
            if chord || embed.chord.is_some() {
                return Err(FollowUpError::ChordsUnsupported);
            }
        }
        let sender = Sender::task(self.task, clock::now());
        sender.on_success(self.task, &Value::Null)?;
        sender.on_failure(self.task)?;
        Ok(())
    }
}
