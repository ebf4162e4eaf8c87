//! Keeps one connection alive.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties, Event,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};

use super::{Shared, link::Link, transport::guarded_runtime};
use crate::{
    broker::{AmqpUrl, backoff::Backoff, url::present_password},
    tls,
};

/// How often the connection is looked at, besides listening for what it reports.
const LOOK: Duration = Duration::from_secs(1);

/// Connects, waits for the connection to be lost, and again, until the broker is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(&shared.options);
    while !shared.closed.is_cancelled() {
        let mut wait = true;
        shared.servers.renew().await;
        let url = shared.servers.present();
        let attempt = tokio::select! {
            () = shared.closed.cancelled() => break,
            attempt = connect(&shared, &url) => attempt,
        };
        match attempt {
            Ok(connection) => {
                let since = tokio::time::Instant::now();
                let reason = serve(&shared, connection).await;
                if shared.closed.is_cancelled() {
                    break;
                }
                // A connection that holds for a while starts the waits anew, and its server is tried again first; one that
                // breaks at once is as good as none.
                if since.elapsed() > shared.options.max_retry {
                    backoff.reset();
                    shared.servers.reached();
                } else {
                    wait = shared.servers.next();
                }
                tracing::warn!(%url, error = %reason, "connection to the broker lost");
                shared.state.send_modify(|state| state.down(Some(reason)));
            }
            Err(reason) => {
                wait = shared.servers.next();
                let known = shared.state.borrow().last_error.as_deref() == Some(reason.as_str());
                if known {
                    tracing::debug!(%url, error = %reason, "broker still cannot be reached");
                } else {
                    tracing::warn!(%url, error = %reason, "broker cannot be reached, trying again");
                }
                shared.state.send_modify(|state| state.down(Some(reason)));
            }
        }
        if !wait {
            continue;
        }
        tokio::select! {
            () = shared.closed.cancelled() => break,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
    if let Some(link) = shared.link.send_replace(None) {
        link.close().await;
    }
    shared.state.send_modify(|state| state.down(None));
}

/// Largest frame asked for, in bytes. Longer messages travel in more frames.
// Smaller where it is fuzzed, so that the fuzzer reaches it.
pub(super) const FRAME_BYTES: u32 = if cfg!(fuzzing) { 2 << 10 } else { 32 << 10 };

async fn connect(shared: &Shared, url: &AmqpUrl) -> Result<Connection, String> {
    match tokio::time::timeout(shared.options.connect_timeout, open(shared, url)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {:?}", shared.options.connect_timeout)),
    }
}

async fn open(shared: &Shared, url: &AmqpUrl) -> Result<Connection, String> {
    let tls = match &url.tls {
        Some(files) => Some((tls::prepare(files, &shared.options.tls).await?, url.host.clone())),
        None => None,
    };
    let uri = AMQPUri {
        // TLS is below what lapin sees: it would take whichever provider the process has, and hide what the guard reads.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: url.user.clone(),
                password: present_password(&url.password, url.password_file.as_ref()).await?,
            },
            host: url.host.clone(),
            port: url.port,
        },
        vhost: url.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(u16::try_from(shared.options.heartbeat.as_secs().max(1)).unwrap_or(u16::MAX)),
            // lapin keeps two buffers of 32 frames: with the broker's 128 KiB they are most of a small worker's memory.
            frame_max: Some(FRAME_BYTES),
            ..AMQPQueryString::default()
        },
    };
    let properties =
        ConnectionProperties::default().with_connection_name(shared.options.connection_name.as_str().into());
    Connection::connect_uri_with_runtime(uri, properties, guarded_runtime(tls)).await.map_err(|error| error.to_string())
}

/// Offers the connection to everybody until it is lost; says why it was.
async fn serve(shared: &Shared, connection: Connection) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    let generation = shared.next_generation();
    let link = Arc::new(Link::new(connection));
    shared.link.send_replace(Some(link.clone()));
    shared.state.send_modify(|state| state.up(generation));
    tracing::info!(url = %shared.servers.present(), generation, "connected to the broker");
    let mut look = tokio::time::interval(LOOK);
    let reason = loop {
        tokio::select! {
            () = shared.closed.cancelled() => break "closed".to_owned(),
            event = events.next() => match event {
                Some(Event::Error(error)) => {
                    if !link.is_alive() {
                        break error.to_string();
                    }
                    tracing::debug!(%error, "the broker reported an error");
                }
                Some(Event::ConnectionBlocked(reason)) => tracing::warn!(%reason, "the broker blocks publishers"),
                Some(Event::ConnectionUnblocked) => tracing::info!("the broker takes messages again"),
                Some(_) => {}
                None => break "the connection ended".to_owned(),
            },
            _ = look.tick() => {
                if !link.is_alive() {
                    break "the connection ended".to_owned();
                }
            }
        }
    };
    shared.link.send_replace(None);
    // One that is worn out is open still, and what was handed out over it goes back when it closes.
    if shared.closed.is_cancelled() || link.is_open() {
        link.close().await;
    }
    link.give_up();
    reason
}
