//! Chords: the keys that count finished members, and their values.

use serde_json::{Value, json};

use crate::exception::ExceptionInfo;
use crate::json::{self, JsonError};
use crate::limits::Limits;

/// How long the marker of a finished chord prevents late duplicates from starting it again, in seconds.
pub const DONE_SECONDS: u64 = 300;

/// The keys of one chord, as in Celery 5.7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChordKeys {
    /// The saved group.
    pub group: String,
    /// Sorted set of finished members, by their index.
    pub members: String,
    /// By how much the number of members differs from the size.
    pub total_diff: String,
    /// The number of members; the sender of the chord sets it.
    pub size: String,
    /// Set of `id:index` of those in `members`, so that a member that ran twice counts once.
    pub seen: String,
    /// The token of the worker that publishes the body, or `done`.
    pub claim: String,
}

impl ChordKeys {
    pub(super) fn new(group: String) -> Self {
        let key = |suffix: &str| format!("{group}.{suffix}");
        Self {
            members: key("j"),
            total_diff: key("t"),
            size: key("s"),
            seen: key("d"),
            claim: key("c"),
            group: group.clone(),
        }
    }
}

/// One finished member: `[1, id, state, result]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChordMember {
    /// The member's task id.
    pub task_id: String,
    /// Its outcome.
    pub outcome: MemberOutcome,
}

/// The outcome of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberOutcome {
    /// It returned this value.
    Success(Value),
    /// It ended in another state.
    Failure {
        /// The state, most often `FAILURE`.
        state: String,
        /// The exception object.
        result: Value,
    },
}

/// Why a member of a chord cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// Not JSON within the limits.
    #[error("a member of the chord cannot be read: {0}")]
    Json(#[from] JsonError),
    /// JSON of another shape.
    #[error("a member of the chord is not [1, id, state, result]")]
    Shape,
}

impl ChordMember {
    /// The text of a member.
    #[must_use]
    pub fn encode(&self) -> String {
        let (state, result) = match &self.outcome {
            MemberOutcome::Success(value) => ("SUCCESS", value),
            MemberOutcome::Failure { state, result } => (state.as_str(), result),
        };
        json::to_string(&json!([1, self.task_id, state, result]))
    }

    /// Reads a member.
    ///
    /// # Errors
    /// See [`MemberError`].
    pub fn decode(text: &[u8], limits: &Limits) -> Result<Self, MemberError> {
        let Value::Array(parts) = json::parse(text, limits)? else {
            return Err(MemberError::Shape);
        };
        let mut parts = parts.into_iter().skip(1);
        let (Some(Value::String(task_id)), Some(Value::String(state)), Some(result)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(MemberError::Shape);
        };
        let outcome = match state.as_str() {
            "SUCCESS" => MemberOutcome::Success(result),
            _ => MemberOutcome::Failure { state, result },
        };
        Ok(Self { task_id, outcome })
    }
}

/// The results of all members in order, or the error for the body: that of the first failed member.
///
/// # Errors
/// Celery's `ChordError`, which names the member and its exception.
pub fn join(members: Vec<ChordMember>) -> Result<Vec<Value>, ExceptionInfo> {
    members
        .into_iter()
        .map(|member| match member.outcome {
            MemberOutcome::Success(value) => Ok(value),
            MemberOutcome::Failure { result, .. } => {
                let raised = match ExceptionInfo::from_json(&result) {
                    Some(exception) => exception.repr(),
                    None => crate::python::repr(&result),
                };
                Err(chord_error(format!("Dependency {} raised {raised}", member.task_id)))
            }
        })
        .collect()
}

/// Celery's `ChordError` with this text.
#[must_use]
pub fn chord_error(message: String) -> ExceptionInfo {
    ExceptionInfo::new("celery.exceptions", "ChordError", vec![message.into()])
}
