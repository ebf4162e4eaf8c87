use super::*;
use tokio_util::sync::CancellationToken;

fn health(max_silence: Duration) -> Health {
    let metrics = Metrics::new("targets-worker", "1.0.0", "host");
    Health::new("targets-worker", "targets", "1.0.0", "host", max_silence, metrics)
}

async fn served(health: &Health) -> (std::net::SocketAddr, CancellationToken) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, health.clone(), shutdown.clone()));
    (address, shutdown)
}

async fn ask(address: std::net::SocketAddr, path: &'static str) -> Probe {
    tokio::task::spawn_blocking(move || probe(address, path)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_says_what_is_missing_and_live_does_not_care() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    assert_eq!(ask(address, "/readyz").await, Probe { status: 503, body: "starting\n".into() });
    health.set_state(State::Waiting("no root yet".into()));
    health.set_broker_connected(false);
    let answer = ask(address, "/readyz").await;
    assert_eq!(answer, Probe { status: 503, body: "the broker is not connected\nwaiting: no root yet\n".into() });
    assert!(ask(address, "/livez").await.is_ok());
    health.set_broker_connected(true);
    health.set_state(State::Ready);
    assert_eq!(ask(address, "/readyz").await, Probe { status: 200, body: "ok\n".into() });
    health.set_state(State::Alarm("below the floor".into()));
    assert!(!ask(address, "/readyz").await.is_ok());
    assert!(ask(address, "/livez").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_loop_is_not_live() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    let stuck = health.heartbeat("watching", Duration::ZERO);
    assert_eq!(ask(address, "/livez").await, Probe { status: 503, body: "no progress: watching\n".into() });
    drop(stuck);
    assert!(ask(address, "/livez").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_metrics_tell_the_same_as_the_task() {
    let health = health(Duration::MAX);
    let (address, _shutdown) = served(&health).await;
    health.set_broker_connected(true);
    health.set_state(State::Ready);
    health.worked(UtcTime::from_unix(0));
    health.update(|status| {
        status.role_version = Some(3);
        status.state = "nonsense".into();
    });
    let answer = ask(address, "/status").await;
    let status: WorkerStatus = serde_json::from_str(&answer.body).unwrap();
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
    health.set_state(State::Ready);
    let (address, _shutdown) = served(&health).await;
    let idle: Vec<_> = (0..16).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    assert!(ask(address, "/readyz").await.is_ok());
    drop(idle);
}

#[test]
fn trying_again_does_not_end_an_alarm() {
    let health = health(Duration::MAX);
    health.set_state(State::Alarm("a bad signature".into()));
    health.set_state(State::Working);
    assert_eq!(health.missing(), ["alarm: a bad signature"]);
    assert_eq!(health.status().state, "working");
    health.set_state(State::Ready);
    assert!(health.missing().is_empty());
}

#[tokio::test]
async fn a_taken_address_is_an_error_that_names_it() {
    let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = bind(first.local_addr().unwrap()).await.unwrap_err();
    assert_eq!(error.exit_code(), crate::exit_code::INFRASTRUCTURE);
    assert!(error.to_string().contains("health_address"));
}

#[test]
fn nobody_listening_is_an_error() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(probe(free, "/livez").is_err());
}
