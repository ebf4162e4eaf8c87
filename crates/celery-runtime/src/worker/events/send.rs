//! Sending the events of a worker.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use celery_protocol::{
    Message,
    events::{BATCH, Event, EventKind, HEARTBEAT_SECONDS, TASK_MULTI, WorkerState, task_message, worker_message},
    topology::EVENT_EXCHANGE,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

use super::queue::EventQueue;
use crate::{
    broker::{Broadcast, BrokerError, Guarantee, Publish, PublishError},
    clock,
    worker::worker_core::WorkerCore,
};

/// How long a task event waits for others to travel with.
const BATCH_WAIT: Duration = Duration::from_millis(100);
/// How long the broker may take to accept one message.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait before another attempt after the broker could not be reached.
const EVENTS_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Sends events until `stop`, and then that the worker is offline.
pub(in crate::worker) async fn run(
    core: Arc<WorkerCore>,
    events: Arc<EventQueue>,
    waiting: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let mut sender = EventSender { core, events, waiting, batch: Vec::with_capacity(BATCH), since: Instant::now() };
    let mut connection = sender.core.broker.connection_state();
    let mut logged = false;
    loop {
        let connected = connection.wait_for(|state| state.connected);
        let generation = tokio::select! {
            () = stop.cancelled() => return,
            state = connected => match state {
                Ok(state) => state.generation,
                Err(_) => return,
            },
        };
        match sender.come_online().await {
            Ok(()) => {
                sender.events.open.store(true, Relaxed);
                let moved = async {
                    let _ = connection.wait_for(|state| !state.connected || state.generation != generation).await;
                };
                let stopped = sender.serve(moved, &stop).await;
                sender.events.open.store(false, Relaxed);
                if stopped {
                    return;
                }
                continue;
            }
            Err(EventsUnavailable::Closed) => return,
            Err(error) if error.is_refusal() => {
                if !logged {
                    tracing::info!(%error, "working without events: the broker refuses them");
                    logged = true;
                }
                // Another connection may have other rights.
                let other = connection.wait_for(|state| state.generation != generation);
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = other => if changed.is_err() { return },
                }
            }
            Err(error) => tracing::debug!(%error, "no events yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVENTS_RETRY_WAIT) => {}
        }
    }
}

/// Why no events can be sent.
#[derive(Debug, thiserror::Error)]
enum EventsUnavailable {
    /// This process closed the broker.
    #[error("the broker was closed")]
    Closed,
    /// The exchange of events cannot be declared.
    #[error(transparent)]
    Declare(BrokerError),
    /// The first event cannot be published.
    #[error(transparent)]
    Publish(PublishError),
}

impl EventsUnavailable {
    /// Whether another attempt on the same connection is in vain.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Declare(error) => !matches!(error, BrokerError::Unavailable { .. }),
            Self::Publish(error) => matches!(error, PublishError::Refused { .. } | PublishError::Invalid { .. }),
        }
    }
}

struct EventSender {
    core: Arc<WorkerCore>,
    events: Arc<EventQueue>,
    waiting: mpsc::Receiver<Event>,
    batch: Vec<Event>,
    /// When the oldest of the batch came.
    since: Instant,
}

impl EventSender {
    /// Sends that the worker is online, with a confirm, which shows whether the broker takes events at all.
    async fn come_online(&self) -> Result<(), EventsUnavailable> {
        self.core.broker.declare_broadcast(Broadcast::Events).await.map_err(|error| match error {
            BrokerError::Closed => EventsUnavailable::Closed,
            error => EventsUnavailable::Declare(error),
        })?;
        let online = self.events.make(EventKind::WorkerOnline(self.state()), None, clock::now());
        let guarantee = Guarantee::Confirmed { mandatory: false };
        let publish = publish(online.kind.routing_key(), worker_message(&online), guarantee);
        self.core.broker.publish(publish).await.map_err(|error| match error {
            PublishError::Closed => EventsUnavailable::Closed,
            error => EventsUnavailable::Publish(error),
        })
    }

    /// Sends until the connection changes or the worker ends; whether it was the latter.
    async fn serve(&mut self, moved: impl Future<Output = ()>, stop: &CancellationToken) -> bool {
        let mut beat = tokio::time::interval(Duration::from_secs_f64(HEARTBEAT_SECONDS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let events = self.events.clone();
        let mut moved = std::pin::pin!(moved);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // The waiting events first, then the end.
                    while let Ok(event) = self.waiting.try_recv() {
                        self.add(event).await;
                    }
                    self.flush().await;
                    self.send_state(EventKind::WorkerOffline).await;
                    return true;
                }
                () = &mut moved => {
                    self.batch.clear();
                    while self.waiting.try_recv().is_ok() {}
                    return false;
                }
                _ = beat.tick() => self.send_state(EventKind::WorkerHeartbeat).await,
                () = events.beat.notified() => self.send_state(EventKind::WorkerHeartbeat).await,
                () = tokio::time::sleep_until(self.since + BATCH_WAIT), if !self.batch.is_empty() => self.flush().await,
                event = self.waiting.recv() => match event {
                    Some(event) => self.add(event).await,
                    None => return true,
                },
            }
        }
    }

    async fn add(&mut self, event: Event) {
        if self.batch.is_empty() {
            self.since = Instant::now();
        }
        self.batch.push(event);
        if self.batch.len() >= BATCH {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        if !self.batch.is_empty() {
            let message = task_message(&self.core.name, &self.batch);
            self.batch.clear();
            self.send(TASK_MULTI.to_owned(), message).await;
        }
    }

    async fn send_state(&self, kind: fn(WorkerState) -> EventKind) {
        let event = self.events.make(kind(self.state()), None, clock::now());
        self.send(event.kind.routing_key(), worker_message(&event)).await;
    }

    async fn send(&self, routing_key: String, message: Message) {
        let publish = publish(routing_key, message, Guarantee::FireAndForget);
        match tokio::time::timeout(SEND_TIMEOUT, self.core.broker.publish(publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "event not sent"),
            Err(_) => tracing::debug!("event not sent in time"),
        }
    }

    fn state(&self) -> WorkerState {
        let counts = self.core.counters.snapshot();
        WorkerState {
            active: counts.in_flight,
            processed: counts.received,
            loadavg: load(),
            sw_ident: "rs-celery".to_owned(),
            sw_ver: env!("CARGO_PKG_VERSION").to_owned(),
            sw_sys: "Linux".to_owned(),
        }
    }
}

fn publish(routing_key: String, message: Message, guarantee: Guarantee) -> Publish {
    Publish { exchange: EVENT_EXCHANGE.to_owned(), routing_key, message, guarantee }
}

/// The system's load, with two decimals as Python's.
fn load() -> [f64; 3] {
    /// The kernel reports loads as multiples of one part in this.
    const LOAD_SCALE: f64 = 65_536.0;
    #[allow(clippy::cast_precision_loss, reason = "a load has a few digits")]
    rustix::system::sysinfo().loads.map(|load| (load as f64 / LOAD_SCALE * 100.0).round() / 100.0)
}
