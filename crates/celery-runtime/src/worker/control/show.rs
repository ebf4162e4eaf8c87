//! The answers of a worker about itself.

use celery_protocol::{
    control::values::{self, DeliveryInfo, RequestInfo, Stats, Usage},
    python::{args_repr, kwargs_repr},
};
use serde_json::{Value, json};

use crate::{
    broker::TaskQueue,
    clock,
    worker::{
        registry::{TrackedTask, WorkerRegistry},
        worker_core::WorkerCore,
    },
};

/// A task; with `safe` its arguments as the text that its sender chose to show.
pub(super) fn request(request: &TrackedTask, node: &str, safe: bool) -> RequestInfo {
    let task = &request.task;
    let (args, kwargs) = if safe {
        let args = task.headers.argsrepr.clone().unwrap_or_else(|| args_repr(&task.args));
        let kwargs = task.headers.kwargsrepr.clone().unwrap_or_else(|| kwargs_repr(&task.kwargs));
        (Value::from(args), Value::from(kwargs))
    } else {
        (Value::from(task.args.clone()), Value::Object(task.kwargs.clone()))
    };
    RequestInfo {
        id: task.id().to_owned(),
        name: task.name().to_owned(),
        args,
        kwargs,
        hostname: node.to_owned(),
        time_start: request.started.map(clock::unix_seconds),
        acknowledged: request.acknowledged,
        delivery_info: DeliveryInfo {
            exchange: request.exchange.clone(),
            routing_key: request.routing_key.clone(),
            priority: task.properties.priority.unwrap_or_default(),
            redelivered: request.redelivered,
        },
        worker_pid: request.started.map(|_| std::process::id()),
    }
}

/// The registered tasks by name, each with those of the requested attributes that it has.
pub(super) fn registered(registry: &WorkerRegistry, items: &[String]) -> Value {
    let default = ["rate_limit".to_owned()];
    let items = if items.is_empty() { default.as_slice() } else { items };
    let shown = |name: String| {
        let limits = registry.time_limits(&name);
        let attributes: Vec<String> = items
            .iter()
            .filter_map(|item| {
                let value = match item.as_str() {
                    "name" => name.clone(),
                    "rate_limit" => registry.rate_limit(&name)?.to_string(),
                    "time_limit" => limits.hard?.as_secs_f64().to_string(),
                    "soft_time_limit" => limits.soft?.as_secs_f64().to_string(),
                    _ => return None,
                };
                Some(format!("{item}={value}"))
            })
            .collect();
        if attributes.is_empty() { name } else { format!("{name} [{}]", attributes.join(" ")) }
    };
    registry.task_names().into_iter().map(shown).collect::<Vec<_>>().into()
}

pub(super) fn queue(queue: &TaskQueue) -> Value {
    values::queue(&queue.name, &queue.name, "direct", &queue.name)
}

pub(super) fn stats(core: &WorkerCore, clock: u64) -> Value {
    let registry = &core.registry;
    let prefetch = registry.prefetch();
    let broker = core.broker.info();
    let uptime = clock::now().duration_since(registry.since()).as_secs();
    Stats {
        total: registry.totals().into_iter().collect(),
        pid: std::process::id(),
        clock,
        uptime: u64::try_from(uptime).unwrap_or_default(),
        implementation: "celery_runtime.worker:Worker".to_owned(),
        // As many run at a time as are prefetched; without a limit, as many as are delivered.
        max_concurrency: if prefetch == 0 { u32::from(u16::MAX) } else { u32::from(prefetch) },
        broker: values::broker(
            &broker.transport,
            &broker.hostname,
            broker.port,
            &broker.user,
            &broker.vhost,
            broker.heartbeat.as_secs_f64(),
        ),
        prefetch_count: u32::from(prefetch),
        usage: usage(),
    }
    .to_json()
}

/// Processor time, of user and kernel together: the kernel reports more only in files.
fn usage() -> Usage {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "no processor runs for that long")]
    let utime = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    Usage { utime, ..Usage::default() }
}

/// The settings of a Python worker that apply here. They hold no password.
pub(super) fn configuration(core: &WorkerCore) -> Value {
    json!({
        "broker_url": core.broker.info().masked_url(),
        "result_backend": core.backend.shown(),
        "deprecated_settings": null,
        "accept_content": ["json"],
        "result_expires": 86_400,
        "broker_connection_retry_on_startup": true,
        "worker_disable_prefetch": false,
        "include": [],
    })
}

pub(super) fn report(core: &WorkerCore) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let (broker, backend) = (core.broker.info(), core.backend.shown());
    let transport = &broker.transport;
    celery_protocol::control::ok(format!(
        "\nsoftware -> celery-runtime:{version}\nplatform -> system:{os} arch:{arch}\nsettings -> transport:{transport} \
         results:{backend}\n\nbroker_url: '{}'\nresult_backend: '{backend}'\ndeprecated_settings: None\n\
         accept_content: ['json']\nresult_expires: 86400\nremote_control: '{}'\n",
        broker.masked_url(),
        core.remote_control,
    ))
}
