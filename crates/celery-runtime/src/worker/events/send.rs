//! The task that sends events.

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

use super::Events;
use crate::{
    broker::{Broadcast, BrokerError, Guarantee, Publish, PublishError},
    clock,
    worker::Shared,
};

/// How long a task event waits for others.
const GATHER: Duration = Duration::from_millis(100);
/// How long one message may take to be handed to the broker.
const HAND_OVER: Duration = Duration::from_secs(5);
/// The wait before another attempt after the broker could not be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends events until `stop`, and then that the worker is offline.
pub(in crate::worker) async fn run(
    shared: Arc<Shared>,
    events: Arc<Events>,
    waiting: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let mut sender = Sender { shared, events, waiting, batch: Vec::with_capacity(BATCH), since: Instant::now() };
    let mut connection = sender.shared.broker.connection_state();
    let mut told = false;
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
            Err(Trouble::Closed) => return,
            Err(Trouble::Refused(reason)) => {
                if !told {
                    tracing::info!(worker = sender.shared.name, reason, "working without events");
                    told = true;
                }
                // Another connection may have other rights.
                let other = connection.wait_for(|state| state.generation != generation);
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = other => if changed.is_err() { return },
                }
            }
            Err(Trouble::Away(reason)) => tracing::debug!(worker = sender.shared.name, reason, "no events yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Why there are no events.
enum Trouble {
    Closed,
    Refused(String),
    Away(String),
}

struct Sender {
    shared: Arc<Shared>,
    events: Arc<Events>,
    waiting: mpsc::Receiver<Event>,
    batch: Vec<Event>,
    /// When the oldest of the batch came.
    since: Instant,
}

impl Sender {
    /// Says so with a confirm, so that it is known whether the broker takes events at all.
    async fn come_online(&self) -> Result<(), Trouble> {
        match self.shared.broker.declare_broadcast(Broadcast::Events).await {
            Ok(()) => {}
            Err(BrokerError::Closed) => return Err(Trouble::Closed),
            Err(BrokerError::Unavailable { reason }) => return Err(Trouble::Away(reason)),
            Err(error) => return Err(Trouble::Refused(error.to_string())),
        }
        let online = self.events.make(EventKind::WorkerOnline(self.state()), None, clock::now());
        let guarantee = Guarantee::Confirmed { mandatory: false };
        let publish = self.publish(online.kind.routing_key(), worker_message(&online), guarantee);
        match self.shared.broker.publish(publish).await {
            Ok(()) => Ok(()),
            Err(PublishError::Closed) => Err(Trouble::Closed),
            Err(error @ (PublishError::Refused { .. } | PublishError::Invalid { .. })) => {
                Err(Trouble::Refused(error.to_string()))
            }
            Err(error) => Err(Trouble::Away(error.to_string())),
        }
    }

    /// Until the connection changes or the worker ends; whether it was the latter.
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
                    // What was told up to now, then the end.
                    while let Ok(event) = self.waiting.try_recv() {
                        self.add(event).await;
                    }
                    self.flush().await;
                    self.say(EventKind::WorkerOffline).await;
                    return true;
                }
                () = &mut moved => {
                    self.batch.clear();
                    while self.waiting.try_recv().is_ok() {}
                    return false;
                }
                _ = beat.tick() => self.say(EventKind::WorkerHeartbeat).await,
                () = events.beat.notified() => self.say(EventKind::WorkerHeartbeat).await,
                () = tokio::time::sleep_until(self.since + GATHER), if !self.batch.is_empty() => self.flush().await,
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
            let message = task_message(&self.shared.name, &self.batch);
            self.batch.clear();
            self.send(TASK_MULTI.to_owned(), message).await;
        }
    }

    async fn say(&self, kind: fn(WorkerState) -> EventKind) {
        let event = self.events.make(kind(self.state()), None, clock::now());
        self.send(event.kind.routing_key(), worker_message(&event)).await;
    }

    async fn send(&self, routing_key: String, message: Message) {
        let publish = self.publish(routing_key, message, Guarantee::FireAndForget);
        match tokio::time::timeout(HAND_OVER, self.shared.broker.publish(publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(worker = self.shared.name, %error, "an event was not sent"),
            Err(_) => tracing::debug!(worker = self.shared.name, "an event was not sent in time"),
        }
    }

    fn publish(&self, routing_key: String, message: Message, guarantee: Guarantee) -> Publish {
        Publish { exchange: EVENT_EXCHANGE.to_owned(), routing_key, message, guarantee }
    }

    fn state(&self) -> WorkerState {
        let counts = self.shared.counters.snapshot();
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

/// The system's load, with two decimals as Python's.
fn load() -> [f64; 3] {
    /// The kernel tells fractions of this.
    const ONE: f64 = 65_536.0;
    #[allow(clippy::cast_precision_loss, reason = "a load has a few digits")]
    rustix::system::sysinfo().loads.map(|load| (load as f64 / ONE * 100.0).round() / 100.0)
}
