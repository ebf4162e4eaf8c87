//! `rpc://`: a result is a message to the queue in the task's `reply_to` (`reference §2.2`).
//!
//! Only the process that sent the task can read its result, and a reply queue that is gone is no error: the caller has left.
//! Chords need a place to count in, which this backend has not; Celery refuses them too.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use celery_protocol::{ExceptionInfo, Limits, ResultMeta, message::MAX_SHORT_STRING, task::TaskIdentity};
use tokio::sync::OnceCell;
use tokio_util::task::AbortOnDropHandle;

use super::{BackendError, Expectation, ResultBackend, Waiting};
use crate::{
    broker::{Consumer, Delivery, Guarantee, Publish, PublishError, SharedBroker},
    clock,
};

/// Results as messages over a broker. One reply queue per backend, declared when the first result is waited for.
pub struct RpcBackend {
    broker: SharedBroker,
    reply_queue: String,
    waiting: Arc<Waiting>,
    receiving: OnceCell<AbortOnDropHandle<()>>,
}

impl RpcBackend {
    /// Results over `broker`, with a reply queue of its own name for what is waited for here.
    #[must_use]
    pub fn new(broker: SharedBroker) -> Self {
        let reply_queue = uuid::Uuid::new_v4().to_string();
        Self { broker, reply_queue, waiting: Arc::default(), receiving: OnceCell::new() }
    }

    /// Starts to receive at the reply queue, if that was not done yet. Returns at once even while the broker is away.
    ///
    /// # Errors
    /// If the broker was closed or refuses reply queues.
    pub async fn receive(&self) -> Result<(), BackendError> {
        let start = async {
            let consumer = self.broker.consume_replies(&self.reply_queue).await?;
            Ok(AbortOnDropHandle::new(tokio::spawn(receive(consumer, self.waiting.clone()))))
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
                if let Err(error) = self.broker.publish(Publish::reply(queue, failure.to_message(correlation_id))).await
                {
                    tracing::error!(task.id = meta.task_id, %error, "the caller cannot be told");
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
            tracing::debug!(task.id = meta.task_id, %error, "progress could not be reported");
        }
    }

    fn reply_to(&self) -> &str {
        &self.reply_queue
    }

    async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        self.receive().await?;
        let expectation = self.waiting.expect(task_id);
        // As Celery does before every task: the queue is gone after an outage, and a reply to it would be lost.
        self.broker.declare_reply_queue(&self.reply_queue).await?;
        Ok(expectation)
    }
}

/// Whom to answer: queue and correlation id, if anybody wants the result.
fn receiver(task: &TaskIdentity) -> Option<(&str, &str)> {
    if task.ignore_result == Some(true) {
        return None;
    }
    let queue = task.reply_to.as_deref().filter(|queue| queue.len() <= MAX_SHORT_STRING)?;
    let id = task.correlation_id.as_deref().or(task.id.as_deref())?;
    Some((queue, id))
}

/// Hands every result to whoever waits for it, until the broker is closed.
async fn receive(mut consumer: Box<dyn Consumer>, waiting: Arc<Waiting>) {
    while let Some(delivery) = consumer.next().await {
        accept(&delivery, &waiting);
    }
    waiting.close();
}

fn accept(delivery: &Delivery, waiting: &Waiting) {
    match ResultMeta::decode(&delivery.message, &Limits::default()) {
        Ok(meta) => {
            let id = meta.task_id.clone();
            if !waiting.accept(meta) {
                tracing::debug!(task.id = id, "dropped a result nobody waits for");
            }
        }
        Err(error) => tracing::warn!(%error, "dropped a reply that cannot be read"),
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
