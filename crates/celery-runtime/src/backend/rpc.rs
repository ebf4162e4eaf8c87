//! The backend `rpc://`: a result is a message to the queue in the task's `reply_to`.
//!
//! Only the process that sent the task can read its result. A missing reply queue is no error, because the caller has left.
//! Chords need a place for their counters, which this backend lacks; Celery refuses them too.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::{ExceptionInfo, Limits, ResultMeta, message::MAX_SHORT_STRING, task::TaskIdentity};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use super::{error::BackendError, expectation::Expectation, pending::PendingResults, traits::ResultBackend};
use crate::{
    broker::{Consumer, Delivery, Guarantee, Publish, PublishError, SharedBroker},
    clock,
};

/// Results as messages over a broker.
///
/// One reply queue per backend, declared for the first expected result.
pub struct RpcBackend {
    broker: SharedBroker,
    reply_queue: String,
    pending: Arc<PendingResults>,
    receiving: OnceCell<AbortOnDropHandle<()>>,
}

impl RpcBackend {
    /// Results over `broker`, with a reply queue of its own for the results expected here.
    #[must_use]
    pub fn new(broker: SharedBroker) -> Self {
        let reply_queue = uuid::Uuid::new_v4().to_string();
        Self { broker, reply_queue, pending: Arc::default(), receiving: OnceCell::new() }
    }

    /// Starts to receive from the reply queue, if it has not started yet. Returns immediately, even while the broker is away.
    ///
    /// # Errors
    /// If the broker was closed or refuses reply queues.
    pub async fn receive(&self) -> Result<(), BackendError> {
        let start = async {
            let consumer = self.broker.consume_replies(&self.reply_queue).await?;
            Ok(AbortOnDropHandle::new(tokio::spawn(receive(consumer, self.pending.clone()))))
        };
        self.receiving.get_or_try_init(|| start).await.map(drop)
    }
}

#[async_trait]
impl ResultBackend for RpcBackend {
    async fn store(&self, task: &TaskIdentity, meta: ResultMeta) -> Result<(), BackendError> {
        let Some((queue, correlation_id)) = receiver(task) else {
            return Ok(());
        };
        match self.broker.publish(Publish::reply(queue, meta.to_message(correlation_id))).await {
            Ok(()) => Ok(()),
            // The same message would be refused again. So the caller gets a failure instead, if possible, and the task is over.
            Err(
                error @ (PublishError::Refused { .. } | PublishError::Invalid { .. } | PublishError::Unroutable { .. }),
            ) => {
                tracing::error!(result.id = meta.task_id, %error, "broker refused the result");
                let exception = ExceptionInfo::builtin(
                    "RuntimeError",
                    format!("the task ended, but its result cannot be sent: {error}"),
                );
                let failure = ResultMeta::failure(&meta.task_id, &exception, None, clock::now());
                if let Err(error) = self.broker.publish(Publish::reply(queue, failure.to_message(correlation_id))).await
                {
                    tracing::error!(result.id = meta.task_id, %error, "broker refused the failure result too; the caller gets no answer");
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn progress(&self, task: &TaskIdentity, meta: ResultMeta) {
        let Some((queue, correlation_id)) = receiver(task) else {
            return;
        };
        let message = meta.to_message(correlation_id);
        let publish = Publish { guarantee: Guarantee::FireAndForget, ..Publish::reply(queue, message) };
        if let Err(error) = self.broker.publish(publish).await {
            tracing::debug!(%error, "progress not reported");
        }
    }

    fn reply_to(&self) -> &str {
        &self.reply_queue
    }

    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        self.receive().await?;
        let expectation = self.pending.expect(task_id);
        // As Celery does before every task: after an outage the queue is gone, and a reply to it would be lost.
        self.broker.declare_reply_queue(&self.reply_queue).await?;
        Ok(expectation)
    }
}

/// The reply queue and the correlation id, if a caller wants the result.
fn receiver(task: &TaskIdentity) -> Option<(&str, &str)> {
    if task.ignore_result == Some(true) {
        return None;
    }
    let queue = task.reply_to.as_deref().filter(|queue| queue.len() <= MAX_SHORT_STRING)?;
    let id = task.correlation_id.as_deref().or(task.id.as_deref())?;
    Some((queue, id))
}

/// Delivers every result to its caller, until the broker is closed.
async fn receive(mut consumer: Box<dyn Consumer>, pending: Arc<PendingResults>) {
    while let Some(delivery) = consumer.next().await {
        accept(&delivery, &pending);
    }
    pending.close();
}

fn accept(delivery: &Delivery, pending: &PendingResults) {
    match ResultMeta::decode(&delivery.message, &Limits::default()) {
        Ok(meta) => {
            let id = meta.task_id.clone();
            if !pending.accept(meta) {
                tracing::debug!(task.id = id, "result dropped: no caller waits for it");
            }
        }
        Err(error) => tracing::warn!(%error, "reply dropped: unreadable"),
    }
}

impl fmt::Debug for RpcBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcBackend")
            .field("broker", &self.broker)
            .field("reply_queue", &self.reply_queue)
            .finish_non_exhaustive()
    }
}
