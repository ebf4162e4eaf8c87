//! Locks with a lease: a lock is a key that expires unless its holder renews it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::Script;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::broker_state::RedisBrokerState;
use crate::{broker::lock::Lock, redis::RequestError};

/// How long the lock outlives a holder that is gone.
const LOCK_LEASE: Duration = Duration::from_secs(30);
/// How often the lock is renewed.
const LOCK_RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long before the end of the lease a holder that cannot renew it gives the lock up: more than clocks drift apart in a lease.
const LOCK_MARGIN: Duration = Duration::from_secs(5);

/// Renews the key only while it is ours.
static RENEW_LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
    )
});
/// Deletes the key only while it is ours.
static RELEASE_LOCK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

/// Takes the lock without waiting: `None` while it is held.
pub(super) async fn take_lock(state: &Arc<RedisBrokerState>, name: &str) -> Result<Option<Lock>, RequestError> {
    let key = format!("{}celery-runtime.lock.{name}", state.redis.url.prefix);
    let token = uuid::Uuid::new_v4().to_string();
    let requested = Instant::now();
    let mut set = redis::cmd("SET");
    set.arg(&key).arg(&token).arg("NX").arg("PX").arg(LOCK_LEASE.as_millis() as u64);
    let mut get = redis::cmd("GET");
    get.arg(&key);
    let (set, get) = (&set, &get);
    let taken: Option<String> =
        state.redis.request(|mut connection, _| async move { set.query_async(&mut connection).await }).await?;
    if taken.is_none() {
        // The answer to the first attempt may have been lost with its connection.
        let holder: Option<String> =
            state.redis.request(|mut connection, _| async move { get.query_async(&mut connection).await }).await?;
        if holder.as_deref() != Some(token.as_str()) {
            return Ok(None);
        }
    }
    let (lost, end) = (CancellationToken::new(), CancellationToken::new());
    let (renewed, ending) = (lost.clone(), end.clone());
    let (lease, until) = watch::channel(requested + LOCK_LEASE - LOCK_MARGIN);
    let keeper = state.clone();
    state.redis.tasks.spawn(async move {
        let held = renewed.drop_guard();
        tokio::select! {
            () = ending.cancelled() => {}
            () = keeper.redis.closed().cancelled() => {}
            () = renew_lock(&keeper, &key, &token, &lease) => {}
        }
        // Marks the lock as lost here before another process can get it.
        drop(held);
        let mut release = RELEASE_LOCK.key(&key);
        release.arg(&token);
        let release = &release;
        let released = keeper
            .redis
            .request_even_closing(|mut connection| async move { release.invoke_async::<usize>(&mut connection).await });
        if let Err(error) = released.await {
            tracing::debug!(%error, "lock not released; its lease ends it");
        }
    });
    Ok(Some(Lock::new(lost, end.drop_guard()).until(until)))
}

/// Renews the lock and reports in `lease` until when it is held. Returns when the lock is lost.
async fn renew_lock(state: &RedisBrokerState, key: &str, token: &str, lease: &watch::Sender<Instant>) {
    let mut until = *lease.borrow();
    let mut script = RENEW_LOCK.key(key);
    script.arg(token).arg(LOCK_LEASE.as_millis() as u64);
    let script = &script;
    loop {
        tokio::time::sleep_until((Instant::now() + LOCK_RENEW_INTERVAL).min(until)).await;
        let requested = Instant::now();
        if requested >= until {
            return;
        }
        let renewing =
            state.redis.request(|mut connection, _| async move { script.invoke_async::<usize>(&mut connection).await });
        match tokio::time::timeout_at(until, renewing).await {
            Ok(Ok(1)) => {
                until = requested + LOCK_LEASE - LOCK_MARGIN;
                lease.send_replace(until);
            }
            // The key is another process's, or gone.
            Ok(Ok(_)) => return,
            Ok(Err(error)) => tracing::debug!(%error, "lock not renewed"),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_lost_at_its_time_without_its_keeper() {
        let (lease, until) = watch::channel(Instant::now() + Duration::from_secs(3600));
        let lock = Lock::new(CancellationToken::new(), ()).until(until);
        assert!(lock.is_held());
        lease.send_replace(Instant::now());
        assert!(!lock.is_held());
        lock.lost().await;
        // A renewal counts that comes while a task waits for the loss.
        let end = Instant::now() + Duration::from_millis(50);
        lease.send_replace(end);
        let renewing = async {
            lease.send_replace(end + Duration::from_millis(50));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = lock.lost() => {}
            () = renewing => {}
        }
        assert!(Instant::now() >= end + Duration::from_millis(50));
    }
}
