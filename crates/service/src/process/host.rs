//! Running one worker beside the state of its broker.

use std::future::Future;

use celery_runtime::broker::SharedBroker;
use tracing::Instrument as _;

use super::worker::StartedWorker;
use crate::health::StatusBody;

/// Runs one worker inside its span while its health follows the state of the broker. [`super::main`] does this for a
/// worker process; a process that hosts several workers calls it once for each.
///
/// # Errors
/// The worker's own failure.
pub async fn host<S, E, W>(broker: SharedBroker, worker: StartedWorker<S, W>) -> Result<(), E>
where
    S: StatusBody,
    W: Future<Output = Result<(), E>>,
{
    let StartedWorker { health, span, work } = worker;
    let mut connection = broker.connection_state();
    let watching = async move {
        loop {
            let connected = connection.borrow_and_update().connected;
            health.set_broker_connected(connected);
            if connection.changed().await.is_err() {
                health.set_broker_connected(false);
                return std::future::pending::<()>().await;
            }
        }
    };
    async move {
        tokio::select! {
            outcome = work => outcome,
            () = watching => Ok(()),
        }
    }
    .instrument(span)
    .await
}
