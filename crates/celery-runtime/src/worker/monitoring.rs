//! What goes on beside the work while a worker runs: remote control and events.

use std::{sync::Arc, time::Duration};

use celery_protocol::LamportClock;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Shared, control,
    events::{self, Events, WorkerEvents},
};

/// How long the last words may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Both, until it is dropped.
pub(super) struct Monitoring {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    /// The registry tells our events, and not somebody else.
    ours: bool,
}

impl Monitoring {
    pub fn start(shared: &Arc<Shared>) -> Self {
        let (clock, stop) = (Arc::new(LamportClock::default()), CancellationToken::new());
        let (events, waiting) = Events::new(&shared.name, clock.clone(), shared.events);
        let (mut tasks, mut ours) = (JoinSet::new(), false);
        if shared.events != WorkerEvents::Off {
            // Whoever built the worker may want to hear of tasks instead.
            ours = shared.registry.offer_events(events.clone());
            tasks.spawn(events::run(shared.clone(), events.clone(), waiting, stop.clone()));
        }
        tasks.spawn(control::run(shared.clone(), events, clock, stop.clone()));
        Self { shared: shared.clone(), tasks, stop, ours }
    }

    /// Says that the worker is offline and ends both.
    pub async fn end(mut self) {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(FAREWELL, all).await.is_err() {
            tracing::debug!(worker = self.shared.name, "monitors could not be told that the worker ends");
        }
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        self.stop.cancel();
        // The registry outlives the worker, and would keep what is told to nobody.
        if self.ours {
            self.shared.registry.set_events(None);
        }
    }
}
