//! Listens for results: one connection for all callers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use celery_protocol::{Limits, ResultMeta};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::results::RedisResults;
use crate::{
    backend::{error::BackendError, expectation::Expectation, pending::PendingResults},
    connection::{Backoff, ConnectionError},
    redis::{answer_timeout, silence},
    sync::lock,
};

/// How many channels one command subscribes to.
const MAX_CHANNELS_PER_SUBSCRIBE: usize = 500;

/// Why a listening connection is no longer used.
#[derive(Debug, thiserror::Error)]
enum ListenerLoss {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Lookup(#[from] BackendError),
    #[error("the listener was dropped")]
    NoCaller,
}

/// Listens until it is dropped.
pub(super) struct ResultListener {
    common: Arc<ListenerState>,
    _listening: AbortOnDropHandle<()>,
}

/// The part of a listener that its task and its callers share.
struct ListenerState {
    results: Arc<RedisResults>,
    pending: Arc<PendingResults>,
    /// How many callers wait for each task.
    tasks: Mutex<HashMap<String, usize>>,
    /// The connection that listens, if there is one.
    sink: watch::Sender<Option<PubSubSink>>,
    /// Receives the tasks that no caller waits for any more.
    left: mpsc::UnboundedSender<String>,
}

/// One caller that waits for a task.
struct WaitingCaller {
    common: Arc<ListenerState>,
    task_id: String,
    _expectation: Expectation,
}

impl Drop for WaitingCaller {
    fn drop(&mut self) {
        let mut tasks = self.common.tasks();
        if let Some(count) = tasks.get_mut(&self.task_id) {
            *count -= 1;
            if *count == 0 {
                tasks.remove(&self.task_id);
                // Fails if the listener is gone, and its connection with it.
                let _ = self.common.left.send(self.task_id.clone());
            }
        }
    }
}

impl ListenerState {
    fn tasks(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        lock(&self.tasks)
    }
}

impl ResultListener {
    pub fn start(results: Arc<RedisResults>) -> Self {
        let (left, leaving) = mpsc::unbounded_channel();
        let common = Arc::new(ListenerState {
            results,
            pending: Arc::default(),
            tasks: Mutex::default(),
            sink: watch::Sender::new(None),
            left,
        });
        let listening = tokio::spawn(listen(common.clone(), leaving));
        Self { common, _listening: AbortOnDropHandle::new(listening) }
    }

    /// Listens for the task's result, then checks whether it is stored already: in this order no result is missed.
    pub async fn expect(&self, task_id: &str) -> Result<Expectation, BackendError> {
        let common = &self.common;
        let mut expectation = common.pending.expect(task_id);
        let newest = expectation.newest().clone();
        *common.tasks().entry(task_id.to_owned()).or_default() += 1;
        let caller = WaitingCaller { common: common.clone(), task_id: task_id.to_owned(), _expectation: expectation };
        let redis = &common.results.redis;
        let subscribing = async {
            let mut sinks = common.sink.subscribe();
            loop {
                let sink = sinks.borrow_and_update().clone();
                if let Some(mut sink) = sink
                    && sink.subscribe(common.results.keys.result(task_id)).await.is_ok()
                {
                    return Ok(());
                }
                // No connection at the moment: the next one subscribes to all tasks with waiting callers, this one included.
                tokio::select! {
                    () = redis.closed().cancelled() => return Err(BackendError::Closed),
                    _ = sinks.changed() => {}
                }
            }
        };
        match tokio::time::timeout(redis.options().operation_timeout, subscribing).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(BackendError::Unavailable { reason: redis.reason() }),
        }
        if let Some(known) = common.results.get(task_id).await? {
            common.pending.accept(known);
        }
        Ok(Expectation::new(newest, caller))
    }
}

async fn listen(common: Arc<ListenerState>, mut leaving: mpsc::UnboundedReceiver<String>) {
    let redis = &common.results.redis;
    let mut backoff = Backoff::new(redis.options());
    while redis.link().await.is_some() {
        let since = tokio::time::Instant::now();
        let loss = match redis.open_listener().await {
            Ok(listener) => {
                let (sink, stream) = listener.split();
                tokio::select! {
                    () = redis.closed().cancelled() => break,
                    loss = serve(&common, sink, stream, &mut leaving) => loss,
                }
            }
            Err(error) => error.into(),
        };
        common.sink.send_replace(None);
        tracing::debug!(error = %loss, "listener for results lost its connection; listening again");
        if since.elapsed() > redis.options().max_retry {
            backoff.reset();
        }
        tokio::select! {
            () = redis.closed().cancelled() => break,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
    common.sink.send_replace(None);
    // Ends all waits, because no result can come any more.
    common.pending.close();
}

/// Listens until the connection is lost. Returns why it was.
async fn serve(
    common: &ListenerState,
    mut sink: PubSubSink,
    stream: PubSubStream,
    leaving: &mut mpsc::UnboundedReceiver<String>,
) -> ListenerLoss {
    let hearing = hear(common, stream);
    let silence = silence(sink.clone(), answer_timeout(common.results.redis.options()));
    let working = async {
        // Callers that come from now on subscribe themselves, so none is missed between this line and the list.
        common.sink.send_replace(Some(sink.clone()));
        if let Err(loss) = catch_up(common, &mut sink).await {
            return loss;
        }
        while let Some(task_id) = leaving.recv().await {
            if !common.tasks().contains_key(&task_id)
                && let Err(error) = sink.unsubscribe(common.results.keys.result(&task_id)).await
            {
                return ConnectionError::from(error).into();
            }
            // Another caller may have begun to wait meanwhile, and have been unsubscribed with the one that left.
            if common.tasks().contains_key(&task_id)
                && let Err(error) = sink.subscribe(common.results.keys.result(&task_id)).await
            {
                return ConnectionError::from(error).into();
            }
        }
        ListenerLoss::NoCaller
    };
    tokio::select! {
        error = hearing => error.into(),
        error = silence => error.into(),
        loss = working => loss,
    }
}

async fn hear(common: &ListenerState, mut stream: PubSubStream) -> ConnectionError {
    while let Some(message) = stream.next().await {
        match ResultMeta::from_slice(message.get_payload_bytes(), &Limits::default()) {
            Ok(meta) => drop(common.pending.accept(meta)),
            Err(error) => tracing::warn!(%error, "result dropped: unreadable"),
        }
    }
    ConnectionError::Ended
}

/// Subscribes to all tasks with waiting callers, and looks for results that came while no connection listened.
async fn catch_up(common: &ListenerState, sink: &mut PubSubSink) -> Result<(), ListenerLoss> {
    let tasks: Vec<String> = common.tasks().keys().cloned().collect();
    for tasks in tasks.chunks(MAX_CHANNELS_PER_SUBSCRIBE) {
        let channels: Vec<String> = tasks.iter().map(|task| common.results.keys.result(task)).collect();
        sink.subscribe(&channels).await.map_err(ConnectionError::from)?;
        for task in tasks {
            match common.results.get(task).await {
                Ok(Some(known)) => drop(common.pending.accept(known)),
                Ok(None) => {}
                Err(error) if error.is_temporary() => return Err(error.into()),
                Err(error) => tracing::warn!(task.id = task, %error, "stored result unreadable"),
            }
        }
    }
    Ok(())
}
