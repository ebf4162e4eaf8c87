//! SIGINT and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::CliError;
use crate::output;
use service::exit_code::CommandExit;

/// A token that the first SIGINT or SIGTERM cancels; a second one ends the process immediately.
///
/// # Errors
/// When the process cannot listen for signals.
pub fn shutdown() -> Result<CancellationToken, CliError> {
    let listen =
        |kind| signal(kind).map_err(|error| CliError::local_failure(error).during("cannot listen for signals"));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                output::note("finishing the current work; press Ctrl-C again to end immediately");
                cancelled.cancel();
            }
        }
        std::process::exit(CommandExit::ForcedEnd.code().into());
    });
    Ok(token)
}
