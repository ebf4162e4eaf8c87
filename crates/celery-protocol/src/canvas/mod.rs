//! Workflows: from a signature, or from the end of a task, to the messages to send.
//!
//! The same code serves a client that starts a workflow and a worker that continues one. Missing ids are derived
//! from a seed and the place in the workflow, so that the same input makes the same ids: a worker that continues a chain
//! twice, because it died between publishing and acknowledging, sends the same tasks and not a second branch.
//!
//! | signature | becomes |
//! |---|---|
//! | a task | one message |
//! | `celery.chain` | its first step, with the rest in `embed.chain`, whose last element runs next |
//! | `celery.group` | its members, each with the group's id and its place |
//! | `celery.chord` | the members of its header, each with the body in `embed.chord` |
//! | in a chain, a group with a step behind it | a chord, as in Celery |

mod dispatch;
mod error;
mod freeze;
mod frozen;
mod options;
mod plan;
mod sender;
mod shape;
#[cfg(test)]
mod tests;

pub use error::CanvasError;
pub use frozen::Frozen;
pub use plan::{Outgoing, Plan};
pub use sender::Sender;
