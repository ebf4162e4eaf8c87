use std::time::Duration;

use serde::{Deserialize, Serialize};
use tuf_core::time::UtcTime;

use super::*;
use crate::exit_code::WorkerExit;
use crate::identity::ProcessIdentity;
use crate::metrics::ProcessMetrics;
use tokio_util::sync::CancellationToken;

/// The status of a system with one field of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ExampleStatus {
    worker: String,
    state: String,
    detail: Option<String>,
    last_work: Option<String>,
    broker_connected: Option<bool>,
    role_version: Option<u64>,
}

impl StatusBody for ExampleStatus {
    fn set_process(&mut self, process: ProcessStatus) {
        self.worker = process.worker;
        self.state = process.state.into();
        self.detail = process.detail;
        self.last_work = process.last_work;
        self.broker_connected = process.broker_connected;
    }
}

fn health(max_silence: Duration) -> WorkerHealth<ExampleStatus> {
    let identity = ProcessIdentity::new("targets-worker", "1.0.0", "host");
    let metrics = ProcessMetrics::new("tuf_fleet", &identity, |_| ());
    WorkerHealth::new(identity, ExampleStatus::default(), max_silence, metrics)
}

async fn served(health: &WorkerHealth<ExampleStatus>) -> (std::net::SocketAddr, CancellationToken) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, health.clone(), shutdown.clone()));
    (address, shutdown)
}

async fn ask(address: std::net::SocketAddr, path: &'static str) -> ProbeAnswer {
    tokio::task::spawn_blocking(move || probe(address, path)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_names_the_obstacles_and_live_ignores_them() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    assert_eq!(ask(address, "/readyz").await, ProbeAnswer { status: 503, body: "starting\n".into() });
    health.set_state(HealthState::Waiting("no root yet".into()));
    health.set_broker_connected(false);
    let answer = ask(address, "/readyz").await;
    assert_eq!(answer, ProbeAnswer { status: 503, body: "the broker is not connected\nwaiting: no root yet\n".into() });
    assert!(ask(address, "/livez").await.is_ok());
    health.set_broker_connected(true);
    health.set_state(HealthState::Ready);
    assert_eq!(ask(address, "/readyz").await, ProbeAnswer { status: 200, body: "ok\n".into() });
    health.set_state(HealthState::Alarm("below the floor".into()));
    assert!(!ask(address, "/readyz").await.is_ok());
    assert!(ask(address, "/livez").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_loop_is_not_live() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    let stuck = health.heartbeat("watching", Duration::ZERO);
    assert_eq!(ask(address, "/livez").await, ProbeAnswer { status: 503, body: "no progress: watching\n".into() });
    drop(stuck);
    assert!(ask(address, "/livez").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_metrics_show_the_same_as_the_task() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    health.set_broker_connected(true);
    health.set_state(HealthState::Ready);
    health.worked(UtcTime::from_unix(0));
    health.update(|status| {
        status.role_version = Some(3);
        status.state = "nonsense".into();
    });
    let answer = ask(address, "/status").await;
    let status: ExampleStatus = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(status, health.status());
    assert_eq!((status.state.as_str(), status.role_version), ("ready", Some(3)));
    assert_eq!(status.last_work.as_deref(), Some("1970-01-01T00:00:00Z"));
    let metrics = ask(address, "/metrics").await;
    assert!(metrics.body.contains("tuf_fleet_ready 1\n") && metrics.body.contains("tuf_fleet_broker_connected 1\n"));
    assert_eq!(ask(address, "/nothing").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_keep_a_probe_out() {
    let health = health(Duration::MAX);
    health.set_state(HealthState::Ready);
    let (address, _shutdown) = served(&health).await;
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert!(ask(address, "/readyz").await.is_ok());
    drop(idle);
}

#[test]
fn trying_again_does_not_end_an_alarm() {
    let health = health(Duration::MAX);
    health.set_state(HealthState::Alarm("a bad signature".into()));
    health.set_state(HealthState::Working);
    assert_eq!(health.missing(), ["alarm: a bad signature"]);
    assert_eq!(health.status().state, "working");
    assert_eq!(health.status().detail.as_deref(), Some("a bad signature"));
    health.set_state(HealthState::Ready);
    assert!(health.missing().is_empty());
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = bind(first.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.exit_code(), WorkerExit::Infrastructure);
    assert!(error.to_string().contains("health_address"));
}

#[test]
fn an_address_without_a_listener_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(probe(free, "/livez").is_err());
}
