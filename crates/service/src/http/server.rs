//! Accepting and serving connections.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::limits::HttpLimits;
use super::write_guard::WriteGuard;

/// The pause after a connection that could not be accepted: out of descriptors, for one, an immediate retry would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown`; then it accepts nothing more, and returns when the requests in hand are
/// answered. HTTP/1.1, with kept connections. A connection that breaks one of `limits` is closed.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: CancellationToken) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    while let Some((stream, permit)) = shutdown.run_until_cancelled(accept(&listener, &permits)).await {
        while connections.try_join_next().is_some() {}
        connections.spawn(serve_connection(stream, router.clone(), limits, permit, shutdown.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there may be one more.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
        // The semaphore is never closed.
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: HttpLimits,
    _permit: OwnedSemaphorePermit,
    shutdown: CancellationToken,
) {
    // Without it the kernel keeps the last part of an answer back until the client has acknowledged the first: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    let io = TokioIo::new(WriteGuard::new(stream, limits.stalled_write));
    let mut serving = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let served = tokio::time::timeout(limits.connection, async {
        tokio::select! {
            served = serving.as_mut() => served,
            () = shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        }
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection ended"),
        Err(_) => tracing::debug!("connection closed: it lasted for too long"),
    }
}
