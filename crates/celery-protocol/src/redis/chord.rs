//! Chords: the keys that count finished members, and what they hold.

use serde_json::{Value, json};

use crate::exception::ExceptionInfo;
use crate::json::{self, JsonError};
use crate::limits::Limits;

/// How long the marker of a finished chord keeps late duplicates from starting it anew, in seconds.
pub const DONE_SECONDS: u64 = 300;

/// The keys of one chord, as Celery 5.7 has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChordKeys {
    /// The saved group.
    pub group: String,
    /// Sorted set of finished members, by their index.
    pub members: String,
    /// By how much the number of members differs from the size.
    pub total_diff: String,
    /// How many members there are; set by whoever sent the chord.
    pub size: String,
    /// Set of `id:index` of those in `members`, so that a member that ran twice counts once.
    pub seen: String,
    /// The token of whoever publishes the body, or `done`.
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
    /// What came of it.
    pub outcome: MemberOutcome,
}

/// What came of a member.
#[derive(Debug, Clone, PartialEq)]
pub enum MemberOutcome {
    /// It returned this.
    Success(Value),
    /// It ended otherwise, in the state named, with what its result held.
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
    /// A member as it is added.
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

/// The results of all members in order, or the error the body gets in their place: that of the first that failed.
///
/// # Errors
/// Celery's `ChordError`, naming the member and its exception.
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
