//! A lock with a lease: a key that expires unless its holder renews it.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::Script;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{broker::Lock, redis::RequestError};

/// How long it outlives a holder that has gone.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// How long before its lease ends a holder that cannot renew it gives it up: more than clocks drift apart in a lease.
const MARGIN: Duration = Duration::from_secs(5);

/// Both touch the key only while it is ours.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
    )
});
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")
});

pub(super) async fn take(shared: &Arc<Shared>, name: &str) -> Result<Option<Lock>, RequestError> {
    let key = format!("{}celery-runtime.lock.{name}", shared.redis.url.prefix);
    let token = uuid::Uuid::new_v4().to_string();
    let asked = Instant::now();
    let mut set = redis::cmd("SET");
    set.arg(&key).arg(&token).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
    let mut get = redis::cmd("GET");
    get.arg(&key);
    let (set, get) = (&set, &get);
    let taken: Option<String> =
        shared.redis.request(|mut connection, _| async move { set.query_async(&mut connection).await }).await?;
    if taken.is_none() {
        // The answer to the first attempt may have been lost with its connection.
        let holder: Option<String> =
            shared.redis.request(|mut connection, _| async move { get.query_async(&mut connection).await }).await?;
        if holder.as_deref() != Some(token.as_str()) {
            return Ok(None);
        }
    }
    let (lost, end) = (CancellationToken::new(), CancellationToken::new());
    let (renewed, ending) = (lost.clone(), end.clone());
    let (lease, until) = watch::channel(asked + LEASE - MARGIN);
    let keeper = shared.clone();
    shared.redis.tasks.spawn(async move {
        let held = renewed.drop_guard();
        tokio::select! {
            () = ending.cancelled() => {}
            () = keeper.redis.closed.cancelled() => {}
            () = keep(&keeper, &key, &token, &lease) => {}
        }
        // Nobody here may believe in it any more once another one can get it.
        drop(held);
        let mut release = RELEASE.key(&key);
        release.arg(&token);
        let release = &release;
        let released = keeper
            .redis
            .request_even_closing(|mut connection| async move { release.invoke_async::<usize>(&mut connection).await });
        if let Err(error) = released.await {
            tracing::debug!(%error, "a lock is left to its lease");
        }
    });
    Ok(Some(Lock::new(lost, end.drop_guard()).until(until)))
}

/// Renews it and says in `lease` until when it is held; returns when it is lost.
async fn keep(shared: &Shared, key: &str, token: &str, lease: &watch::Sender<Instant>) {
    let mut until = *lease.borrow();
    let mut script = KEEP.key(key);
    script.arg(token).arg(LEASE.as_millis() as u64);
    let script = &script;
    loop {
        tokio::time::sleep_until((Instant::now() + RENEW).min(until)).await;
        let asked = Instant::now();
        if asked >= until {
            return;
        }
        let renewing = shared
            .redis
            .request(|mut connection, _| async move { script.invoke_async::<usize>(&mut connection).await });
        match tokio::time::timeout_at(until, renewing).await {
            Ok(Ok(1)) => {
                until = asked + LEASE - MARGIN;
                lease.send_replace(until);
            }
            // Somebody else's, or gone.
            Ok(Ok(_)) => return,
            Ok(Err(error)) => tracing::debug!(%error, "a lock could not be renewed"),
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
        // A renewal that comes while its loss is waited for counts.
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
