//! The connections of a server: a bounded number, where one without a request makes room for a new one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a connection is doing.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests whose answers are not complete.
    requests: AtomicUsize,
    /// Whether bytes of an answer wait for the client.
    writing: AtomicBool,
    ended: AtomicBool,
}

impl Activity {
    /// Notes whether a write waits for the client.
    pub(super) fn set_writing(&self, writing: bool) {
        self.writing.store(writing, Ordering::Relaxed);
    }

    fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0 && !self.writing.load(Ordering::Relaxed)
    }
}

/// A request in hand, until its answer is complete.
#[derive(Debug)]
pub(super) struct RequestInHand {
    activity: Arc<Activity>,
    changed: Arc<Notify>,
}

impl Drop for RequestInHand {
    fn drop(&mut self) {
        self.activity.requests.fetch_sub(1, Ordering::Release);
        self.changed.notify_one();
    }
}

/// One connection, until it ends.
#[derive(Debug)]
pub(super) struct ConnectionPlace {
    activity: Arc<Activity>,
    changed: Arc<Notify>,
    /// Cancelled when the connection has to make room.
    pub(super) evicted: CancellationToken,
}

impl ConnectionPlace {
    pub(super) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// Notes that a request begins.
    pub(super) fn begin_request(&self) -> RequestInHand {
        self.activity.requests.fetch_add(1, Ordering::Acquire);
        RequestInHand { activity: Arc::clone(&self.activity), changed: Arc::clone(&self.changed) }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.activity.ended.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// The connections, oldest first.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: VecDeque<(Arc<Activity>, CancellationToken)>,
    /// Notified when a connection ends or finishes a request.
    changed: Arc<Notify>,
}

impl Connections {
    /// At most `most` connections, and no fewer than one.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), open: VecDeque::new(), changed: Arc::default() }
    }

    /// A place for a connection that was just accepted. When all are taken, the oldest connection without a request is
    /// closed; when all have requests, this waits for one.
    pub(super) async fn place(&mut self) -> ConnectionPlace {
        loop {
            self.open.retain(|(activity, _)| !activity.ended.load(Ordering::Acquire));
            if self.open.len() < self.most {
                break;
            }
            if let Some(index) = self.open.iter().position(|(activity, _)| activity.is_idle())
                && let Some((_, evicted)) = self.open.remove(index)
            {
                evicted.cancel();
                break;
            }
            self.changed.notified().await;
        }
        let (activity, evicted) = (Arc::<Activity>::default(), CancellationToken::new());
        self.open.push_back((Arc::clone(&activity), evicted.clone()));
        ConnectionPlace { activity, changed: Arc::clone(&self.changed), evicted }
    }
}
