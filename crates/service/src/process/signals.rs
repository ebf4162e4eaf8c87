//! SIGTERM and SIGINT.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::ProcessError;
use crate::exit_code::WorkerExit;

/// Cancels `shutdown` at the first SIGTERM or SIGINT and ends the process at the second.
///
/// # Errors
/// [`ProcessError::Io`] when the signals cannot be listened to.
pub(super) fn end_on_signals(shutdown: CancellationToken) -> Result<(), ProcessError> {
    let listen =
        |kind| signal(kind).map_err(|source| ProcessError::Io { action: "listening for signals".into(), source });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!(
            signal = name,
            "shutdown requested: finishing the work in hand; a second signal ends immediately"
        );
        shutdown.cancel();
        let name = next_signal(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal: ending immediately");
        std::process::exit(WorkerExit::ForcedEnd.code().into());
    });
    Ok(())
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
