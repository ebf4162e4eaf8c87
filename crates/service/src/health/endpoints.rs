//! The HTTP endpoints.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::status::StatusBody;
use super::worker::WorkerHealth;
use crate::error::ProcessError;

/// Connections served at a time; further ones wait in the kernel.
const MAX_HEALTH_CONNECTIONS: usize = 32;
/// How long one connection may live, idle ones and slow ones included. Scrapers connect again.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Listens on `address`.
///
/// # Errors
/// [`ProcessError::Listen`] when it is in use or not one of this machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ProcessError> {
    TcpListener::bind(address).await.map_err(|source| ProcessError::Listen { address, source })
}

/// Serves the endpoints until `shutdown`.
///
/// # Errors
/// [`ProcessError::Io`] when serving ends for another reason.
pub async fn serve<S: StatusBody>(
    listener: TcpListener,
    health: WorkerHealth<S>,
    shutdown: CancellationToken,
) -> Result<(), ProcessError> {
    let router = Router::new()
        .route("/livez", get(livez::<S>))
        .route("/readyz", get(readyz::<S>))
        .route("/status", get(status::<S>))
        .route("/metrics", get(metrics::<S>))
        .with_state(health);
    let listener = BoundedListener { listener, permits: Arc::new(Semaphore::new(MAX_HEALTH_CONNECTIONS)) };
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|source| ProcessError::Io { action: "serving health".into(), source })
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

async fn metrics<S: StatusBody>(State(health): State<WorkerHealth<S>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], health.metrics().render()).into_response()
}

fn answer(problems: &[String], prefix: &str) -> Response {
    if problems.is_empty() {
        return (StatusCode::OK, "ok\n").into_response();
    }
    let lines: String = problems.iter().map(|problem| format!("{prefix}{problem}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// A listener with a bound on connections and on their lifetime, so that a client that leaves connections open cannot
/// keep others out.
struct BoundedListener {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl axum::serve::Listener for BoundedListener {
    type Io = HealthConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (HealthConnection, SocketAddr) {
        loop {
            let permit = match self.permits.clone().acquire_owned().await {
                Ok(permit) => permit,
                // The semaphore is never closed.
                Err(_closed) => std::future::pending().await,
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let deadline = Box::pin(tokio::time::sleep(MAX_CONNECTION_TIME));
                    return (HealthConnection { stream, deadline, _permit: permit }, peer);
                }
                Err(error) => {
                    // Out of descriptors, for one: an immediate retry would only spin.
                    tracing::debug!(%error, "health connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct HealthConnection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl HealthConnection {
    fn expired(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for HealthConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.expired(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for HealthConnection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.expired(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
