//! The queue between the tasks that events are about and the sender.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use celery_protocol::{
    LamportClock, TaskRequest, WireTime,
    events::{Event, EventKind, TaskShown},
    python::{args_repr, kwargs_repr},
};
use jiff::Timestamp;
use tokio::sync::{Notify, mpsc};

use super::mode::WorkerEvents;
use crate::{
    clock,
    worker::registry::{TaskEvent, TaskEventKind, TaskEvents},
};

/// The most task events that wait to be sent.
const MAX_WAITING_EVENTS: usize = 4096;

/// Takes events from all parts of a worker.
pub(in crate::worker) struct EventQueue {
    node: String,
    clock: Arc<LamportClock>,
    /// Whether task events are wanted.
    enabled: AtomicBool,
    /// Whether they can be sent: the broker is there and takes them.
    pub(super) open: AtomicBool,
    queue: mpsc::Sender<Event>,
    /// Notified when a heartbeat is to be sent now.
    pub(super) beat: Notify,
}

impl EventQueue {
    pub fn new(node: &str, clock: Arc<LamportClock>, wanted: WorkerEvents) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (queue, waiting) = mpsc::channel(MAX_WAITING_EVENTS);
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

    /// Sends a heartbeat now.
    pub fn beat_now(&self) {
        self.beat.notify_one();
    }

    /// An event of this worker.
    pub(super) fn make(&self, kind: EventKind, uuid: Option<String>, at: Timestamp) -> Event {
        Event {
            kind,
            uuid,
            hostname: self.node.clone(),
            pid: std::process::id(),
            clock: self.clock.forward(),
            // Times are sent in UTC, in whatever zone the host is.
            utcoffset: 0.0,
            timestamp: clock::unix_seconds(at),
        }
    }
}

impl TaskEvents for EventQueue {
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
                EventKind::TaskRevoked { terminated, signum: signum.as_deref().map(signal_number), expired }
            }
            TaskEventKind::Rejected { requeue } => EventKind::TaskRejected { requeue },
            TaskEventKind::Cancelled => EventKind::TaskCancelled,
        };
        if self.queue.try_send(self.make(kind, Some(id), at)).is_err() {
            tracing::debug!("event dropped: the queue is full");
        }
    }
}

/// A signal's number on Linux, which is what Python sends.
fn signal_number(signal: &str) -> i64 {
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

fn shown(task: &TaskRequest) -> TaskShown {
    let headers = &task.headers;
    let text = |time: &Option<WireTime>| time.as_ref().map(|time| time.as_str().to_owned());
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

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue").field("enabled", &self.enabled).field("open", &self.open).finish_non_exhaustive()
    }
}
