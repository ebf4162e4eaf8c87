//! The HTTP endpoints.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::status::StatusBody;
use super::worker::WorkerHealth;
use crate::error::ProcessError;
use crate::http::{self, HttpLimits};
use crate::metrics::MetricsFormat;

/// Probes and scrapers ask briefly, and connect again.
const HEALTH_LIMITS: HttpLimits = HttpLimits {
    connections: 32,
    head: Duration::from_secs(5),
    stalled_write: Duration::from_secs(10),
    connection: Duration::from_secs(60),
};

/// Listens on `address`.
///
/// # Errors
/// [`ProcessError::Listen`] when it is in use or not one of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ProcessError> {
    TcpListener::bind(address).await.map_err(|source| ProcessError::Listen { address, source })
}

/// Serves the endpoints until `shutdown`.
pub async fn serve<S: StatusBody>(listener: TcpListener, health: WorkerHealth<S>, shutdown: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(livez::<S>))
        .route("/readyz", get(readyz::<S>))
        .route("/status", get(status::<S>))
        .route("/metrics", get(metrics::<S>))
        .with_state(health);
    http::serve(listener, router, HEALTH_LIMITS, shutdown).await;
}

async fn livez<S: StatusBody>(State(health): State<WorkerHealth<S>>) -> Response {
    answer(&health.stuck(), "no progress: ")
}

async fn readyz<S: StatusBody>(State(health): State<WorkerHealth<S>>) -> Response {
    answer(&health.missing(), "")
}

async fn status<S: StatusBody>(State(health): State<WorkerHealth<S>>) -> Response {
    Json(health.status()).into_response()
}

async fn metrics<S: StatusBody>(State(health): State<WorkerHealth<S>>, headers: HeaderMap) -> Response {
    let accepts = |name: &str| {
        let values = headers.get_all(header::ACCEPT).into_iter();
        values.filter_map(|value| value.to_str().ok()).any(|value| value.contains(name))
    };
    let format =
        if accepts("application/openmetrics-text") { MetricsFormat::OpenMetrics } else { MetricsFormat::Prometheus };
    ([(header::CONTENT_TYPE, format.content_type())], health.metrics().render(format)).into_response()
}

fn answer(problems: &[String], prefix: &str) -> Response {
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let lines: String = problems.iter().map(|problem| format!("{prefix}{problem}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}
