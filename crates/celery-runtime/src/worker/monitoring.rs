//! Remote control and events, which run beside the work.

use std::{sync::Arc, time::Duration};

use celery_protocol::LamportClock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{
    control,
    events::{self, EventQueue, WorkerEvents},
    worker_core::WorkerCore,
};

/// How long the last events may take.
const OFFLINE_TIMEOUT: Duration = Duration::from_secs(2);

/// Remote control and events, until it is dropped.
pub(super) struct Monitoring {
    core: Arc<WorkerCore>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// Whether the registry's listener is this worker's event queue.
    listening: bool,
}

impl Monitoring {
    /// Starts both.
    pub fn start(core: &Arc<WorkerCore>) -> Self {
        let (clock, stop) = (Arc::new(LamportClock::default()), CancellationToken::new());
        let (events, waiting) = EventQueue::new(&core.name, clock.clone(), core.events);
        let (mut tasks, mut listening) = (JoinSet::new(), false);
        if core.events != WorkerEvents::Off {
            // The owner of the worker may have set a listener before.
            listening = core.registry.events.offer(events.clone());
            tasks.spawn(events::run(core.clone(), events.clone(), waiting, stop.clone()).in_current_span());
        }
        tasks.spawn(control::run(core.clone(), events, clock, stop.clone()).in_current_span());
        Self { core: core.clone(), tasks, stop, listening }
    }

    /// Sends that the worker is offline, and ends both.
    pub async fn end(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(OFFLINE_TIMEOUT, all).await.is_err() {
            tracing::debug!("offline event not sent in time");
        }
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.stop.cancel();
        // The registry outlives the worker, and would keep events for no one.
        if self.listening {
            self.core.registry.set_events(None);
        }
    }
}
