//! `rugged up`: the whole fleet in one process.

use std::net::SocketAddr;
use std::sync::Arc;

use durable_fs::{Fs as _, RealFs};
use fleet::Config;
use serde::Serialize;

use crate::args;
use crate::error::CliError;
use crate::output::{Output, note};
use crate::reach::{Embedded, Hosted, is_memory, socket_path};
use crate::{exit_code, serve, signals};

#[derive(Serialize)]
struct Document {
    http: Option<String>,
    metadata_url: Option<String>,
    targets_url: Option<String>,
    broker: String,
    socket: Option<String>,
    post_to_tuf_path: String,
    initialized: bool,
}

pub async fn run(config: Arc<Config>, args: args::Up, output: Output) -> Result<u8, CliError> {
    let shutdown = signals::shutdown()?;
    // Before the workers start: an address that is taken must not leave a fleet half up.
    let listener = if args.no_http { None } else { Some(serve::bind(args.http).await?) };
    let mut embedded = Embedded::start(&config, &Hosted::ALL).await?;
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let serving = listener.map(|listener| {
        let (config, shutdown) = (Arc::clone(&config), shutdown.clone());
        tokio::spawn(async move { serve::serve(listener, &config, shutdown).await })
    });
    note("this process holds the keys of every role: right for one machine, refused in production");
    let document = document(&config, address)?;
    output.result(&document, text)?;

    let failure = tokio::select! {
        () = shutdown.cancelled() => None,
        error = embedded.ended() => Some(error),
    };
    shutdown.cancel();
    let complaint = embedded.stop().await;
    if let Some(serving) = serving {
        // A client that keeps its connection open does not keep us.
        serving.abort();
    }
    match failure.or(complaint) {
        Some(error) => Err(error),
        None => Ok(exit_code::OK),
    }
}

fn document(config: &Config, address: Option<SocketAddr>) -> Result<Document, CliError> {
    let url = |path: &str| address.map(|address| format!("http://{address}/{path}"));
    Ok(Document {
        http: url(""),
        metadata_url: url("metadata/"),
        targets_url: url("targets/"),
        broker: config.shown_broker_url(),
        socket: is_memory(config)?.then(|| socket_path(config).display().to_string()),
        post_to_tuf_path: config.post_to_tuf_path.display().to_string(),
        initialized: RealFs.stat(&config.trusted_root).is_ok(),
    })
}

fn text(document: &Document) -> String {
    let mut out = format!("workers     monitor, targets, snapshot, timestamp; broker {}\n", document.broker);
    if let Some(http) = &document.http {
        out.push_str(&format!("repository  {http}metadata/ and {http}targets/\n"));
    }
    out.push_str(&format!("drops       {}\n", document.post_to_tuf_path));
    if !document.initialized {
        out.push_str(
            "there is no root yet: run `rugged generate-keys`, then `rugged initialize` with this configuration\n",
        );
    }
    out.push_str("Ctrl-C ends\n");
    out
}
