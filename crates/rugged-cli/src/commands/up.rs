//! `rugged up`: the whole fleet in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use durable_fs::{Fs as _, RealFs};
use fleet::{Config, WorkerRole};
use serde::Serialize;

use crate::error::CliError;
use crate::fleet_connection::{EmbeddedFleet, fleet_socket_path, uses_memory_broker};
use crate::output::{Output, note};
use crate::{serve, signals};
use service::exit_code::CommandExit;

/// Run all workers in this process and serve the repository over HTTP
///
/// The process holds the keys of every role. That is fine for a trial on one machine; with `environment: production`
/// the command refuses to start. Other `rugged` commands reach the workers through state_path/broker.sock.
///
/// Ctrl-C ends the command after the current work; a second Ctrl-C ends it immediately.
///
/// Exit codes: 0 after Ctrl-C; 5 refused in production, or because another process hosts the fleet; 6 the address is in
/// use, or a worker failed; 130 after a second Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rugged --config tuf-fleet-demo/config.yaml up
  rugged up --http 0.0.0.0:8080")]
pub struct UpArgs {
    /// Address to serve metadata/ and targets/ on; port 0 selects a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,
    /// Do not serve the repository
    #[arg(long, conflicts_with = "http")]
    pub no_http: bool,
}

/// The addresses and paths of the fleet, as `--json` prints them.
#[derive(Serialize)]
struct UpReport {
    http: Option<String>,
    metadata_url: Option<String>,
    targets_url: Option<String>,
    broker: String,
    socket: Option<String>,
    post_to_tuf_path: String,
    initialized: bool,
}

/// Hosts the fleet until a signal, or until a worker fails.
///
/// # Errors
/// When the address is in use, the workers cannot be hosted, or one of them fails.
pub async fn run(config: Arc<Config>, args: UpArgs, output: Output) -> Result<CommandExit, CliError> {
    let shutdown = signals::shutdown()?;
    // Bound before the workers start, so that an address in use starts no fleet.
    let listener = if args.no_http { None } else { Some(serve::bind(args.http).await?) };
    let mut embedded = EmbeddedFleet::start(&config, &WorkerRole::ALL).await?;
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let serving = listener.map(|listener| {
        let (config, shutdown) = (Arc::clone(&config), shutdown.clone());
        tokio::spawn(async move { serve::serve(listener, &config, shutdown).await })
    });
    note("this process holds the keys of every role; production needs one process per role");
    output.result(&report(&config, address)?, text)?;

    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        error = embedded.ended() => Some(error),
    };
    shutdown.cancel();
    let first_error = embedded.stop().await;
    if let Some(serving) = serving {
        // An open client connection must not delay the end.
        serving.abort();
    }
    match failure.or(first_error) {
        Some(error) => Err(error),
        None => Ok(CommandExit::Success),
    }
}

fn report(config: &Config, address: Option<SocketAddr>) -> Result<UpReport, CliError> {
    let url = |path: &str| address.map(|address| format!("http://{address}/{path}"));
    Ok(UpReport {
        http: url(""),
        metadata_url: url("metadata/"),
        targets_url: url("targets/"),
        broker: config.shown_broker_url(),
        socket: uses_memory_broker(config)?.then(|| fleet_socket_path(config).display().to_string()),
        post_to_tuf_path: config.post_to_tuf_path.display().to_string(),
        initialized: RealFs.stat(&config.trusted_root).is_ok(),
    })
}

fn text(report: &UpReport) -> String {
    let mut out = format!("workers     monitor, targets, snapshot, timestamp; broker {}\n", report.broker);
    if let Some(http) = &report.http {
        out.push_str(&format!("repository  {http}metadata/ and {http}targets/\n"));
    }
    out.push_str(&format!("drops       {}\n", report.post_to_tuf_path));
    if !report.initialized {
        out.push_str("no root yet: run `rugged generate-keys`, then `rugged initialize`, with this configuration\n");
    }
    out.push_str("press Ctrl-C to end\n");
    out
}
