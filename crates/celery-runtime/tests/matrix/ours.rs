//! The worker of ours, with a task for each thing a worker can be asked for.

use std::time::Duration;

use celery_protocol::Routes;
use celery_runtime::{
    Arguments, TaskError,
    backend::SharedBackend,
    broker::SharedBroker,
    worker::{RemoteControl, RetryPolicy, TaskOptions, Worker},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::lab::{OURS, SHARED, THEIRS};

/// The arguments of `rust.note` go to `noted`.
pub fn worker(
    broker: SharedBroker,
    backend: Option<SharedBackend>,
    noted: mpsc::UnboundedSender<Vec<Value>>,
) -> Worker {
    let quickly = || RetryPolicy::auto().backoff(Duration::from_millis(1)).cap(Duration::from_millis(50));
    let mut builder = Worker::builder(broker).name("ours@lab").queue(OURS).queue(SHARED);
    if let Some(backend) = backend {
        builder = builder.backend(backend);
    }
    builder
        .remote_control(RemoteControl::Full)
        // The same table as a Python worker would have in `task_routes`.
        .routes(Routes::to(OURS).route("lab.*", THEIRS))
        .task("rust.add", |_, arguments| async move { add(&arguments) })
        .task("lab.add", |_, arguments| async move { add(&arguments) })
        .task("rust.echo", |_, arguments: Arguments| async move { Ok(arguments.args.into()) })
        .task("rust.total", |_, arguments: Arguments| async move {
            let (values,): (Vec<i64>,) = arguments.bind_tuple(&["values"])?;
            Ok(json!(values.iter().sum::<i64>()))
        })
        .task("rust.fail", |_, _| async { Err(TaskError::value_error("boom")) })
        .task("rust.fail_custom", |_, _| async { Err(TaskError::custom("lab.errors", "LabError", "own")) })
        .task("rust.told", |context, arguments: Arguments| async move {
            let request = context.request().unwrap();
            let (headers, properties) = (&request.headers, &request.properties);
            Ok(json!({
                "args": arguments.args,
                "stamps": headers.stamps.to_json(),
                "priority": properties.priority,
                "nesting": headers.replaced_task_nesting,
                "headers": context.headers.to_json(),
            }))
        })
        .task("rust.note", move |_, arguments: Arguments| {
            let noted = noted.clone();
            async move {
                noted.send(arguments.args).unwrap();
                Ok(Value::Null)
            }
        })
        .task("rust.progress", |context, arguments: Arguments| async move {
            let (steps,): (i64,) = arguments.bind_tuple(&["steps"])?;
            for step in 0..steps {
                context.update_state("PROGRESS", json!({ "step": step })).await;
            }
            Ok(json!(steps))
        })
        .task_with("rust.flaky", TaskOptions::new().retry(quickly()), |context, arguments: Arguments| async move {
            let (times,): (u32,) = arguments.bind_tuple(&["times"])?;
            if context.retries < times { Err(TaskError::value_error("not yet")) } else { Ok(json!(context.retries)) }
        })
        .task("rust.asks", |context, arguments: Arguments| async move {
            let (times,): (u32,) = arguments.bind_tuple(&["times"])?;
            if context.retries < times {
                return Err(TaskError::value_error("not yet").retry_in(Duration::from_millis(10)));
            }
            Ok(json!(context.retries))
        })
        .task("rust.forever", |context, _| async move {
            context.update_state("RUNNING", Value::Null).await;
            context.cancelled().cancelled().await;
            Err(TaskError::runtime_error("told to stop"))
        })
        .build()
        .unwrap()
}

fn add(arguments: &Arguments) -> Result<Value, TaskError> {
    let (x, y): (i64, i64) = arguments.clone().bind_tuple(&["x", "y"])?;
    Ok(json!(x + y))
}
