//! Queues, bindings and unacknowledged deliveries: the broker's data, under one lock.

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
use crate::broker::ConnectionState;

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub message: Arc<Message>,
    pub exchange: String,
    pub routing_key: String,
    pub redelivered: bool,
    pub expires: Option<Instant>,
    /// A copy made by [`Duplicates`], which is not copied again.
    pub copy: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    /// By sequence number, so that what is requeued takes its old place.
    pub ready: BTreeMap<u64, Stored>,
    pub consumers: HashSet<u64>,
    /// Signalled when something became ready.
    pub wake: Arc<Notify>,
    /// Deleted when its last consumer leaves.
    pub auto_delete: bool,
    /// How long a message stays unread.
    pub message_ttl: Option<Duration>,
}

/// What a consumer holds.
#[derive(Debug)]
pub(super) struct ConsumerState {
    pub queue: String,
    pub connection: u64,
    pub generation: u64,
    pub prefetch: Option<usize>,
    pub unacked: BTreeMap<u64, Stored>,
    pub cancelled: bool,
    /// Signalled when there is room for another delivery, or the consumer is to end.
    pub wake: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub generation: u64,
    pub state: watch::Sender<ConnectionState>,
}

#[derive(Default)]
pub(super) struct State {
    pub queues: HashMap<String, Queue>,
    /// Queues by exchange and routing key.
    pub bindings: HashMap<String, HashMap<String, BTreeSet<String>>>,
    /// How an exchange reads the keys of its bindings; direct, unless it says otherwise.
    pub kinds: HashMap<String, ExchangeKind>,
    pub consumers: HashMap<u64, ConsumerState>,
    pub connections: HashMap<u64, Connection>,
    /// Cancelled when its holder is gone.
    pub locks: HashMap<String, CancellationToken>,
    pub next_sequence: u64,
    pub next_id: u64,
    pub generation: u64,
    pub stopped: bool,
    pub duplicates: Duplicates,
    pub hook: Option<FaultHook>,
}

impl State {
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

    /// An exchange for broadcasts; one that exists stays what it is.
    pub fn declare_broadcast(&mut self, exchange: &ExchangeDeclare) {
        if !self.bindings.contains_key(&exchange.name) {
            self.declare_exchange(&exchange.name);
            self.kinds.insert(exchange.name.clone(), exchange.kind);
        }
    }

    /// Whether what goes through an exchange is broadcast. Nothing depends on its arrival and its times are its own, so that
    /// a hook, which counts what a program does, does not hear of it.
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

    /// Deletes a queue and what is bound to it.
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

    pub fn push(&mut self, queue: &str, stored: Stored) {
        let copy = (self.duplicates == Duplicates::Together && is_task(&stored.message) && !stored.copy)
            .then(|| Stored { copy: true, redelivered: true, ..stored.clone() });
        for stored in [Some(stored), copy].into_iter().flatten() {
            self.next_sequence += 1;
            let sequence = self.next_sequence;
            if let Some(queue) = self.queues.get_mut(queue) {
                let mut stored = stored;
                if let Some(ttl) = queue.message_ttl {
                    let now = Instant::now();
                    stored.expires = Some(stored.expires.map_or(now + ttl, |at| at.min(now + ttl)));
                    // Lest a queue nobody reads grows for ever.
                    while queue.ready.first_key_value().is_some_and(|(_, old)| old.expires.is_some_and(|at| at <= now))
                    {
                        queue.ready.pop_first();
                    }
                }
                queue.ready.insert(sequence, stored);
                queue.wake.notify_waiters();
            }
        }
    }

    /// Puts unacknowledged messages back where they were, marked as redelivered.
    pub fn requeue(&mut self, queue: &str, unacked: impl IntoIterator<Item = (u64, Stored)>) {
        if let Some(queue) = self.queues.get_mut(queue) {
            for (sequence, mut stored) in unacked {
                stored.redelivered = true;
                queue.ready.insert(sequence, stored);
                queue.wake.notify_waiters();
            }
        }
    }

    /// The next message for a consumer, if there is one it has room for. Expired ones are dropped on the way.
    pub fn take(&mut self, consumer: u64, no_ack: bool) -> Option<(u64, Stored, u64)> {
        let consumer = self.consumers.get_mut(&consumer)?;
        if consumer.cancelled || consumer.prefetch.is_some_and(|limit| consumer.unacked.len() >= limit) {
            return None;
        }
        let queue = self.queues.get_mut(&consumer.queue)?;
        let now = Instant::now();
        while let Some((sequence, stored)) = queue.ready.pop_first() {
            if stored.expires.is_some_and(|at| at <= now) {
                continue;
            }
            if !no_ack {
                consumer.unacked.insert(sequence, stored.clone());
            }
            return Some((sequence, stored, consumer.generation));
        }
        None
    }

    /// Removes a consumer and returns what it held to the queue.
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

/// When a message with this `expiration` (milliseconds, as text) is to be dropped.
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
