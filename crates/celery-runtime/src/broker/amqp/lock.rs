//! A lock is a queue that one connection alone may use: it goes with its connection.

use std::sync::{Arc, Mutex, PoisonError};

use lapin::{Channel, options::QueueDeleteOptions};
use tokio_util::sync::CancellationToken;

use super::{AmqpBroker, Shared, convert::short, topology};
use crate::broker::{BrokerError, Lock};

/// Gives a lock back.
struct Held {
    shared: Arc<Shared>,
    name: String,
    queue: String,
    /// And what tells that its connection is lost.
    channel: Option<(Channel, CancellationToken)>,
}

impl AmqpBroker {
    pub(super) async fn take(&self, name: &str) -> Result<Option<Lock>, BrokerError> {
        // The broker would let one connection have it any number of times.
        if !self.shared.locks().insert(name.to_owned()) {
            return Ok(None);
        }
        // A name as reply queues have one, which users that may declare nothing else may declare.
        let text = format!("celery-runtime:lock:{name}");
        let queue = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes()).to_string();
        let mut held = Held { shared: self.shared.clone(), name: name.to_owned(), queue, channel: None };
        let taken = Mutex::new(None);
        let (queue, keep) = (held.queue.as_str(), &taken);
        self.declare(&format!("lock {name:?}"), |link| async move {
            if let Some(channel) = topology::own_queue(&link, queue).await? {
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = Some((channel, link.lost()));
            }
            Ok(())
        })
        .await?;
        let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(taken.map(|(channel, lost)| {
            held.channel = Some((channel, lost.clone()));
            Lock::new(lost, held)
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (shared, name) = (self.shared.clone(), std::mem::take(&mut self.name));
        let give_back = move || {
            shared.locks().remove(&name);
        };
        let (Some((channel, lost)), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) else {
            return give_back();
        };
        let queue = std::mem::take(&mut self.queue);
        runtime.spawn(async move {
            let delete = async {
                if let Ok(queue) = short(&queue)
                    && let Err(error) = channel.queue_delete(queue, QueueDeleteOptions::default()).await
                {
                    tracing::debug!(%error, "a lock goes with its connection");
                }
            };
            // A request that is under way when its connection is lost may never be answered; the queue goes without it.
            tokio::select! {
                () = delete => {}
                () = lost.cancelled() => {}
            }
            give_back();
        });
    }
}
