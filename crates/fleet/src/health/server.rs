//! The endpoints.

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

use super::Health;
use crate::FleetError;

/// Connections served at once; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 32;
/// How long one connection may live, idle ones and slow ones included. Scrapers connect again.
const MAX_CONNECTION_TIME: Duration = Duration::from_secs(60);

/// Listens on `address`.
///
/// # Errors
/// [`FleetError::Listen`] when it is taken or not ours.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, FleetError> {
    TcpListener::bind(address).await.map_err(|source| FleetError::Listen { address, source })
}

/// Serves the endpoints until `shutdown`.
///
/// # Errors
/// [`FleetError::Io`] when serving ends for another reason.
pub async fn serve(listener: TcpListener, health: Health, shutdown: CancellationToken) -> Result<(), FleetError> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(health);
    let listener = Bounded { listener, permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
        .map_err(|source| FleetError::Io { what: "serving health".into(), source })
}

async fn livez(State(health): State<Health>) -> Response {
    answer(&health.stuck(), "no progress: ")
}

async fn readyz(State(health): State<Health>) -> Response {
    answer(&health.missing(), "")
}

async fn status(State(health): State<Health>) -> Response {
    Json(health.status()).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
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

/// A listener that nobody can exhaust by opening connections and leaving them.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let permit = match self.permits.clone().acquire_owned().await {
                Ok(permit) => permit,
                // The semaphore is never closed; were it, there would be nobody to serve.
                Err(_closed) => std::future::pending().await,
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let deadline = Box::pin(tokio::time::sleep(MAX_CONNECTION_TIME));
                    return (Connection { stream, deadline, _permit: permit }, peer);
                }
                Err(error) => {
                    // Out of descriptors, for one: trying again at once would only spin.
                    tracing::debug!("health connection not accepted: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn expired(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.expired(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
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
