//! Health of a worker: what it says of itself, whether it makes progress, and the endpoints that tell.
//!
//! - `/livez`: 200 while every loop of the worker makes progress, 503 otherwise. It says nothing of the broker or of the
//!   repository, because starting the process again heals neither.
//! - `/readyz`: 200 while the worker can do its job; the body names what is missing.
//! - `/status`: the [`WorkerStatus`] as JSON, the same as the task `status` answers.
//! - `/metrics`: OpenMetrics text.

mod probe;
mod server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tuf_core::time::UtcTime;

use crate::contract::WorkerStatus;
use crate::metrics::Metrics;

pub use probe::{Probe, probe};
pub use server::{bind, serve};

/// What a worker is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not looked at anything yet.
    Starting,
    /// Something that is not wrong is not there yet (no root, no record).
    Waiting(String),
    /// It has nothing to do.
    Ready,
    /// It does something.
    Working,
    /// It refuses to work until an operator acts.
    Alarm(String),
}

impl State {
    /// The word of [`WorkerStatus::state`].
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Waiting(_) => "waiting",
            Self::Ready => "ready",
            Self::Working => "working",
            Self::Alarm(_) => "alarm",
        }
    }

    fn detail(&self) -> Option<&str> {
        match self {
            Self::Waiting(detail) | Self::Alarm(detail) => Some(detail),
            Self::Starting | Self::Ready | Self::Working => None,
        }
    }
}

/// The health of one worker; clones share it. No method waits for work.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    data: Mutex<Data>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Data {
    state: State,
    /// The last state that was not [`State::Working`], so that the same finding is logged once.
    settled: State,
    status: WorkerStatus,
    /// `None` for a worker without a broker.
    broker_connected: Option<bool>,
    loops: BTreeMap<u64, Loop>,
    next_loop: u64,
}

#[derive(Debug)]
struct Loop {
    name: String,
    max_silence: Duration,
    last: Instant,
}

/// The loop that [`Health::progress`] speaks of.
const MAIN_LOOP: u64 = 0;

impl Health {
    /// Health of a worker of `role`, in [`State::Starting`]. Its main loop may be silent for `max_silence` before
    /// `/livez` fails; it calls [`Health::progress`].
    #[must_use]
    pub fn new(
        worker: &str,
        role: &str,
        version: &str,
        instance: &str,
        max_silence: Duration,
        metrics: Metrics,
    ) -> Self {
        let main = Loop { name: "main".into(), max_silence, last: Instant::now() };
        let status = WorkerStatus {
            worker: worker.into(),
            instance: instance.into(),
            version: version.into(),
            role: role.into(),
            state: State::Starting.name().into(),
            ..WorkerStatus::default()
        };
        let data = Data {
            state: State::Starting,
            settled: State::Starting,
            status,
            broker_connected: None,
            loops: BTreeMap::from([(MAIN_LOOP, main)]),
            next_loop: MAIN_LOOP + 1,
        };
        Self { inner: Arc::new(Inner { data: Mutex::new(data), metrics }) }
    }

    /// The metrics served beside it.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The main loop went round once.
    pub fn progress(&self) {
        self.beat(MAIN_LOOP);
    }

    /// Adds a loop of its own that must beat at least every `max_silence`, until the heartbeat is dropped.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<String>, max_silence: Duration) -> Heartbeat {
        let mut data = self.data();
        let id = data.next_loop;
        data.next_loop += 1;
        data.loops.insert(id, Loop { name: name.into(), max_silence, last: Instant::now() });
        Heartbeat { health: self.clone(), id }
    }

    /// Changes the state. What it settles on is logged when it differs from the last; work in between is not a change.
    pub fn set_state(&self, state: State) {
        let changed = {
            let mut data = self.data();
            data.status.state = state.name().into();
            data.status.detail = state.detail().map(str::to_owned);
            data.state = state.clone();
            if state == State::Working {
                return;
            }
            let before = std::mem::replace(&mut data.settled, state.clone());
            before != state
        };
        self.inner.metrics.alarm(matches!(state, State::Alarm(_)));
        self.inner.metrics.ready(self.missing().is_empty());
        if !changed {
            return;
        }
        match &state {
            State::Alarm(detail) => tracing::error!(worker.state = "alarm", "alarm, an operator has to act: {detail}"),
            State::Waiting(detail) => tracing::warn!(worker.state = "waiting", "waiting: {detail}"),
            State::Ready => tracing::info!(worker.state = "ready", "ready"),
            State::Starting | State::Working => {}
        }
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> State {
        self.data().state.clone()
    }

    /// The last state that was not [`State::Working`].
    #[must_use]
    pub fn settled(&self) -> State {
        self.data().settled.clone()
    }

    /// Whether the broker is connected; a worker that never says so has none and is ready without.
    pub fn set_broker_connected(&self, connected: bool) {
        let before = self.data().broker_connected.replace(connected);
        self.inner.metrics.broker_connected(connected);
        self.inner.metrics.ready(self.missing().is_empty());
        if before != Some(connected) {
            tracing::info!(
                broker.connected = connected,
                "broker {}",
                if connected { "connected" } else { "not connected" }
            );
        }
    }

    /// Work that changed something ended at `now`.
    pub fn worked(&self, now: UtcTime) {
        self.update(|status| status.last_work = Some(now.to_string()));
        self.inner.metrics.worked(now);
    }

    /// Changes what `/status` and the task `status` answer. State and detail are set by [`Health::set_state`] alone.
    pub fn update(&self, change: impl FnOnce(&mut WorkerStatus)) {
        let mut data = self.data();
        change(&mut data.status);
        data.status.state = data.state.name().into();
        data.status.detail = data.state.detail().map(str::to_owned);
    }

    /// What `/status` and the task `status` answer.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        let data = self.data();
        let mut status = data.status.clone();
        status.broker_connected = data.broker_connected;
        status
    }

    /// The loops that have been silent for too long; empty while the worker is live.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let silent = |one: &&Loop| one.last.elapsed() > one.max_silence;
        self.data().loops.values().filter(silent).map(|one| one.name.clone()).collect()
    }

    /// What keeps the worker from doing its job; empty while it is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let data = self.data();
        let mut missing = Vec::new();
        if data.broker_connected == Some(false) {
            missing.push("the broker is not connected".to_owned());
        }
        // Trying again does not end an alarm or a wait; its outcome does.
        let state = if data.state == State::Working { &data.settled } else { &data.state };
        match state {
            State::Ready | State::Working => {}
            State::Starting => missing.push("starting".to_owned()),
            State::Waiting(detail) => missing.push(format!("waiting: {detail}")),
            State::Alarm(detail) => missing.push(format!("alarm: {detail}")),
        }
        missing
    }

    fn beat(&self, id: u64) {
        if let Some(one) = self.data().loops.get_mut(&id) {
            one.last = Instant::now();
        }
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // Every change is a plain assignment, so that a panic elsewhere leaves nothing half done.
        self.inner.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sign of life of one loop; dropped when the loop ends.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    id: u64,
}

impl Heartbeat {
    /// The loop went round once.
    pub fn beat(&self) {
        self.health.beat(self.id);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.data().loops.remove(&self.id);
    }
}
