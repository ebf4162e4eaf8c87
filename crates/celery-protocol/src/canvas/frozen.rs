//! The results of a workflow, by the ids of its tasks.

use serde_json::{Value, json};

/// The results to expect of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frozen {
    /// The result of one task: the only one, the last of a chain, or the body of a chord.
    Task(String),
    /// The results of the members of a group.
    Group {
        /// The group's id.
        id: String,
        /// The results of the members.
        members: Vec<Frozen>,
    },
}

impl Frozen {
    /// The result tuple, as in `children`.
    #[must_use]
    pub fn to_tuple(&self) -> Value {
        match self {
            Self::Task(id) => json!([[id, null], null]),
            Self::Group { id, members } => {
                json!([[id, null], members.iter().map(Self::to_tuple).collect::<Vec<_>>()])
            }
        }
    }

    /// The ids of the tasks whose results these are.
    #[must_use]
    pub fn task_ids(&self) -> Vec<&str> {
        match self {
            Self::Task(id) => vec![id],
            Self::Group { members, .. } => members.iter().flat_map(Self::task_ids).collect(),
        }
    }
}
