//! Reporting an outcome and settling its delivery, in the order that makes a crash at any point harmless: the tasks that
//! follow success, the result, the chord, the tasks that follow failure, and last the acknowledgement.

use std::{borrow::Cow, sync::atomic::Ordering::Relaxed};

use super::{
    outcome::{FinalOutcome, NextTry, Outcome},
    registry::TaskEventKind,
    report::ReportError,
    requeue::{log_unsettled, requeue},
    task_in_hand::TaskInHand,
};
use crate::{TaskError, broker::Publish, dispatch::DispatchError};

impl TaskInHand<'_> {
    /// Reports the outcome and settles the delivery. An outcome that cannot be reported now is kept for the redelivery.
    pub async fn settle(&self, outcome: Outcome) {
        let refused = matches!(&outcome, Outcome::Final(over) if over.refused);
        let reported = match &outcome {
            Outcome::Final(over) => self.report(over).await,
            // Rare steps are boxed, here and below: the future of every task in hand has room for its largest step.
            Outcome::Retry(next) => Box::pin(self.publish_retry(next)).await,
            Outcome::AckOnly => Ok(()),
        };
        if let Err(error) = reported {
            self.core.runs.keep(self.run_id(), outcome);
            return requeue(&self.core.counters, self.delivery, &error, self.stopping).await;
        }
        let settled = if refused {
            self.core.counters.rejected.fetch_add(1, Relaxed);
            self.delivery.reject(false).await
        } else {
            self.delivery.ack().await
        };
        if settled.is_err() && !refused {
            // It is redelivered, perhaps to this worker: then only its result is stored once more.
            self.core.runs.keep(self.run_id(), outcome.reported());
        }
        log_unsettled(settled);
    }

    /// Rejects a task without a result, as its handler asked. A task that is requeued is so after a wait: it may
    /// be delivered again immediately, and to this worker.
    pub async fn reject(&self, reason: &TaskError, to_queue: bool) {
        self.event(TaskEventKind::Rejected { requeue: to_queue });
        if to_queue {
            return requeue(&self.core.counters, self.delivery, reason, self.stopping).await;
        }
        self.core.counters.rejected.fetch_add(1, Relaxed);
        log_unsettled(self.delivery.reject(false).await);
    }

    async fn report(&self, outcome: &FinalOutcome) -> Result<(), ReportError> {
        let mut outcome = Cow::Borrowed(outcome);
        if let Err(error) = self.send(&outcome.before).await {
            if error.is_temporary() {
                return Err(error.into());
            }
            // It can never be sent. The work is done, but its caller waits for the tasks that follow.
            tracing::error!(%error, "cannot send the tasks that follow");
            outcome =
                Cow::Owned(self.failed_to_continue(format!(
                    "the task succeeded, but the tasks that follow cannot be sent: {error}"
                )));
        }
        self.store(&self.identity, &outcome.meta).await?;
        if outcome.meta.state.propagates() {
            Box::pin(self.fail_rest_of_chain(self.task, &outcome.meta, 0)).await?;
        }
        self.count_in_chord(self.task, &outcome.meta, 0).await?;
        self.send_or_log(&outcome.after).await?;
        if let Some(event) = outcome.event.clone() {
            self.event(event);
        }
        Ok(())
    }

    async fn publish_retry(&self, next: &NextTry) -> Result<(), ReportError> {
        let publish = match next.request.to_message() {
            Ok(message) => Publish {
                exchange: self.delivery.exchange.clone(),
                ..Publish::task(self.delivery.routing_key.clone(), message)
            },
            Err(error) => {
                tracing::error!(%error, "cannot encode the retry of the task");
                return self.report(&next.fallback).await;
            }
        };
        // Before the next try is sent, which may otherwise be over first. RETRY is not a final state, so nothing is lost if
        // this try is redelivered instead.
        self.report_state(next.meta.clone()).await;
        self.event(next.event.clone());
        if let Err(error) = self.core.broker.publish(publish).await.map_err(DispatchError::from) {
            if error.is_temporary() {
                return Err(error.into());
            }
            tracing::error!(%error, "cannot publish the retry of the task");
            return self.report(&next.fallback).await;
        }
        Ok(())
    }
}
