//! What has to happen from time to time.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use celery_protocol::redis::{
    keys::{LEASE_SECONDS, LEASED_TAG, MUTEX_MILLISECONDS},
    scripts,
};
use redis::{Script, ToRedisArgs};

use super::{
    Shared,
    held::Held,
    restore::{End, push_back, put_back},
};
use crate::redis::RequestError;

static DUE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::DUE));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::RELEASE));
static REFRESH: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::REFRESH));

/// How often tags are renewed, at most.
const RENEW: Duration = Duration::from_secs(60);
/// How long it is waited after Redis could not be told: others may think us dead already.
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked for what dead workers held, at most. As Celery does.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is looked for what a request took that arrived late.
const LATE: Duration = Duration::from_secs(2);
/// How many messages are put back in one step.
const AT_ONCE: usize = 16;
/// How many tags one command renews.
const TAGS_AT_ONCE: usize = 1000;

/// Renews what a consumer holds, until the consumer has ended (its future is dropped).
pub(super) async fn renew(shared: &Shared, held: &Held) {
    let every = RENEW.min(shared.redis.url.visibility_timeout / 4).min(lease(shared) / 4);
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        let told = held.acknowledge_late(shared).await;
        let renewed = renew_now(shared, held).await;
        if let Err(error) = &renewed {
            tracing::debug!(%error, "deliveries could not be renewed");
        }
        wait = if told && renewed.is_ok() { every } else { every.min(AGAIN) };
    }
}

/// Renews once what a consumer holds.
pub(super) async fn renew_now(shared: &Shared, held: &Held) -> Result<(), RequestError> {
    for tags in held.tags().chunks(TAGS_AT_ONCE) {
        let kept = refresh(shared, tags).await?;
        if kept < tags.len() {
            tracing::warn!(lost = tags.len() - kept, "somebody put back messages that are still worked on");
        }
    }
    Ok(())
}

/// Makes these tags as young as if they were taken now; returns how many are still there.
async fn refresh<T: ToRedisArgs + Sync>(shared: &Shared, tags: &[T]) -> Result<usize, RequestError> {
    let mut script = REFRESH.key(shared.keys.unacked_index());
    for tag in tags {
        script.arg(tag);
    }
    let script = &script;
    shared.redis.request(|mut connection, _| async move { script.invoke_async::<usize>(&mut connection).await }).await
}

/// Puts back what was handed out to connections that had been given up, until the consumer has ended (its future is dropped).
pub(super) async fn take_back_what_came_late(shared: &Shared, held: &Held) {
    loop {
        tokio::time::sleep(LATE).await;
        // What comes later still is found by its lease.
        let suspects = held.suspects(lease(shared));
        if suspects.is_empty() {
            continue;
        }
        match put_back(shared, suspects, End::Next).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "put back messages a request took that arrived late"),
            Err(error) => tracing::debug!(%error, "cannot look for what came late"),
        }
    }
}

fn lease(shared: &Shared) -> Duration {
    Duration::from_secs(LEASE_SECONDS).min(shared.redis.url.visibility_timeout)
}

/// Puts back what was not acknowledged in time, until the broker is closed.
pub(super) async fn restore_what_was_left(shared: Arc<Shared>) {
    let every = LOOK.min(shared.redis.url.visibility_timeout / 4);
    loop {
        loop {
            match restore_some(&shared).await {
                Ok(None) => break,
                // Others may be due behind those that cannot be put back.
                Ok(Some(0)) => {}
                Ok(Some(count)) => {
                    tracing::warn!(count, "put back messages whose worker did not acknowledge them in time");
                }
                Err(RequestError::Closed) => return,
                Err(error) => {
                    tracing::debug!(%error, "cannot look for messages of dead workers");
                    break;
                }
            }
        }
        tokio::select! {
            () = shared.redis.closed.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// One step: how many were put back, or none when there is nothing more to look at. What is due and was not put back is
/// then as young as if it were taken now, so that the next step sees others.
async fn restore_some(shared: &Shared) -> Result<Option<usize>, RequestError> {
    let token = uuid::Uuid::new_v4().to_string();
    let (visibility, lease) = (shared.redis.url.visibility_timeout, lease(shared));
    let mut due = DUE.key(shared.keys.unacked_index());
    due.key(shared.keys.unacked()).key(shared.keys.unacked_mutex());
    due.arg(&token).arg(MUTEX_MILLISECONDS).arg(visibility.as_secs_f64()).arg(lease.as_secs_f64());
    due.arg(LEASED_TAG).arg(AT_ONCE);
    let due = &due;
    let found: Vec<Vec<u8>> =
        shared.redis.request(|mut connection, _| async move { due.invoke_async(&mut connection).await }).await?;
    if found.is_empty() {
        return Ok(None);
    }
    let (mut tags, mut pairs) = (Vec::new(), Vec::new());
    let mut parts = found.into_iter();
    while let (Some(tag), Some(value)) = (parts.next(), parts.next()) {
        let text = String::from_utf8_lossy(&tag).into_owned();
        tags.push(tag);
        // Ours are worked on, though Redis could not be told for a while.
        if !shared.holds(&text) {
            pairs.push((text, value));
        }
    }
    // The oldest is pushed last, so it is taken first.
    pairs.reverse();
    // A tag of ours that is renewed meanwhile is younger than its lease again; one of Python's is judged by the same age,
    // which its own score has passed.
    let restored = push_back(shared, pairs, lease, End::Next).await;
    let left = match &restored {
        Ok(count) if *count < tags.len() => refresh(shared, &tags).await,
        // It would be refused again the next time, and nothing behind it ever be looked at.
        Err(RequestError::Refused { .. }) => refresh(shared, &tags).await,
        _ => Ok(0),
    };
    let mut release = RELEASE.key(shared.keys.unacked_mutex());
    release.arg(&token);
    let release = &release;
    shared.redis.request(|mut connection, _| async move { release.invoke_async::<()>(&mut connection).await }).await?;
    let (left, restored) = (left?, restored?);
    // Where nothing was changed there is nothing to be found by looking again at once.
    Ok(if restored == 0 && left == 0 { None } else { Some(restored) })
}
