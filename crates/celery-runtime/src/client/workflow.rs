//! Sending signatures: single tasks, chains, groups and chords.

use std::time::Duration;

use celery_protocol::{
    Signature,
    canvas::{CanvasError, Frozen, Plan, Sender},
};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    celery_client::Client,
    pending_result::{CallError, PendingResult},
};
use crate::{
    backend::{BackendError, Expectation},
    broker::PublishError,
    clock,
    dispatch::{DispatchError, dispatch},
};

/// Why a workflow was not sent, or only in part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The signature is invalid.
    #[error(transparent)]
    Canvas(#[from] CanvasError),
    /// It needs a chord, and the result backend cannot count the members of one.
    #[error("the result backend does not support chords, which a group followed by a task needs too")]
    ChordsUnsupported,
    /// A task was not published. Those before it were.
    #[error("cannot send the task: {0}")]
    Publish(#[from] PublishError),
    /// The result backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl From<DispatchError> for ApplyError {
    fn from(error: DispatchError) -> Self {
        match error {
            DispatchError::Publish(error) => Self::Publish(error),
            DispatchError::Backend(error) => Self::Backend(error),
        }
    }
}

/// The members of a group that was sent, or the one task whose result a workflow ends with.
#[derive(Debug)]
pub struct WorkflowResult {
    group: Option<String>,
    members: Vec<PendingResult>,
}

impl WorkflowResult {
    /// The id of the group, if the workflow ends with one.
    #[must_use]
    pub fn group_id(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The results to wait for: those of the group in its order, or one.
    #[must_use]
    pub fn members(&self) -> &[PendingResult] {
        &self.members
    }

    /// Waits for the result: of a group, the list of its members' results in their order. May be called again after a
    /// `Timeout`.
    ///
    /// # Errors
    /// See [`CallError`]; of a group, that of the first member in order that has one.
    pub async fn get(&mut self, deadline: Duration) -> Result<Value, CallError> {
        let until = Instant::now() + deadline;
        let mut results = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            results.push(member.get(until.saturating_duration_since(Instant::now())).await?);
        }
        match (&self.group, results.pop()) {
            (None, Some(only)) => Ok(only),
            (_, last) => Ok(results.into_iter().chain(last).collect()),
        }
    }
}

impl Client {
    /// Sends a signature: a task, or a [`chain`](Signature::chain), [`group`](Signature::group) or
    /// [`chord`](Signature::chord) of them. Returns when every message that starts it is confirmed to be in a queue.
    ///
    /// A signature goes to the queue its option `queue` names, else where the client's [`Routes`](super::Client::with_routes)
    /// send it; later steps that name none are routed by the worker that sends them.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn apply(&self, signature: Signature) -> Result<WorkflowResult, ApplyError> {
        let name = signature.task.clone();
        let backend = &self.core.backend;
        if !backend.supports_chords() && signature.has_chord() {
            return Err(ApplyError::ChordsUnsupported);
        }
        let origin = self.origin();
        let sender = Sender {
            reply_to: Some(backend.reply_to()),
            origin: Some(&origin),
            ..Sender::new(uuid::Uuid::new_v4().to_string(), clock::now())
        };
        let mut plan = Plan::default();
        let frozen = sender.apply(&mut plan, signature, &[], "workflow")?;
        for out in &mut plan.tasks {
            for (header, value) in self.headers.iter() {
                if out.task.headers.extra.get(header).is_none() {
                    out.task.headers.extra.insert(header.as_str(), value);
                }
            }
        }
        let ignored: Vec<&str> =
            plan.tasks.iter().map(|out| &out.task).filter(|task| task.ignores_result()).map(|task| task.id()).collect();
        let mut members = Vec::new();
        for id in frozen.task_ids() {
            let expected = if ignored.contains(&id) { Expectation::never() } else { backend.expect(id).await? };
            members.push(PendingResult::new(&name, id.to_owned(), expected));
        }
        dispatch(self.core.broker.as_ref(), backend.as_ref(), &self.routes, plan).await?;
        let group = match &frozen {
            Frozen::Task(_) => None,
            Frozen::Group { id, .. } => Some(id.clone()),
        };
        Ok(WorkflowResult { group, members })
    }

    /// Saves the member ids of a group in the result backend (`GroupResult.save()`).
    ///
    /// # Errors
    /// If the result backend cannot be reached.
    pub async fn save_group(&self, result: &WorkflowResult) -> Result<(), BackendError> {
        let Some(group) = result.group_id() else { return Ok(()) };
        let ids: Vec<String> = result.members.iter().map(|member| member.task_id().to_owned()).collect();
        self.core.backend.save_group(group, &ids).await
    }
}
