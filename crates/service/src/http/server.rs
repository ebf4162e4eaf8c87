//! Accepting and serving connections.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connections::{ConnectionPlace, Connections};
use super::guarded_body::guarded;
use super::limits::HttpLimits;
use super::write_guard::WriteGuard;

/// The pause after a connection that could not be accepted: out of descriptors, for one, an immediate retry would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown`; then it accepts nothing more, and returns when the requests in hand are
/// answered. HTTP/1.1, with kept connections. A connection that breaks one of `limits` is closed.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, shutdown: CancellationToken) {
    let mut connections = Connections::new(limits.connections);
    let mut serving = JoinSet::new();
    while let Some((stream, place)) = shutdown.run_until_cancelled(accept(&listener, &mut connections)).await {
        while serving.try_join_next().is_some() {}
        serving.spawn(serve_connection(stream, router.clone(), limits, place, shutdown.clone()));
    }
    drop(listener);
    while serving.join_next().await.is_some() {}
}

/// The next connection, once there is a place for it.
async fn accept(listener: &TcpListener, connections: &mut Connections) -> (TcpStream, ConnectionPlace) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, connections.place().await),
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Notes each request of a connection until its answer is complete.
fn track(
    place: Arc<ConnectionPlace>,
) -> impl Fn(Request, Next) -> Pin<Box<dyn Future<Output = Response> + Send>> + Clone + Send + Sync + 'static {
    move |request, next| {
        let in_hand = place.begin_request();
        Box::pin(async move { guarded(next.run(request).await, in_hand) })
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    limits: HttpLimits,
    place: ConnectionPlace,
    shutdown: CancellationToken,
) {
    // Without it the kernel keeps the last part of an answer back until the client has acknowledged the first: 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    let io = TokioIo::new(WriteGuard::new(stream, limits.stalled_write, place.activity()));
    let place = Arc::new(place);
    let router = router.layer(from_fn(track(Arc::clone(&place))));
    let mut serving = pin!(builder.serve_connection(io, TowerToHyperService::new(router)));
    let served = tokio::time::timeout(limits.connection, async {
        tokio::select! {
            served = serving.as_mut() => served,
            () = place.evicted.cancelled() => {
                tracing::debug!("connection closed: it had no request, and another one needs its place");
                Ok(())
            }
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
