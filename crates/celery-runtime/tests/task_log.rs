//! The log of one task: its worker, id and name come from spans, once, and no event repeats a field of a span.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use celery_runtime::{
    TaskError,
    broker::{Broker as _, memory::MemoryBroker},
    client::{CallError, Client, SendOptions},
    worker::{RetryPolicy, TaskOptions, Worker},
};
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

const TIMEOUT: Duration = Duration::from_secs(30);

/// A log line: the fields of its spans from the outermost on, then its own, in order.
#[derive(Debug, Clone, Default)]
struct Line {
    level: String,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn values(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| *known == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.fields.push((name, value.to_owned())),
        }
    }
}

/// Keeps every line of the worker.
#[derive(Clone, Default)]
struct Capture {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl<S> Layer<S> for Capture
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &tracing::span::Attributes<'_>, id: &tracing::Id, context: Context<'_, S>) {
        let mut fields = Line::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        if !event.metadata().target().starts_with("celery_runtime::worker") {
            return;
        }
        let mut line = Line { level: event.metadata().level().to_string(), ..Line::default() };
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            line.fields.extend(span.extensions().get::<Line>().into_iter().flat_map(|span| span.fields.clone()));
        }
        event.record(&mut line);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

#[tokio::test]
async fn every_line_of_a_task_names_its_worker_id_and_name_once() {
    let capture = Capture::default();
    let _logging = tracing_subscriber::registry().with(capture.clone()).set_default();
    let memory = MemoryBroker::new();
    let tries = Arc::new(AtomicU32::new(0));
    // Before the worker starts, so that no message is sent to a queue that does not exist yet.
    memory.connect().declare_task_queue(&"w".into()).await.unwrap();
    let worker = Worker::builder(Arc::new(memory.connect()))
        .name("w@test")
        .queue("w")
        .task("succeed", |_, _| async { Ok(json!(1)) })
        .task_with("retry", TaskOptions::new().retry(RetryPolicy::auto().backoff(Duration::ZERO)), move |_, _| {
            let tried = tries.fetch_add(1, Ordering::Relaxed);
            async move { if tried == 0 { Err(TaskError::value_error("once")) } else { Ok(json!(2)) } }
        })
        .task("fail", |_, _| async { Err(TaskError::value_error("always")) })
        .task("panic", |_, _| async { panic!("a bug") })
        .build()
        .unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(worker.run(shutdown.clone()));
    let client = Client::new(Arc::new(memory.connect())).await.unwrap();
    for (task, expected) in [("succeed", Some(1)), ("retry", Some(2)), ("fail", None), ("panic", None)] {
        let options = SendOptions { task_id: Some(format!("id-of-{task}")), ..SendOptions::default() };
        let mut sent = client.send("w", task, vec![], Map::new(), options).await.unwrap();
        match (sent.get(TIMEOUT).await, expected) {
            (Ok(value), Some(expected)) => assert_eq!(value, expected),
            (Err(CallError::TaskFailed { .. }), None) => {}
            (ended, _) => panic!("{task}: {ended:?}"),
        }
    }
    shutdown.cancel();
    tokio::time::timeout(TIMEOUT, running).await.unwrap().unwrap().unwrap();

    let lines = capture.lines.lock().unwrap().clone();
    let mut messages: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for line in &lines {
        for (name, _) in &line.fields {
            assert_eq!(line.values(name).len(), 1, "{name} is repeated: {line:?}");
        }
        assert_eq!(line.values("worker.node"), ["w@test"], "{line:?}");
        if let [id] = line.values("task.id")[..] {
            assert_eq!(line.values("task.name"), [id.strip_prefix("id-of-").unwrap()], "{line:?}");
            messages.entry(id).or_default().push((&line.level, &line.message));
        }
    }
    let expected = BTreeMap::from([
        ("id-of-succeed", vec![("INFO", "task succeeded")]),
        ("id-of-retry", vec![("INFO", "task will be retried"), ("INFO", "task succeeded")]),
        ("id-of-fail", vec![("WARN", "task failed")]),
        ("id-of-panic", vec![("ERROR", "handler panicked"), ("WARN", "task failed")]),
    ]);
    assert_eq!(messages, expected);
    for outside in ["worker started", "worker is finishing", "worker ended"] {
        let line = lines.iter().find(|line| line.message == outside).unwrap_or_else(|| panic!("no line {outside:?}"));
        assert!(line.values("task.id").is_empty(), "{line:?}");
    }
}
