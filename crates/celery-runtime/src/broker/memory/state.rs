//! Queues, bindings and unacknowledged deliveries: the data of the broker, under one lock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use celery_protocol::{
    FieldValue,
    message::Message,
    topology::{ExchangeDeclare, ExchangeKind, Mailbox, topic_matches},
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::fault::{Duplicates, FaultHook};
use crate::connection::ConnectionState;

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct QueuedMessage {
    pub message: Arc<Message>,
    pub exchange: String,
    pub routing_key: String,
    pub redelivered: bool,
    pub expires: Option<Instant>,
    /// A copy made by [`Duplicates`], which is not copied again.
    pub copy: bool,
}

/// One queue.
#[derive(Debug, Default)]
pub(super) struct MemoryQueue {
    /// By sequence number, so that a requeued message returns to its old place.
    pub ready: BTreeMap<u64, QueuedMessage>,
    pub consumers: HashSet<u64>,
    /// Signalled when a message becomes ready.
    pub wake: Arc<Notify>,
    /// Deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// How long an unread message is kept.
    pub message_ttl: Option<Duration>,
}

/// A consumer and its unacknowledged messages.
#[derive(Debug)]
pub(super) struct ConsumerState {
    pub queue: String,
    pub connection: u64,
    pub generation: u64,
    pub prefetch: Option<usize>,
    pub unacked: BTreeMap<u64, QueuedMessage>,
    pub cancelled: bool,
    /// Signalled when there is room for another delivery, or the consumer is to end.
    pub wake: Arc<Notify>,
}

/// A connection of this broker.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    pub generation: u64,
    pub state: watch::Sender<ConnectionState>,
}

/// The data of the broker.
#[derive(Default)]
pub(super) struct MemoryQueues {
    pub queues: HashMap<String, MemoryQueue>,
    /// Queues by exchange and routing key.
    pub bindings: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// The kinds of exchanges that are not direct.
    pub kinds: HashMap<String, ExchangeKind>,
    pub consumers: HashMap<u64, ConsumerState>,
    pub connections: HashMap<u64, ConnectionEntry>,
    /// The locks by name. A token is cancelled when the holder is gone.
    pub locks: HashMap<String, CancellationToken>,
    pub next_sequence: u64,
    pub next_id: u64,
    pub generation: u64,
    pub stopped: bool,
    pub duplicates: Duplicates,
    pub hook: Option<FaultHook>,
}

impl MemoryQueues {
    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub fn declare_exchange(&mut self, exchange: &str) {
        self.bindings.entry(exchange.to_owned()).or_default();
    }

    pub fn bind(&mut self, exchange: &str, routing_key: &str, queue: &str) {
        self.bindings
            .entry(exchange.to_owned())
            .or_default()
            .entry(routing_key.to_owned())
            .or_default()
            .insert(queue.to_owned());
    }

    /// Declares an exchange for broadcasts. An existing one keeps its kind.
    pub fn declare_broadcast(&mut self, exchange: &ExchangeDeclare) {
        if !self.bindings.contains_key(&exchange.name) {
            self.declare_exchange(&exchange.name);
            self.kinds.insert(exchange.name.clone(), exchange.kind);
        }
    }

    /// Whether an exchange is one for broadcasts. No work depends on broadcasts, and their times vary, so the fault hook, which
    /// counts the steps of a program, does not see them.
    pub fn is_broadcast(&self, exchange: &str) -> bool {
        self.kinds.contains_key(exchange)
    }

    pub fn declare_mailbox(&mut self, mailbox: &Mailbox) {
        self.declare_broadcast(&mailbox.exchange);
        let queue = self.queues.entry(mailbox.queue.name.clone()).or_default();
        queue.auto_delete = mailbox.queue.auto_delete;
        let ttl = mailbox.queue.arguments.get("x-message-ttl").and_then(FieldValue::as_i64);
        queue.message_ttl = ttl.and_then(|ttl| u64::try_from(ttl).ok()).map(Duration::from_millis);
        self.bind(&mailbox.binding.exchange, &mailbox.binding.routing_key, &mailbox.binding.queue);
    }

    /// Deletes a queue and its bindings.
    fn delete(&mut self, name: &str) {
        self.queues.remove(name);
        for keys in self.bindings.values_mut() {
            keys.retain(|_, queues| {
                queues.remove(name);
                !queues.is_empty()
            });
        }
    }

    /// The queues a message goes to.
    pub fn route(&self, exchange: &str, routing_key: &str) -> Vec<String> {
        if exchange.is_empty() {
            return self.queues.contains_key(routing_key).then(|| routing_key.to_owned()).into_iter().collect();
        }
        let Some(keys) = self.bindings.get(exchange) else {
            return Vec::new();
        };
        let kind = self.kinds.get(exchange).copied().unwrap_or(ExchangeKind::Direct);
        let fits = |key: &str| match kind {
            ExchangeKind::Direct => key == routing_key,
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => topic_matches(key, routing_key),
        };
        let queues = keys.iter().filter(|(key, _)| fits(key)).flat_map(|(_, queues)| queues);
        let queues: BTreeSet<&String> = queues.filter(|queue| self.queues.contains_key(*queue)).collect();
        queues.into_iter().cloned().collect()
    }

    pub fn push(&mut self, queue: &str, message: QueuedMessage) {
        let copy = (self.duplicates == Duplicates::Together && is_task(&message.message) && !message.copy)
            .then(|| QueuedMessage { copy: true, redelivered: true, ..message.clone() });
        for message in [Some(message), copy].into_iter().flatten() {
            self.next_sequence += 1;
            let sequence = self.next_sequence;
            if let Some(queue) = self.queues.get_mut(queue) {
                let mut message = message;
                if let Some(ttl) = queue.message_ttl {
                    let now = Instant::now();
                    message.expires = Some(message.expires.map_or(now + ttl, |at| at.min(now + ttl)));
                    // So that an unread queue does not grow for ever.
                    while queue.ready.first_key_value().is_some_and(|(_, old)| old.expires.is_some_and(|at| at <= now))
                    {
                        queue.ready.pop_first();
                    }
                }
                queue.ready.insert(sequence, message);
                queue.wake.notify_waiters();
            }
        }
    }

    /// Returns unacknowledged messages to their places, marked as redelivered.
    pub fn requeue(&mut self, queue: &str, unacked: impl IntoIterator<Item = (u64, QueuedMessage)>) {
        if let Some(queue) = self.queues.get_mut(queue) {
            for (sequence, mut message) in unacked {
                message.redelivered = true;
                queue.ready.insert(sequence, message);
                queue.wake.notify_waiters();
            }
        }
    }

    /// The next message for a consumer, if there is one and the consumer has room. Drops expired messages.
    pub fn take(&mut self, consumer: u64, no_ack: bool) -> Option<(u64, QueuedMessage, u64)> {
        let consumer = self.consumers.get_mut(&consumer)?;
        if consumer.cancelled || consumer.prefetch.is_some_and(|limit| consumer.unacked.len() >= limit) {
            return None;
        }
        let queue = self.queues.get_mut(&consumer.queue)?;
        let now = Instant::now();
        while let Some((sequence, message)) = queue.ready.pop_first() {
            if message.expires.is_some_and(|at| at <= now) {
                continue;
            }
            if !no_ack {
                consumer.unacked.insert(sequence, message.clone());
            }
            return Some((sequence, message, consumer.generation));
        }
        None
    }

    /// Removes a consumer and requeues its unacknowledged messages.
    pub fn remove_consumer(&mut self, id: u64) {
        let Some(consumer) = self.consumers.remove(&id) else {
            return;
        };
        self.requeue(&consumer.queue, consumer.unacked);
        consumer.wake.notify_waiters();
        let gone = self.queues.get_mut(&consumer.queue).is_some_and(|queue| {
            let was_there = queue.consumers.remove(&id);
            was_there && queue.auto_delete && queue.consumers.is_empty()
        });
        if gone {
            self.delete(&consumer.queue);
        }
    }

    pub fn wake_everyone(&self) {
        for queue in self.queues.values() {
            queue.wake.notify_waiters();
        }
        for consumer in self.consumers.values() {
            consumer.wake.notify_waiters();
        }
    }
}

/// When to drop a message with this `expiration` (milliseconds, as text).
pub(super) fn expiry(message: &Message) -> Result<Option<Instant>, &'static str> {
    match message.properties.expiration.as_deref() {
        None => Ok(None),
        Some(text) => {
            let milliseconds: u32 = text.parse().map_err(|_| "expiration is not a number of milliseconds")?;
            Ok(Some(Instant::now() + Duration::from_millis(u64::from(milliseconds))))
        }
    }
}

pub(super) fn task_name(message: &Message) -> Option<String> {
    message.headers.get("task").and_then(|name| name.as_str()).map(str::to_owned)
}

fn is_task(message: &Message) -> bool {
    message.headers.get("task").is_some()
}
