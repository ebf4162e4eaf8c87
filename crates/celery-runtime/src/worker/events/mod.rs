//! Events for monitors (`reference §4`).
//!
//! Work never waits for them: a task's events are put into a bounded queue and forgotten, one task of the runtime sends
//! them in batches without asking the broker for a confirm, and what does not fit is dropped, as is everything while the
//! broker is away.

mod send;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use celery_protocol::{
    LamportClock,
    events::{Event, EventKind, TaskShown},
    python::{args_repr, kwargs_repr},
};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::{
    control::seconds,
    registry::{TaskEvent, TaskEventKind, TaskEvents},
};

pub(super) use send::run;

/// Task events that wait to be sent.
const WAITING: usize = 4096;

/// What a worker tells monitors without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkerEvents {
    /// Nothing.
    Off,
    /// That it is there, every two seconds; what happens to tasks once `enable_events` asks for it.
    #[default]
    Worker,
    /// What happens to tasks too, as `celery worker -E` does.
    Tasks,
}

/// Takes events from all over the worker and hands them to whoever sends them.
pub(super) struct Events {
    node: String,
    clock: Arc<LamportClock>,
    /// Task events are wanted.
    enabled: AtomicBool,
    /// They can be sent: the broker is there and takes them.
    open: AtomicBool,
    queue: mpsc::Sender<Event>,
    beat: Notify,
}

impl Events {
    pub fn new(node: &str, clock: Arc<LamportClock>, wanted: WorkerEvents) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (queue, waiting) = mpsc::channel(WAITING);
        let events = Self {
            node: node.to_owned(),
            clock,
            enabled: AtomicBool::new(wanted == WorkerEvents::Tasks),
            open: AtomicBool::new(false),
            queue,
            beat: Notify::new(),
        };
        (Arc::new(events), waiting)
    }

    /// Switches task events; `false` if they were so already.
    pub fn enable(&self, enabled: bool) -> bool {
        self.enabled.swap(enabled, Relaxed) != enabled
    }

    /// Has a heartbeat sent at once.
    pub fn beat_now(&self) {
        self.beat.notify_one();
    }

    fn make(&self, kind: EventKind, uuid: Option<String>, at: Timestamp) -> Event {
        Event {
            kind,
            uuid,
            hostname: self.node.clone(),
            pid: std::process::id(),
            clock: self.clock.forward(),
            // Times are told in UTC whatever the host's zone is.
            utcoffset: 0.0,
            timestamp: seconds(at),
        }
    }
}

impl TaskEvents for Events {
    fn wanted(&self) -> bool {
        self.enabled.load(Relaxed) && self.open.load(Relaxed)
    }

    fn event(&self, event: TaskEvent) {
        let TaskEvent { id, task, at, kind } = event;
        let kind = match kind {
            TaskEventKind::Received => EventKind::TaskReceived(task.as_deref().map(shown).unwrap_or_default()),
            TaskEventKind::Started => EventKind::TaskStarted,
            TaskEventKind::Succeeded { result, runtime } => {
                EventKind::TaskSucceeded { result, runtime: runtime.as_secs_f64() }
            }
            TaskEventKind::Failed { exception, traceback } => EventKind::TaskFailed { exception, traceback },
            TaskEventKind::Retried { exception, traceback } => EventKind::TaskRetried { exception, traceback },
            TaskEventKind::Revoked { terminated, signum, expired } => {
                EventKind::TaskRevoked { terminated, signum: signum.as_deref().map(number), expired }
            }
            TaskEventKind::Rejected { requeue } => EventKind::TaskRejected { requeue },
            TaskEventKind::Cancelled => EventKind::TaskCancelled,
        };
        if self.queue.try_send(self.make(kind, Some(id), at)).is_err() {
            tracing::debug!(worker = self.node, "dropped an event");
        }
    }
}

/// A signal's number on Linux; Python tells the number.
fn number(signal: &str) -> i64 {
    match signal.trim_start_matches("SIG") {
        "HUP" => 1,
        "INT" => 2,
        "QUIT" => 3,
        "KILL" => 9,
        "USR1" => 10,
        "USR2" => 12,
        other => other.parse().unwrap_or(15),
    }
}

fn shown(task: &celery_protocol::TaskRequest) -> TaskShown {
    let headers = &task.headers;
    let text = |time: &Option<celery_protocol::WireTime>| time.as_ref().map(|time| time.as_str().to_owned());
    TaskShown {
        name: headers.shadow.clone().unwrap_or_else(|| task.name().to_owned()),
        args: headers.argsrepr.clone().unwrap_or_else(|| args_repr(&task.args)),
        kwargs: headers.kwargsrepr.clone().unwrap_or_else(|| kwargs_repr(&task.kwargs)),
        root_id: headers.root_id.clone(),
        parent_id: headers.parent_id.clone(),
        retries: headers.retries,
        eta: text(&headers.eta),
        expires: text(&headers.expires),
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("enabled", &self.enabled).field("open", &self.open).finish_non_exhaustive()
    }
}
