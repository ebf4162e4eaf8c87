//! Locks: a lock is an exclusive queue, which goes with its connection.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use lapin::{Channel, options::QueueDeleteOptions};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{AmqpConnection, declare},
    convert::short,
    topology,
};
use crate::{
    broker::{error::BrokerError, lock::Lock},
    sync::lock,
};

/// The names of the locks that this process holds, or is asking for.
pub(super) type LockNames = Arc<Mutex<HashSet<String>>>;

/// Releases a lock when dropped.
struct AmqpLockGuard {
    names: LockNames,
    name: String,
    queue: String,
    /// The channel of the queue, and the token that its connection cancels when it is lost.
    channel: Option<(Channel, CancellationToken)>,
}

/// Takes the lock without waiting: `None` while it is held.
pub(super) async fn take_lock(
    connection: &AmqpConnection,
    names: &LockNames,
    name: &str,
) -> Result<Option<Lock>, BrokerError> {
    // The broker lets one connection have an exclusive queue any number of times.
    if !lock(names).insert(name.to_owned()) {
        return Ok(None);
    }
    // Named like a reply queue, so that users who may declare nothing else may declare it.
    let text = format!("celery-runtime:lock:{name}");
    let queue = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, text.as_bytes()).to_string();
    let mut guard = AmqpLockGuard { names: names.clone(), name: name.to_owned(), queue, channel: None };
    let taken = Mutex::new(None);
    let (queue, keep) = (guard.queue.as_str(), &taken);
    declare(connection, &format!("lock {name:?}"), |link| async move {
        if let Some(channel) = topology::exclusive_queue(&link, queue).await? {
            *lock(keep) = Some((channel, link.lost()));
        }
        Ok(())
    })
    .await?;
    let taken = lock(&taken).take();
    Ok(taken.map(|(channel, lost)| {
        guard.channel = Some((channel, lost.clone()));
        Lock::new(lost, guard)
    }))
}

impl Drop for AmqpLockGuard {
    fn drop(&mut self) {
        let (names, name) = (self.names.clone(), std::mem::take(&mut self.name));
        let release = move || {
            lock(&names).remove(&name);
        };
        let (Some((channel, lost)), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) else {
            return release();
        };
        let queue = std::mem::take(&mut self.queue);
        runtime.spawn(async move {
            let delete = async {
                if let Ok(queue) = short(&queue)
                    && let Err(error) = channel.queue_delete(queue, QueueDeleteOptions::default()).await
                {
                    tracing::debug!(%error, "lock not released; it goes with its connection");
                }
            };
            // lapin may never answer a request that is under way when its connection is lost; the queue goes anyway.
            tokio::select! {
                () = delete => {}
                () = lost.cancelled() => {}
            }
            release();
        });
    }
}
