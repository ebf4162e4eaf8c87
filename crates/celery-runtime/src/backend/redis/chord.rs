//! Counts the members of a chord, and holds the claim to publish its body.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use celery_protocol::{
    Limits, ResultMeta, State, TaskRequest,
    redis::{
        ChordKeys, ChordMember, MemberOutcome,
        chord::{DONE_SECONDS, chord_error, join},
        scripts,
    },
};
use redis::Script;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::results::RedisResults;
use crate::{
    backend::{error::BackendError, traits::ReadyChord},
    sync::lock,
};

static COUNT_MEMBER: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_PART));
static RENEW_CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_RENEW));
static CHORD_DONE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_DONE));
static RELEASE_CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_GIVE_UP));

/// How long a claim holds without renewal, in seconds: how long a body waits after its publisher died.
const CLAIM_SECONDS: u64 = 20;
/// How often a claim is renewed.
const CLAIM_RENEW_INTERVAL: Duration = Duration::from_secs(5);
/// How long a claim is renewed at most: a publisher that is not done by then has failed.
const MAX_CLAIM_TIME: Duration = Duration::from_secs(60);
/// How often the claim of another worker is checked.
const CLAIM_CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait for the claim of another worker: until its last renewal and its end.
const CLAIM_WAIT: Duration = Duration::from_secs(90);

/// How many bytes of the shape of a header are read. A task takes about a hundred.
const MAX_SHAPE_BYTES: usize = 16 << 20;

/// The claims of this process, by group.
#[derive(Default)]
pub(super) struct ChordClaims {
    by_group: Mutex<HashMap<String, ChordClaim>>,
}

/// A claim to publish the body of a chord, renewed as long as this exists.
struct ChordClaim {
    token: String,
    _renewing: AbortOnDropHandle<()>,
}

impl ChordClaims {
    fn take(&self, group: &str) -> Option<ChordClaim> {
        lock(&self.by_group).remove(group)
    }

    fn put(&self, group: &str, claim: ChordClaim) {
        lock(&self.by_group).insert(group.to_owned(), claim);
    }
}

/// Announces a chord of `size` members.
pub(super) async fn start(store: &RedisResults, group: &str, size: u64) -> Result<(), BackendError> {
    let keys = store.keys.chord(group);
    let mut start = redis::pipe();
    start.atomic();
    start.del(&keys.claim).ignore();
    match store.expires {
        0 => start.set(&keys.size, size).ignore(),
        seconds => start.set_ex(&keys.size, size, seconds).ignore(),
    };
    let start = &start;
    Ok(store.redis.request(|mut connection, _| async move { start.query_async::<()>(&mut connection).await }).await?)
}

/// Counts a member. Returns the chord once complete, with the claim to publish its body.
pub(super) async fn part(
    store: &Arc<RedisResults>,
    claims: &ChordClaims,
    task: &TaskRequest,
    meta: &ResultMeta,
) -> Result<Option<ReadyChord>, BackendError> {
    let (Some(body), Some(group)) = (&task.embed.chord, &task.headers.group) else {
        return Ok(None);
    };
    let keys = store.keys.chord(group);
    let outcome = match &meta.state {
        State::Success => MemberOutcome::Success(meta.result.clone()),
        state => MemberOutcome::Failure { state: state.as_str().to_owned(), result: meta.result.clone() },
    };
    let member = ChordMember { task_id: meta.task_id.clone(), outcome }.encode();
    let token = uuid::Uuid::new_v4().simple().to_string();
    let mut part = COUNT_MEMBER.key(&keys.members);
    part.key(&keys.total_diff).key(&keys.size).key(&keys.seen).key(&keys.group).key(&keys.claim);
    part.arg(&meta.task_id).arg(member).arg(task.headers.group_index.unwrap_or(0));
    part.arg(store.expires).arg(CLAIM_SECONDS).arg(&token).arg(i64::from(store.chord_ordered));
    let part = &part;
    let until = Instant::now() + CLAIM_WAIT;
    let ordered = loop {
        let (count, claimed, ordered): (i64, i64, i64) =
            store.redis.request(|mut connection, _| async move { part.invoke_async(&mut connection).await }).await?;
        match (count, claimed) {
            (_, 1) => break ordered == 1,
            // The chord is done, or members are missing.
            (-1, _) | (_, 0) => return Ok(None),
            // All members are counted, and another worker publishes the body. If it dies, this one does.
            _ if Instant::now() < until => tokio::time::sleep(CLAIM_CHECK_INTERVAL).await,
            _ => {
                return Err(BackendError::Unavailable {
                    reason: format!("another worker holds chord {group} and has not published its body"),
                });
            }
        }
    };
    let renewing = AbortOnDropHandle::new(tokio::spawn(renew_claim(store.clone(), keys.clone(), token.clone())));
    let claim = ChordClaim { token, _renewing: renewing };
    match outcome_of(store, &keys, ordered).await {
        Ok(outcome) => {
            claims.put(group, claim);
            Ok(Some(ReadyChord { group: group.clone(), body: body.clone(), outcome }))
        }
        Err(error) => {
            release_claim(store, &keys, &claim.token).await;
            Err(error)
        }
    }
}

/// The results of the members, or the exception of the body.
async fn outcome_of(
    store: &RedisResults,
    keys: &ChordKeys,
    ordered: bool,
) -> Result<Result<Vec<Value>, celery_protocol::ExceptionInfo>, BackendError> {
    let mut range = redis::cmd(if ordered { "ZRANGE" } else { "LRANGE" });
    range.arg(&keys.members).arg(0).arg(-1);
    let range = &range;
    let members: Vec<Vec<u8>> =
        store.redis.request(|mut connection, _| async move { range.query_async(&mut connection).await }).await?;
    let members: Result<Vec<_>, _> =
        members.iter().map(|member| ChordMember::decode(member, &Limits::default())).collect();
    let members = match members {
        Ok(members) => members,
        // Another read would fail the same way, so the chord fails.
        Err(error) => return Ok(Err(chord_error(error.to_string()))),
    };
    let ids: Vec<String> = members.iter().map(|member| member.task_id.clone()).collect();
    let results = match join(members) {
        Ok(results) => results,
        Err(failed) => return Ok(Err(failed)),
    };
    let mut shape = redis::cmd("GETRANGE");
    shape.arg(&keys.group).arg(0).arg(MAX_SHAPE_BYTES);
    let shape = &shape;
    let shape: Vec<u8> =
        store.redis.request(|mut connection, _| async move { shape.query_async(&mut connection).await }).await?;
    Ok(Ok(in_shape(&shape, &ids, &results).unwrap_or(results)))
}

/// The results nested as the header was built, where Python's client has stored its shape. It does so for a header with groups in
/// it (`apply_chord`), whose members are all counted as one chord. `None` without a shape, or for a shape with other tasks.
fn in_shape(shape: &[u8], ids: &[String], results: &[Value]) -> Option<Vec<Value>> {
    let noted: Value = serde_json::from_slice(shape).ok()?;
    let results: HashMap<&str, &Value> = ids.iter().map(String::as_str).zip(results).collect();
    let Value::Array(built) = arranged(noted.get("result")?, &results)? else { return None };
    Some(built)
}

/// The results of one tuple as `AsyncResult.as_tuple` writes it: the id with its parent's, then the members of a group.
fn arranged(tuple: &Value, results: &HashMap<&str, &Value>) -> Option<Value> {
    match tuple.get(1)? {
        Value::Array(members) => members.iter().map(|member| arranged(member, results)).collect(),
        _ => results.get(tuple.get(0)?.get(0)?.as_str()?).map(|result| (*result).clone()),
    }
}

async fn renew_claim(store: Arc<RedisResults>, keys: ChordKeys, token: String) {
    let until = Instant::now() + MAX_CLAIM_TIME;
    let mut renew = RENEW_CLAIM.key(&keys.claim);
    renew.key(&keys.size).arg(&token).arg(CLAIM_SECONDS);
    while Instant::now() < until {
        tokio::time::sleep(CLAIM_RENEW_INTERVAL).await;
        let renew = &renew;
        let renewed = store
            .redis
            .request(|mut connection, _| async move { renew.invoke_async::<i64>(&mut connection).await })
            .await;
        match renewed {
            Ok(0) => return tracing::warn!(chord = keys.group, "claim to a chord lost"),
            Ok(_) => {}
            Err(error) => tracing::debug!(chord = keys.group, %error, "claim to a chord not renewed"),
        }
    }
}

async fn release_claim(store: &RedisResults, keys: &ChordKeys, token: &str) {
    let mut script = RELEASE_CLAIM.key(&keys.claim);
    script.arg(token);
    let script = &script;
    let given = store
        .redis
        .request_even_closing(|mut connection| async move { script.invoke_async::<()>(&mut connection).await })
        .await;
    if let Err(error) = given {
        tracing::debug!(chord = keys.group, %error, "claim to a chord not released; it expires");
    }
}

/// Deletes the counters of a chord whose body was published.
pub(super) async fn done(store: &RedisResults, claims: &ChordClaims, group: &str) -> Result<(), BackendError> {
    let Some(claim) = claims.take(group) else {
        return Ok(());
    };
    let keys = store.keys.chord(group);
    let mut done = CHORD_DONE.key(&keys.claim);
    done.key(&keys.members).key(&keys.total_diff).key(&keys.size).key(&keys.seen);
    done.arg(&claim.token).arg(DONE_SECONDS);
    let done = &done;
    let ours =
        store.redis.request(|mut connection, _| async move { done.invoke_async::<i64>(&mut connection).await }).await?;
    if ours == 0 {
        tracing::warn!(chord = group, "claim to a chord expired before its body was published");
    }
    Ok(())
}
