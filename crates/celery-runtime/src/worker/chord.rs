//! The chain and the chord that a task is a part of.

use celery_protocol::{
    ResultMeta, TaskRequest,
    canvas::{Plan, Sender},
};
use serde_json::Value;

use super::{report::ReportError, task_in_hand::TaskInHand};
use crate::{backend::ReadyChord, clock};

/// The deepest nesting of chords whose bodies are members of chords.
const MAX_CHORD_DEPTH: u8 = 16;

impl TaskInHand<'_> {
    /// Fails the rest of the chain behind a task that failed: none of it will run, so the end of the chain gets the result
    /// `meta`.
    pub async fn fail_rest_of_chain(
        &self,
        task: &TaskRequest,
        meta: &ResultMeta,
        depth: u8,
    ) -> Result<(), ReportError> {
        for step in task.embed.chain.iter().flatten() {
            for ending in step.endings() {
                self.fail_unsent(&ending, meta, depth).await?;
            }
        }
        Ok(())
    }

    /// Stores for a task that was never sent the result `meta` of the task before it.
    async fn fail_unsent(&self, task: &TaskRequest, meta: &ResultMeta, depth: u8) -> Result<(), ReportError> {
        let result = ResultMeta { task_id: task.id().to_owned(), children: Vec::new(), ..meta.clone() };
        let result = result.with_lineage(task.headers.group.as_deref(), Some(self.task.id()));
        self.store(&task.identity(), &result).await?;
        self.count_in_chord(task, &result, depth).await
    }

    /// Counts a member of a chord, and completes the chord when it was the last.
    pub async fn count_in_chord(&self, task: &TaskRequest, meta: &ResultMeta, depth: u8) -> Result<(), ReportError> {
        if task.embed.chord.is_none() || depth > MAX_CHORD_DEPTH {
            return Ok(());
        }
        match self.core.backend.chord_part(task, meta).await {
            Ok(None) => Ok(()),
            // Boxed, because the body of a chord may be a member of another.
            Ok(Some(ready)) => Box::pin(self.complete_chord(task, ready, depth + 1)).await,
            Err(error) if error.is_temporary() => Err(error.into()),
            Err(error) => {
                tracing::error!(result.id = meta.task_id, %error, "cannot count a member of a chord");
                Ok(())
            }
        }
    }

    /// Sends the body of a chord, or fails it if a member failed.
    async fn complete_chord(&self, member: &TaskRequest, ready: ReadyChord, depth: u8) -> Result<(), ReportError> {
        let ReadyChord { group, body, outcome } = ready;
        // From the group alone, so that every worker that completes the chord makes the same ids.
        let sender = Sender { seed: format!("chord/{group}"), ..Sender::task(member, clock::now()) };
        let mut plan = Plan::default();
        let args = [outcome.as_ref().map_or(Value::Null, |results| Value::Array(results.clone()))];
        if let Err(error) = sender.apply(&mut plan, body, &args, "body") {
            tracing::error!(group, %error, "cannot send the body of a chord");
            return Ok(self.core.backend.chord_done(&group).await?);
        }
        match outcome {
            Ok(_) => self.send_or_log(&plan).await?,
            Err(exception) => {
                for body in plan.tasks.into_iter().map(|out| out.task) {
                    let meta = ResultMeta::failure(body.id(), &exception, None, clock::now());
                    self.fail_unsent(&body, &meta, depth).await?;
                    self.fail_rest_of_chain(&body, &meta, depth).await?;
                    if let Ok(errbacks) = Sender::task(&body, clock::now()).on_failure(&body) {
                        self.send_or_log(&errbacks).await?;
                    }
                }
            }
        }
        // The body is sent. An error here would send it again, and it would run again.
        if let Err(error) = self.core.backend.chord_done(&group).await {
            tracing::warn!(group, %error, "body of the chord sent, but its end cannot be noted");
        }
        Ok(())
    }
}
