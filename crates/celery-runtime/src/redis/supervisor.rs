//! Keeps one connection alive.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{Link, Redis, error::words, transport::Opened};
use crate::broker::backoff::Backoff;

/// How long those who have something to put in order get when the connection is closed.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Connects, waits for the connection to be lost, and again, until it is closed.
pub(super) async fn run(shared: Arc<Redis>) {
    let mut backoff = Backoff::new(&shared.options);
    while !shared.closed.is_cancelled() {
        let mut wait = true;
        shared.servers.renew().await;
        let url = shared.servers.present();
        let attempt = tokio::select! {
            () = shared.closed.cancelled() => break,
            attempt = shared.open() => attempt,
        };
        match attempt {
            Ok(opened) => {
                let since = tokio::time::Instant::now();
                let Ended { reason, useless } = serve(&shared, opened).await;
                if shared.closed.is_cancelled() {
                    break;
                }
                // A connection that holds for a while starts the waits anew, and its server is tried again first; one that
                // breaks at once is as good as none.
                if since.elapsed() > shared.options.max_retry && !useless {
                    backoff.reset();
                    shared.servers.reached();
                } else {
                    wait = shared.servers.next();
                }
                tracing::warn!(%url, error = %reason, "connection to redis lost");
                shared.state.send_modify(|state| state.down(Some(reason)));
            }
            Err(reason) => {
                wait = shared.servers.next();
                let known = shared.state.borrow().last_error.as_deref() == Some(reason.as_str());
                if known {
                    tracing::debug!(%url, error = %reason, "redis still cannot be reached");
                } else {
                    tracing::warn!(%url, error = %reason, "redis cannot be reached, trying again");
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
    shared.state.send_modify(|state| state.down(None));
    shared.ended.cancel();
}

/// Why a connection is used no more.
struct Ended {
    reason: String,
    /// The server is there, and of no use.
    useless: bool,
}

impl Ended {
    fn lost(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), useless: false }
    }
}

/// Offers the connection to everybody until it is lost; says why it was.
async fn serve(shared: &Redis, opened: Opened) -> Ended {
    let Opened { connection, mut driver } = opened;
    let generation = shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
    let lost = CancellationToken::new();
    let _lost = lost.clone().drop_guard();
    let link = Link { connection: connection.clone(), generation, lost };
    shared.link.send_replace(Some(link));
    shared.state.send_modify(|state| state.up(generation));
    tracing::info!(url = %shared.servers.present(), generation, "connected to redis");
    let alive = still_there(shared, connection);
    let ended = tokio::select! {
        () = shared.closed.cancelled() => {
            // Whoever holds messages gives them back over this connection.
            shared.tasks.close();
            tokio::select! {
                _ = tokio::time::timeout(LAST_WORDS, shared.tasks.wait()) => {}
                _ = &mut driver => {}
            }
            Ended::lost("closed")
        }
        _ = &mut driver => Ended::lost("the connection ended"),
        ended = alive => ended,
    };
    shared.link.send_replace(None);
    ended
}

/// Asks at regular times whether Redis still answers; returns when it does not. Where there is another server it is asked as
/// well whether it has become a replica, which takes no writes and would be waited for in vain.
async fn still_there(shared: &Redis, mut connection: redis::aio::MultiplexedConnection) -> Ended {
    let every = super::transport::patience(&shared.options) / 2;
    loop {
        let answer: redis::RedisResult<()> = redis::cmd("PING").query_async(&mut connection).await;
        if let Err(error) = answer
            && super::judge(&error) == super::Failure::Lost
        {
            return Ended::lost(words(&error));
        }
        // Where it is not allowed to ask, there is no telling.
        if shared.servers.has_others()
            && let Ok(redis::Value::Array(role)) = redis::cmd("ROLE").query_async(&mut connection).await
            && role.first().is_some_and(|role| is_text(role, "slave"))
        {
            return Ended { reason: "it is a replica".to_owned(), useless: true };
        }
        tokio::time::sleep(every).await;
    }
}

fn is_text(value: &redis::Value, text: &str) -> bool {
    match value {
        redis::Value::BulkString(bytes) => bytes == text.as_bytes(),
        redis::Value::SimpleString(simple) => simple == text,
        _ => false,
    }
}
