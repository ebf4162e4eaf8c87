//! The health of one worker, shared by its loops, its tasks and its endpoints.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tuf_core::time::UtcTime;

use super::state::HealthState;
use super::status::{ProcessStatus, StatusBody};
use crate::identity::ProcessIdentity;
use crate::metrics::ProcessMetrics;
use crate::sync::lock;

/// The health of one worker; clones share it. No method waits for work.
#[derive(Debug)]
pub struct WorkerHealth<S> {
    shared: Arc<SharedHealth<S>>,
}

#[derive(Debug)]
struct SharedHealth<S> {
    facts: Mutex<HealthFacts<S>>,
    identity: ProcessIdentity,
    metrics: ProcessMetrics,
}

#[derive(Debug)]
struct HealthFacts<S> {
    state: HealthState,
    /// The last state that was not [`HealthState::Working`], so that the same finding is logged once.
    settled: HealthState,
    body: S,
    last_work: Option<UtcTime>,
    /// `None` for a worker without a broker.
    broker_connected: Option<bool>,
    loops: BTreeMap<u64, LoopProgress>,
    next_loop: u64,
}

#[derive(Debug)]
struct LoopProgress {
    name: String,
    max_silence: Duration,
    last: Instant,
}

/// The loop that [`WorkerHealth::progress`] speaks of.
const MAIN_LOOP: u64 = 0;

impl<S> Clone for WorkerHealth<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: StatusBody> WorkerHealth<S> {
    /// Health of the process `identity`, in [`HealthState::Starting`], with the system's own fields as `body` has them.
    /// The main loop may be silent for `max_silence` before `/livez` fails; it calls [`WorkerHealth::progress`].
    #[must_use]
    pub fn new(identity: ProcessIdentity, body: S, max_silence: Duration, metrics: ProcessMetrics) -> Self {
        let main = LoopProgress { name: "main".into(), max_silence, last: Instant::now() };
        let facts = HealthFacts {
            state: HealthState::Starting,
            settled: HealthState::Starting,
            body,
            last_work: None,
            broker_connected: None,
            loops: BTreeMap::from([(MAIN_LOOP, main)]),
            next_loop: MAIN_LOOP + 1,
        };
        Self { shared: Arc::new(SharedHealth { facts: Mutex::new(facts), identity, metrics }) }
    }

    /// The metrics served beside it.
    #[must_use]
    pub fn metrics(&self) -> &ProcessMetrics {
        &self.shared.metrics
    }

    /// The main loop went round once.
    pub fn progress(&self) {
        self.beat(MAIN_LOOP);
    }

    /// Adds a loop of its own that must beat at least every `max_silence`, until the heartbeat is dropped.
    #[must_use]
    pub fn heartbeat(&self, name: impl Into<String>, max_silence: Duration) -> Heartbeat<S> {
        let mut facts = self.facts();
        let id = facts.next_loop;
        facts.next_loop += 1;
        facts.loops.insert(id, LoopProgress { name: name.into(), max_silence, last: Instant::now() });
        Heartbeat { health: self.clone(), id }
    }

    /// Changes the state. A state other than [`HealthState::Working`] is logged when it differs from the last such state;
    /// work in between is not a change.
    pub fn set_state(&self, state: HealthState) {
        let changed = {
            let mut facts = self.facts();
            facts.state = state.clone();
            if state == HealthState::Working {
                return;
            }
            let before = std::mem::replace(&mut facts.settled, state.clone());
            before != state
        };
        self.shared.metrics.alarm(matches!(state, HealthState::Alarm(_)));
        self.shared.metrics.ready(self.missing().is_empty());
        if !changed {
            return;
        }
        match &state {
            HealthState::Alarm(detail) => {
                tracing::error!(worker.state = "alarm", detail, "alarm: operator action needed");
            }
            HealthState::Waiting(detail) => tracing::warn!(worker.state = "waiting", detail, "waiting"),
            HealthState::Ready => tracing::info!(worker.state = "ready", "ready"),
            HealthState::Starting | HealthState::Working => {}
        }
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> HealthState {
        self.facts().state.clone()
    }

    /// The last state that was not [`HealthState::Working`].
    #[must_use]
    pub fn settled(&self) -> HealthState {
        self.facts().settled.clone()
    }

    /// Whether the broker is connected; a worker that never says so has none and is ready without.
    pub fn set_broker_connected(&self, connected: bool) {
        let before = self.facts().broker_connected.replace(connected);
        self.shared.metrics.broker_connected(connected);
        self.shared.metrics.ready(self.missing().is_empty());
        if before != Some(connected) {
            tracing::info!(broker.connected = connected, "broker connection changed");
        }
    }

    /// Work that changed something ended at `now`.
    pub fn worked(&self, now: UtcTime) {
        self.facts().last_work = Some(now);
        self.shared.metrics.worked(now);
    }

    /// Changes the system's own fields of the status. The fields of [`ProcessStatus`] stay as the process has them.
    pub fn update(&self, change: impl FnOnce(&mut S)) {
        change(&mut self.facts().body);
    }

    /// The body of `/status`, which the task `status` answers too.
    #[must_use]
    pub fn status(&self) -> S {
        let facts = self.facts();
        let ProcessIdentity { worker, version, instance } = self.shared.identity.clone();
        let mut body = facts.body.clone();
        body.set_process(ProcessStatus {
            worker,
            instance,
            version,
            state: facts.state.name(),
            // Work in hand does not resolve what was wrong before it; its outcome does.
            detail: facts.state.detail().or(facts.settled.detail()).map(str::to_owned),
            broker_connected: facts.broker_connected,
            last_work: facts.last_work.map(|time| time.to_string()),
        });
        body
    }

    /// The loops that have been silent for too long; empty while the worker is live.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let silent = |one: &&LoopProgress| one.last.elapsed() > one.max_silence;
        self.facts().loops.values().filter(silent).map(|one| one.name.clone()).collect()
    }

    /// The obstacles that keep the worker from its job; empty while it is ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let facts = self.facts();
        let mut missing = Vec::new();
        if facts.broker_connected == Some(false) {
            missing.push("the broker is not connected".to_owned());
        }
        // Trying again does not end an alarm or a wait; its outcome does.
        let state = if facts.state == HealthState::Working { &facts.settled } else { &facts.state };
        match state {
            HealthState::Ready | HealthState::Working => {}
            HealthState::Starting => missing.push("starting".to_owned()),
            HealthState::Waiting(detail) => missing.push(format!("waiting: {detail}")),
            HealthState::Alarm(detail) => missing.push(format!("alarm: {detail}")),
        }
        missing
    }

    fn beat(&self, id: u64) {
        if let Some(one) = self.facts().loops.get_mut(&id) {
            one.last = Instant::now();
        }
    }

    fn facts(&self) -> MutexGuard<'_, HealthFacts<S>> {
        lock(&self.shared.facts)
    }
}

/// The sign of life of one loop; dropped when the loop ends.
#[derive(Debug)]
pub struct Heartbeat<S: StatusBody> {
    health: WorkerHealth<S>,
    id: u64,
}

impl<S: StatusBody> Heartbeat<S> {
    /// The loop went round once.
    pub fn beat(&self) {
        self.health.beat(self.id);
    }
}

impl<S: StatusBody> Drop for Heartbeat<S> {
    fn drop(&mut self) {
        self.health.facts().loops.remove(&self.id);
    }
}
