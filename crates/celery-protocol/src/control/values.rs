//! The values in answers of workers, with the members and the order of Celery 5.7.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::python::repr;
use crate::time::WireTime;

/// How a task was delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// The exchange; empty is the default one.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Its priority.
    pub priority: u8,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
}

/// A task of a worker, as `active`, `reserved`, `scheduled` and `query_task` show it.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestInfo {
    /// The task id.
    pub id: String,
    /// The task's name.
    pub name: String,
    /// Positional arguments: a list, or a text that shows it.
    pub args: Value,
    /// Keyword arguments: an object, or a text that shows it.
    pub kwargs: Value,
    /// The worker's node name.
    pub hostname: String,
    /// When it was started, in seconds since 1970.
    pub time_start: Option<f64>,
    /// Whether the message was acknowledged.
    pub acknowledged: bool,
    /// How it was delivered.
    pub delivery_info: DeliveryInfo,
    /// The process that runs it.
    pub worker_pid: Option<u32>,
}

impl RequestInfo {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "args": self.args,
            "kwargs": self.kwargs,
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": self.acknowledged,
            "delivery_info": {
                "exchange": self.delivery_info.exchange,
                "routing_key": self.delivery_info.routing_key,
                "priority": self.delivery_info.priority,
                "redelivered": self.delivery_info.redelivered,
            },
            "worker_pid": self.worker_pid,
        })
    }

    /// As an entry of `scheduled`.
    #[must_use]
    pub fn scheduled(&self, eta: Timestamp) -> Value {
        json!({"eta": WireTime::from(eta).as_str(), "priority": 6, "request": self.to_json()})
    }
}

/// A queue as an entry of `active_queues`.
#[must_use]
pub fn queue(name: &str, exchange: &str, exchange_type: &str, routing_key: &str) -> Value {
    json!({
        "name": name,
        "exchange": {
            "name": exchange,
            "type": exchange_type,
            "arguments": null,
            "durable": true,
            "passive": false,
            "auto_delete": false,
            "delivery_mode": null,
            "no_declare": false,
        },
        "routing_key": routing_key,
        "queue_arguments": null,
        "binding_arguments": null,
        "consumer_arguments": null,
        "durable": true,
        "exclusive": false,
        "auto_delete": false,
        "no_ack": false,
        "alias": null,
        "bindings": [],
        "no_declare": null,
        "expires": null,
        "message_ttl": null,
        "max_length": null,
        "max_length_bytes": null,
        "max_priority": null,
    })
}

/// The broker as `stats` shows it; never its password. On a Redis without user names there is no login.
#[must_use]
pub fn broker(transport: &str, hostname: &str, port: Option<u16>, userid: &str, vhost: &str, heartbeat: f64) -> Value {
    json!({
        "hostname": hostname,
        "userid": (!userid.is_empty()).then_some(userid),
        "virtual_host": vhost,
        "port": port,
        "insist": false,
        "ssl": false,
        "transport": transport,
        "connect_timeout": 4,
        "transport_options": {},
        "login_method": (transport == "amqp").then_some("PLAIN"),
        "uri_prefix": null,
        "heartbeat": heartbeat,
        "failover_strategy": "round-robin",
        "alternates": [],
        "credential_provider": null,
    })
}

/// The resource usage of a process, with the names of Python's `resource.getrusage`. Unknown values are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// Processor time of the program, in seconds.
    pub utime: f64,
    /// Processor time of the kernel for it, in seconds.
    pub stime: f64,
    /// Largest resident memory, in KiB.
    pub maxrss: u64,
    /// Page faults without reading.
    pub minflt: u64,
    /// Page faults with reading.
    pub majflt: u64,
}

impl Usage {
    fn to_json(self) -> Value {
        json!({
            "utime": self.utime,
            "stime": self.stime,
            "maxrss": self.maxrss,
            "ixrss": 0,
            "idrss": 0,
            "isrss": 0,
            "minflt": self.minflt,
            "majflt": self.majflt,
            "nswap": 0,
            "inblock": 0,
            "oublock": 0,
            "msgsnd": 0,
            "msgrcv": 0,
            "nsignals": 0,
            "nvcsw": 0,
            "nivcsw": 0,
        })
    }
}

/// The answer to `stats`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Tasks received, by name.
    pub total: Vec<(String, u64)>,
    /// The worker's process.
    pub pid: u32,
    /// The Lamport clock.
    pub clock: u64,
    /// Seconds since it was started.
    pub uptime: u64,
    /// The pool's implementation, `module:class`.
    pub implementation: String,
    /// How many tasks run at a time.
    pub max_concurrency: u32,
    /// See [`broker`].
    pub broker: Value,
    /// How many tasks are taken from the broker at a time.
    pub prefetch_count: u32,
    /// The resource usage of the process.
    pub usage: Usage,
}

impl Stats {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let total: Map<String, Value> =
            self.total.iter().map(|(name, count)| (name.clone(), Value::from(*count))).collect();
        let done: u64 = self.total.iter().map(|(_, count)| count).sum();
        json!({
            "total": total,
            "pid": self.pid,
            "clock": self.clock.to_string(),
            "uptime": self.uptime,
            "pool": {
                "implementation": self.implementation,
                "max-concurrency": self.max_concurrency,
                "processes": [self.pid],
                "max-tasks-per-child": "N/A",
                "put-guarded-by-semaphore": false,
                "timeouts": [0, 0],
                "writes": {
                    "total": done,
                    "avg": "1.00",
                    "all": "1.00",
                    "raw": done.to_string(),
                    "strategy": "fair",
                    "inqueues": {"total": 0, "active": 0},
                },
            },
            "broker": self.broker,
            "prefetch_count": self.prefetch_count,
            "rusage": self.usage.to_json(),
        })
    }
}

/// The answer to a `revoke` that does not terminate.
#[must_use]
pub fn flagged_as_revoked(ids: &[String]) -> Value {
    let shown: Vec<String> = ids.iter().map(|id| repr(&Value::from(id.as_str()))).collect();
    let set = if shown.is_empty() { "set()".to_owned() } else { format!("{{{}}}", shown.join(", ")) };
    super::ok(format!("tasks {set} flagged as revoked"))
}

/// The answer to a `revoke` that terminates: the ids of the stopped tasks.
#[must_use]
pub fn terminated(ids: &[String]) -> Value {
    match ids {
        [] => super::ok("terminate: tasks unknown"),
        ids => super::ok(format!("terminate: {}", ids.join(", "))),
    }
}

/// The answer to `revoke_by_stamped_headers`; `reached` are the stamps of the tasks it terminated.
#[must_use]
pub fn revoked_by_stamps(stamps: &Map<String, Value>, terminate: bool, reached: &Map<String, Value>) -> Value {
    let shown = |stamps: &Map<String, Value>| repr(&Value::Object(stamps.clone()));
    super::ok(match (terminate, reached.is_empty()) {
        (false, _) => format!("headers {} flagged as revoked, but not terminated", shown(stamps)),
        (true, true) => format!("headers {} were not terminated", shown(stamps)),
        (true, false) => format!("headers {} revoked", shown(reached)),
    })
}
