//! Waiting for results: one connection listens for everybody.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use celery_protocol::{Limits, ResultMeta};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use crate::{
    backend::{BackendError, Expectation, Waiting},
    broker::{backoff::Backoff, redis::fanout::silent},
    redis::{patience, words},
};

/// How many channels one command subscribes to.
const AT_ONCE: usize = 500;

/// Listens for as long as it is held.
pub(super) struct Listener {
    common: Arc<Common>,
    _listening: AbortOnDropHandle<()>,
}

struct Common {
    shared: Arc<Shared>,
    waiting: Arc<Waiting>,
    /// How many wait for a task.
    tasks: Mutex<HashMap<String, usize>>,
    /// The connection that listens, if there is one.
    sink: watch::Sender<Option<PubSubSink>>,
    /// Tasks nobody waits for any more.
    left: mpsc::UnboundedSender<String>,
}

/// Somebody who waits for a task.
struct Place {
    common: Arc<Common>,
    task_id: String,
    _expectation: Expectation,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tasks = self.common.tasks();
        if let Some(count) = tasks.get_mut(&self.task_id) {
            *count -= 1;
            if *count == 0 {
                tasks.remove(&self.task_id);
                // The listener may be gone, and its connection with it.
                let _ = self.common.left.send(self.task_id.clone());
            }
        }
    }
}

impl Common {
    fn tasks(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    pub fn start(shared: Arc<Shared>) -> Self {
        let (left, leaving) = mpsc::unbounded_channel();
        let common = Arc::new(Common {
            shared,
            waiting: Arc::default(),
            tasks: Mutex::default(),
            sink: watch::Sender::new(None),
            left,
        });
        let listening = tokio::spawn(listen(common.clone(), leaving));
        Self { common, _listening: AbortOnDropHandle::new(listening) }
    }

    /// Listens for the task's result, then looks whether it is there already: in this order nothing is missed.
    pub async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        let common = &self.common;
        let mut expectation = common.waiting.expect(task_id);
        let newest = expectation.newest().clone();
        *common.tasks().entry(task_id.to_owned()).or_default() += 1;
        let place = Place { common: common.clone(), task_id: task_id.to_owned(), _expectation: expectation };
        let redis = &common.shared.redis;
        let subscribing = async {
            let mut sinks = common.sink.subscribe();
            loop {
                let sink = sinks.borrow_and_update().clone();
                if let Some(mut sink) = sink
                    && sink.subscribe(common.shared.keys.result(task_id)).await.is_ok()
                {
                    return Ok(());
                }
                // Lost, or not there yet: the next one subscribes to everything that is waited for, this included.
                tokio::select! {
                    () = redis.closed.cancelled() => return Err(BackendError::Closed),
                    _ = sinks.changed() => {}
                }
            }
        };
        match tokio::time::timeout(redis.options.operation_timeout, subscribing).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(BackendError::Unavailable { reason: redis.reason() }),
        }
        if let Some(known) = common.shared.get(task_id).await? {
            common.waiting.accept(known);
        }
        Ok(Expectation::new(newest, place))
    }
}

async fn listen(common: Arc<Common>, mut leaving: mpsc::UnboundedReceiver<String>) {
    let redis = &common.shared.redis;
    let mut backoff = Backoff::new(&redis.options);
    while redis.link().await.is_some() {
        let since = tokio::time::Instant::now();
        let reason = match redis.open_listener().await {
            Ok(listener) => {
                let (sink, stream) = listener.split();
                tokio::select! {
                    () = redis.closed.cancelled() => break,
                    reason = serve(&common, sink, stream, &mut leaving) => reason,
                }
            }
            Err(reason) => reason,
        };
        common.sink.send_replace(None);
        tracing::debug!(%reason, "the listener for results lost its connection, listening again");
        if since.elapsed() > redis.options.max_retry {
            backoff.reset();
        }
        tokio::select! {
            () = redis.closed.cancelled() => break,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
    common.sink.send_replace(None);
    // Nobody will answer any more: everybody who waits learns it.
    common.waiting.close();
}

/// Listens until the connection is lost; says why it was.
async fn serve(
    common: &Common,
    mut sink: PubSubSink,
    stream: PubSubStream,
    leaving: &mut mpsc::UnboundedReceiver<String>,
) -> String {
    let hearing = hear(common, stream);
    let silence = silent(sink.clone(), patience(&common.shared.redis.options));
    let working = async {
        // Whoever comes from now on subscribes by itself, so nobody is missed between this and the list.
        common.sink.send_replace(Some(sink.clone()));
        if let Err(reason) = catch_up(common, &mut sink).await {
            return reason;
        }
        while let Some(task_id) = leaving.recv().await {
            if !common.tasks().contains_key(&task_id)
                && let Err(error) = sink.unsubscribe(common.shared.keys.result(&task_id)).await
            {
                return words(&error);
            }
            // Somebody may have begun to wait meanwhile, and have been unsubscribed with the one that left.
            if common.tasks().contains_key(&task_id)
                && let Err(error) = sink.subscribe(common.shared.keys.result(&task_id)).await
            {
                return words(&error);
            }
        }
        "nobody waits any more".to_owned()
    };
    tokio::select! {
        reason = hearing => reason,
        reason = silence => reason,
        reason = working => reason,
    }
}

async fn hear(common: &Common, mut stream: PubSubStream) -> String {
    while let Some(message) = stream.next().await {
        match ResultMeta::from_slice(message.get_payload_bytes(), &Limits::default()) {
            Ok(meta) => drop(common.waiting.accept(meta)),
            Err(error) => tracing::warn!(%error, "dropped a result that cannot be read"),
        }
    }
    "the connection ended".to_owned()
}

/// Subscribes to everything that is waited for, and looks for what came while nobody listened.
async fn catch_up(common: &Common, sink: &mut PubSubSink) -> Result<(), String> {
    let tasks: Vec<String> = common.tasks().keys().cloned().collect();
    for tasks in tasks.chunks(AT_ONCE) {
        let channels: Vec<String> = tasks.iter().map(|task| common.shared.keys.result(task)).collect();
        sink.subscribe(&channels).await.map_err(|error| words(&error))?;
        for task in tasks {
            match common.shared.get(task).await {
                Ok(Some(known)) => drop(common.waiting.accept(known)),
                Ok(None) => {}
                Err(error) if error.is_temporary() => return Err(error.to_string()),
                Err(error) => tracing::warn!(task.id = task, %error, "a stored result cannot be read"),
            }
        }
    }
    Ok(())
}
