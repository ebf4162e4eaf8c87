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
    /// Whether more tasks follow this one than this worker sends for one message.
    pub fn has_too_many_follow_ups(&self) -> bool {
        let embed = &self.task.embed;
        let lists = [&embed.callbacks, &embed.errbacks, &embed.chain];
        let mut left = self.core.max_follow_ups;
        let mut signatures = lists.into_iter().flatten().flatten().chain(&embed.chord);
        !signatures.all(|signature| take_signature(signature, &mut left))
    }

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

/// Takes `signature` and those within it from `left`; false when there are more.
fn take_signature(signature: &Signature, left: &mut usize) -> bool {
    let Some(fewer) = left.checked_sub(1) else { return false };
    *left = fewer;
    let maps = [&signature.kwargs, &signature.options, &signature.extra];
    signature.args.iter().chain(maps.into_iter().flat_map(serde_json::Map::values)).all(|value| take_value(value, left))
}

/// As [`take_signature`], for those within a JSON value: each object that names a task counts, wherever it stands. The
/// decoder has bounded the depth.
fn take_value(value: &Value, left: &mut usize) -> bool {
    match value {
        Value::Array(values) => values.iter().all(|value| take_value(value, left)),
        Value::Object(map) => {
            if map.get("task").is_some_and(Value::is_string) {
                let Some(fewer) = left.checked_sub(1) else { return false };
                *left = fewer;
            }
            map.values().all(|value| take_value(value, left))
        }
        _ => true,
    }
}
