//! Telling the caller: the `rpc://` result backend, a message to the queue in the task's `reply_to`.

use celery_protocol::{ExceptionInfo, ResultMeta, message::MAX_SHORT_STRING, task::TaskIdentity};

use crate::{
    broker::{Guarantee, Publish, PublishError, SharedBroker},
    clock,
};

/// The caller could not be told now, and the task must not be acknowledged.
#[derive(Debug)]
pub(super) struct NotStored(pub PublishError);

/// Publishes a result, if anybody wants it. A reply queue that is gone is no error: the caller has left.
pub(super) async fn store(broker: &SharedBroker, identity: &TaskIdentity, meta: ResultMeta) -> Result<(), NotStored> {
    let Some((queue, correlation_id)) = receiver(identity) else {
        return Ok(());
    };
    match broker.publish(Publish::reply(queue, meta.to_message(correlation_id))).await {
        Ok(()) => Ok(()),
        // Sending the same again would be refused again: the caller is told so, if it can be, and the task is over.
        Err(
            error @ (PublishError::Refused { .. } | PublishError::Invalid { .. } | PublishError::Unroutable { .. }),
        ) => {
            tracing::error!(task.id = meta.task_id, %error, "the broker refuses the result");
            let told = ExceptionInfo::builtin(
                "RuntimeError",
                format!("the task ended, but its result cannot be sent: {error}"),
            );
            let failure = ResultMeta::failure(&meta.task_id, &told, None, clock::now());
            if let Err(error) = broker.publish(Publish::reply(queue, failure.to_message(correlation_id))).await {
                tracing::error!(task.id = meta.task_id, %error, "the caller cannot be told");
            }
            Ok(())
        }
        Err(error) => Err(NotStored(error)),
    }
}

/// Publishes a progress report, if anybody wants it.
pub(super) async fn publish_progress(broker: &SharedBroker, identity: &TaskIdentity, meta: ResultMeta) {
    let Some((queue, correlation_id)) = receiver(identity) else {
        return;
    };
    let message = meta.to_message(correlation_id);
    let publish = Publish { guarantee: Guarantee::FireAndForget, ..Publish::reply(queue, message) };
    if let Err(error) = broker.publish(publish).await {
        tracing::debug!(task.id = meta.task_id, %error, "progress could not be reported");
    }
}

fn receiver(identity: &TaskIdentity) -> Option<(&str, &str)> {
    if identity.ignore_result == Some(true) {
        return None;
    }
    let queue = identity.reply_to.as_deref().filter(|queue| queue.len() <= MAX_SHORT_STRING)?;
    let id = identity.correlation_id.as_deref().or(identity.id.as_deref())?;
    Some((queue, id))
}
