//! Workflows between unmodified Python Celery and ours, over RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use celery_protocol::{Routes, Signature};
use celery_runtime::{
    Arguments, TaskError,
    broker::{Broker, ConnectOptions, connect},
    client::{CallError, Client, SendOptions},
    worker::{RetryPolicy, TaskOptions, Worker, WorkerError},
};
use serde_json::{Map, Value, json};
use testkit::servers::{Process, Python, RabbitMq, VHost};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(120);
/// The queue of the worker of ours, and that of the Python one.
const OURS: &str = "ours";
const THEIRS: &str = "theirs";

struct Lab {
    vhost: Arc<VHost>,
    python: Process,
    broker: Arc<dyn Broker>,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl Lab {
    async fn open() -> Self {
        let (vhost, python) = tokio::task::spawn_blocking(|| {
            let vhost = Arc::new(RabbitMq::shared().vhost());
            let arguments = ["--broker", &vhost.amqp_url, "--queue", THEIRS];
            let python = Python::spawn("celery_worker.py", arguments, &[]);
            python.wait_for_line("worker ready", SOON);
            (vhost, python)
        })
        .await
        .unwrap();
        let broker = connect(&vhost.amqp_url, ConnectOptions::default()).await.unwrap();
        broker.declare_task_queue(&OURS.into()).await.unwrap();
        let shutdown = CancellationToken::new();
        let worker = tokio::spawn(ours(broker.clone()).run(shutdown.clone()));
        Self { vhost, python, broker, shutdown, worker }
    }

    async fn close(self) -> String {
        self.shutdown.cancel();
        self.worker.await.unwrap().unwrap();
        let python = self.python;
        tokio::task::spawn_blocking(move || python.terminate(SOON).success().stderr).await.unwrap()
    }
}

fn ours(broker: Arc<dyn Broker>) -> Worker {
    let quickly = RetryPolicy::auto().backoff(Duration::from_millis(1)).cap(Duration::from_millis(50));
    Worker::builder(broker)
        .name("ours@lab")
        .queue(OURS)
        // The same table as a Python worker would have in `task_routes`.
        .routes(Routes::to(OURS).route("lab.*", THEIRS))
        .task("rust.add", |_, arguments: Arguments| async move {
            let (x, y): (i64, i64) = arguments.bind_tuple(&["x", "y"])?;
            Ok(json!(x + y))
        })
        .task("rust.fail", |_, _| async { Err(TaskError::value_error("boom")) })
        .task("rust.told", |context, arguments: Arguments| async move {
            let request = context.request().unwrap();
            let stamps = Value::Object(request.headers.stamps.to_json());
            Ok(json!({"args": arguments.args, "stamps": stamps, "priority": request.properties.priority}))
        })
        .task("rust.progress", |context, arguments: Arguments| async move {
            let (steps,): (i64,) = arguments.bind_tuple(&["steps"])?;
            for step in 0..steps {
                context.update_state("PROGRESS", json!({ "step": step })).await;
            }
            Ok(json!(steps))
        })
        .task_with("rust.flaky", TaskOptions::new().retry(quickly), |context, arguments: Arguments| async move {
            let (times,): (u32,) = arguments.bind_tuple(&["times"])?;
            if context.retries < times { Err(TaskError::value_error("not yet")) } else { Ok(json!(context.retries)) }
        })
        .task("rust.forever", |context, _| async move {
            context.cancelled().cancelled().await;
            Err(TaskError::runtime_error("told to stop"))
        })
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_cannot_tell_who_runs_the_steps_of_its_workflows() {
    let lab = Lab::open().await;
    let vhost = lab.vhost.clone();
    let seen = tokio::task::spawn_blocking(move || {
        let arguments = ["--broker", &vhost.amqp_url, "--ours", OURS, "--python", THEIRS];
        Python::spawn("celery_workflows.py", arguments, &[]).wait(SOON).success().json()
    })
    .await
    .unwrap();

    for chain in ["python_rust_python", "rust_python_rust"] {
        assert_eq!(seen[chain], 113, "{chain} {seen}");
    }
    assert_eq!(seen["failing_chain"], json!({"raised": "ValueError", "args": ["boom"]}));
    for link in ["link_to_python", "link_to_rust"] {
        let told = &seen[link];
        assert_eq!(
            (&told["first"], &told["after"], &told["is_child"]),
            (&json!(3), &json!(13), &json!(true)),
            "{link}"
        );
    }
    for (link, failure) in
        [("link_error_to_rust", "ValueError('boom')"), ("python_link_error_to_rust", "ValueError('no')")]
    {
        let told = &seen[link];
        assert_eq!(told["first"], failure);
        assert_eq!(told["after"]["args"], json!([told["id"]]), "an errback gets the id of what failed");
    }
    assert_eq!(seen["group"], json!([2, 4, 6]));
    assert_eq!(seen["chain_with_group"], json!([12, 22]));
    for add in ["countdown", "compressed", "bzip2", "task_id"] {
        assert_eq!(seen[add], 3, "{add}");
    }
    assert_eq!(seen["expired"], json!({"raised": "TaskRevokedError", "args": ["expired"]}));
    assert_eq!(seen["retried"], 2);
    assert_eq!(seen["retried_in_vain"], json!({"raised": "ValueError", "args": ["not yet"]}));
    let steps: Vec<Value> = (0..3).map(|step| json!(["PROGRESS", {"step": step}])).collect();
    assert_eq!(seen["states"], json!({"seen": steps, "value": 3}));
    assert_eq!(seen["ignored"], 7);
    assert_eq!(seen["stamped"]["stamps"]["release"], "r1", "{}", seen["stamped"]);
    assert_eq!(seen["priority"]["priority"], 7);
    assert_eq!(seen["time_limit"], json!({"raised": "TimeLimitExceeded", "args": ["1"]}));
    assert_eq!(seen["soft_time_limit"]["raised"], "SoftTimeLimitExceeded");
    lab.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_of_ours_pass_through_python_workers() {
    let lab = Lab::open().await;
    let routes = Routes::to(OURS).route("lab.*", THEIRS);
    let client = Client::new(lab.broker.clone()).await.unwrap().with_routes(routes);
    let get = async |signature: Signature| client.apply(signature).await.unwrap().get(SOON).await;
    let rust = |name: &str, args: &[i64]| Signature::new(name, args.iter().map(|n| json!(n)).collect());
    // A Python worker has no table of ours: a step it sends on names its queue.
    let back = |args: &[i64]| rust("rust.add", args).with_option("queue", OURS);

    let chain = Signature::chain(vec![rust("rust.add", &[1, 2]), rust("lab.add", &[10]), back(&[100])]);
    assert_eq!(get(chain).await.unwrap(), 113);
    let chain = Signature::chain(vec![rust("lab.add", &[1, 2]), back(&[10]), rust("lab.add", &[100])]);
    assert_eq!(get(chain).await.unwrap(), 113);

    let fails = Signature::new("lab.fail", vec![json!("no luck")]).immutable();
    let chain = Signature::chain(vec![rust("rust.add", &[1, 2]), fails, back(&[1]), back(&[2])]);
    match get(chain).await.unwrap_err() {
        CallError::TaskFailed { exc_type, messages, .. } => {
            assert_eq!((exc_type.as_str(), messages), ("ValueError", vec![json!("no luck")]));
        }
        other => panic!("{other:?}"),
    }
    let group = Signature::group(vec![rust("rust.add", &[1, 1]), rust("lab.add", &[2, 2]), rust("rust.add", &[3, 3])]);
    assert_eq!(get(group).await.unwrap(), json!([2, 4, 6]));
    let inner = Signature::chain(vec![rust("lab.add", &[20]), back(&[1])]);
    let chain = Signature::chain(vec![rust("lab.add", &[1, 1]), Signature::group(vec![back(&[10]), inner])]);
    assert_eq!(get(chain).await.unwrap(), json!([12, 23]));

    assert_eq!(get(rust("lab.add", &[1, 2]).with_option("countdown", 0.2)).await.unwrap(), 3);
    assert_eq!(get(rust("lab.retry", &[2])).await.unwrap(), 2);
    let options = SendOptions {
        compression: Some("gzip".into()),
        priority: 4,
        link: vec![Signature::new("lab.echo", vec![]).with_option("queue", THEIRS)],
        stamps: json!({"release": "r1"}).as_object().unwrap().clone(),
        ..SendOptions::default()
    };
    let mut sent = client.send(THEIRS, "lab.add", vec![json!(1), json!(2)], Map::new(), options).await.unwrap();
    assert_eq!(sent.get(SOON).await.unwrap(), 3);
    let log = lab.close().await;
    assert!(!log.contains("Traceback") || log.contains("no luck"), "{log}");
}
