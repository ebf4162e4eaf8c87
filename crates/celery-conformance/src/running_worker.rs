//! A worker under test.

use std::sync::Arc;

use celery_protocol::{ResultMeta, Routes};
use celery_runtime::{
    Arguments,
    broker::{Broker, Publish},
    client::{CallError, Client},
    worker::{Worker, WorkerBuilder, WorkerCounters, WorkerError, WorkerRegistry},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Fixture, SOON, next};

/// A worker `w@test` on the queue `w` that runs beside the test, with a client.
pub struct RunningWorker {
    pub client: Client,
    pub broker: Arc<dyn Broker>,
    pub counters: Arc<WorkerCounters>,
    pub registry: Arc<WorkerRegistry>,
    pub shutdown: CancellationToken,
    pub worker: JoinHandle<Result<(), WorkerError>>,
}

impl RunningWorker {
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.worker).await.expect("the worker did not end").unwrap().unwrap();
    }

    pub async fn call(&self, task: &str, kwargs: Value) -> Result<Value, CallError> {
        let Value::Object(kwargs) = kwargs else { panic!("not an object") };
        self.client.call("w", task, kwargs, SOON).await
    }

    pub async fn send_raw(&self, message: celery_protocol::Message) {
        self.broker.publish(Publish::task("w", message)).await.unwrap();
    }

    /// The result that a caller on its own reply queue gets for a message sent as it is.
    pub async fn answer_to(&self, id: &str, mut message: celery_protocol::Message) -> ResultMeta {
        let queue = format!("replies-{id}");
        let mut replies = self.broker.consume_replies(&queue).await.unwrap();
        self.broker.declare_reply_queue(&queue).await.unwrap();
        message.properties.reply_to = Some(queue);
        self.send_raw(message).await;
        let reply = next(&mut replies).await;
        ResultMeta::decode(&reply.message, &celery_protocol::Limits::default()).unwrap()
    }
}

/// Starts a worker with a task `add` and the tasks that `tasks` registers.
pub async fn start(fixture: &impl Fixture, tasks: impl FnOnce(WorkerBuilder) -> WorkerBuilder) -> RunningWorker {
    let broker = fixture.connect().await;
    let builder =
        Worker::builder(broker.clone()).name("w@test").queue("w").task("add", |_, arguments: Arguments| async move {
            let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        });
    let worker = tasks(builder).build().unwrap();
    let (counters, registry, shutdown) = (worker.counters(), worker.registry(), CancellationToken::new());
    broker.declare_task_queue(&"w".into()).await.unwrap();
    let worker = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::new(fixture.connect().await).await.unwrap().with_routes(Routes::to("w"));
    RunningWorker { client, broker, counters, registry, shutdown, worker }
}
