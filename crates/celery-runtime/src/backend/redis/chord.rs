//! Counting the members of a chord, and the claim to publish its body.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
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

use super::Shared;
use crate::backend::{BackendError, ReadyChord};

static PART: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_PART));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_RENEW));
static DONE: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_DONE));
static GIVE_UP: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::CHORD_GIVE_UP));

/// How long a claim holds that is not renewed, in seconds: how long a body waits whose publisher died.
const CLAIM_SECONDS: u64 = 20;
/// How often a claim is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(5);
/// How long a claim is renewed at most: a publisher that has not come back by then has failed.
const RENEWED_FOR: Duration = Duration::from_secs(60);
/// How often a claim of another is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long another's claim is waited for: until it was renewed for the last time and has run out.
const PATIENCE: Duration = Duration::from_secs(90);

/// How many bytes of the shape of a header are read. A task takes about a hundred.
const LARGEST_SHAPE: usize = 16 << 20;

/// The claims of this process, by group.
#[derive(Default)]
pub(super) struct Claims {
    held: Mutex<HashMap<String, Claim>>,
}

struct Claim {
    token: String,
    _renewing: AbortOnDropHandle<()>,
}

impl Claims {
    fn take(&self, group: &str) -> Option<Claim> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(group)
    }

    fn put(&self, group: &str, claim: Claim) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(group.to_owned(), claim);
    }
}

pub(super) async fn start(shared: &Shared, group: &str, size: u64) -> Result<(), BackendError> {
    let keys = shared.keys.chord(group);
    let mut start = redis::pipe();
    start.atomic();
    start.del(&keys.claim).ignore();
    match shared.expires {
        0 => start.set(&keys.size, size).ignore(),
        seconds => start.set_ex(&keys.size, size, seconds).ignore(),
    };
    let start = &start;
    Ok(shared.redis.request(|mut connection, _| async move { start.query_async::<()>(&mut connection).await }).await?)
}

pub(super) async fn part(
    shared: &Arc<Shared>,
    claims: &Claims,
    task: &TaskRequest,
    meta: &ResultMeta,
) -> Result<Option<ReadyChord>, BackendError> {
    let (Some(body), Some(group)) = (&task.embed.chord, &task.headers.group) else {
        return Ok(None);
    };
    let keys = shared.keys.chord(group);
    let outcome = match &meta.state {
        State::Success => MemberOutcome::Success(meta.result.clone()),
        state => MemberOutcome::Failure { state: state.as_str().to_owned(), result: meta.result.clone() },
    };
    let member = ChordMember { task_id: meta.task_id.clone(), outcome }.encode();
    let token = uuid::Uuid::new_v4().simple().to_string();
    let mut part = PART.key(&keys.members);
    part.key(&keys.total_diff).key(&keys.size).key(&keys.seen).key(&keys.group).key(&keys.claim);
    part.arg(&meta.task_id).arg(member).arg(task.headers.group_index.unwrap_or(0));
    part.arg(shared.expires).arg(CLAIM_SECONDS).arg(&token).arg(i64::from(shared.chord_ordered));
    let part = &part;
    let until = Instant::now() + PATIENCE;
    let ordered = loop {
        let (count, claimed, ordered): (i64, i64, i64) =
            shared.redis.request(|mut connection, _| async move { part.invoke_async(&mut connection).await }).await?;
        match (count, claimed) {
            (_, 1) => break ordered == 1,
            // Over, or members are missing.
            (-1, _) | (_, 0) => return Ok(None),
            // All are there, and another publishes the body. Should it die over that, it is for us.
            _ if Instant::now() < until => tokio::time::sleep(LOOK).await,
            _ => {
                return Err(BackendError::Unavailable { reason: format!("chord {group} is claimed and not finished") });
            }
        }
    };
    let renewing = AbortOnDropHandle::new(tokio::spawn(renew(shared.clone(), keys.clone(), token.clone())));
    let claim = Claim { token, _renewing: renewing };
    match outcome_of(shared, &keys, ordered).await {
        Ok(outcome) => {
            claims.put(group, claim);
            Ok(Some(ReadyChord { group: group.clone(), body: body.clone(), outcome }))
        }
        Err(error) => {
            give_up(shared, &keys, &claim.token).await;
            Err(error)
        }
    }
}

async fn outcome_of(
    shared: &Shared,
    keys: &ChordKeys,
    ordered: bool,
) -> Result<Result<Vec<Value>, celery_protocol::ExceptionInfo>, BackendError> {
    let mut range = redis::cmd(if ordered { "ZRANGE" } else { "LRANGE" });
    range.arg(&keys.members).arg(0).arg(-1);
    let range = &range;
    let members: Vec<Vec<u8>> =
        shared.redis.request(|mut connection, _| async move { range.query_async(&mut connection).await }).await?;
    let members: Result<Vec<_>, _> =
        members.iter().map(|member| ChordMember::decode(member, &Limits::default())).collect();
    let members = match members {
        Ok(members) => members,
        // Reading it again would end the same way, so it is the chord that fails.
        Err(error) => return Ok(Err(chord_error(error.to_string()))),
    };
    let ids: Vec<String> = members.iter().map(|member| member.task_id.clone()).collect();
    let results = match join(members) {
        Ok(results) => results,
        Err(failed) => return Ok(Err(failed)),
    };
    let mut shape = redis::cmd("GETRANGE");
    shape.arg(&keys.group).arg(0).arg(LARGEST_SHAPE);
    let shape = &shape;
    let shape: Vec<u8> =
        shared.redis.request(|mut connection, _| async move { shape.query_async(&mut connection).await }).await?;
    Ok(Ok(in_shape(&shape, &ids, &results).unwrap_or(results)))
}

/// The results as the header was built, where Python's client has noted its shape: it does so for a header with groups in it
/// (`apply_chord`), whose members are all counted as one chord. None if there is no shape, or it has other tasks.
fn in_shape(shape: &[u8], ids: &[String], results: &[Value]) -> Option<Vec<Value>> {
    let noted: Value = serde_json::from_slice(shape).ok()?;
    let results: HashMap<&str, &Value> = ids.iter().map(String::as_str).zip(results).collect();
    let Value::Array(built) = arranged(noted.get("result")?, &results)? else { return None };
    Some(built)
}

/// One result as `AsyncResult.as_tuple` writes it: its id with its parent's, then its members if it is a group's.
fn arranged(tuple: &Value, results: &HashMap<&str, &Value>) -> Option<Value> {
    match tuple.get(1)? {
        Value::Array(members) => members.iter().map(|member| arranged(member, results)).collect(),
        _ => results.get(tuple.get(0)?.get(0)?.as_str()?).map(|result| (*result).clone()),
    }
}

async fn renew(shared: Arc<Shared>, keys: ChordKeys, token: String) {
    let until = Instant::now() + RENEWED_FOR;
    let mut renew = RENEW.key(&keys.claim);
    renew.key(&keys.size).arg(&token).arg(CLAIM_SECONDS);
    while Instant::now() < until {
        tokio::time::sleep(RENEWED_EVERY).await;
        let renew = &renew;
        let renewed = shared
            .redis
            .request(|mut connection, _| async move { renew.invoke_async::<i64>(&mut connection).await })
            .await;
        match renewed {
            Ok(0) => return tracing::warn!(chord = keys.group, "the claim to a chord was lost"),
            Ok(_) => {}
            Err(error) => tracing::debug!(chord = keys.group, %error, "the claim to a chord could not be renewed"),
        }
    }
}

async fn give_up(shared: &Shared, keys: &ChordKeys, token: &str) {
    let mut script = GIVE_UP.key(&keys.claim);
    script.arg(token);
    let script = &script;
    let given = shared
        .redis
        .request_even_closing(|mut connection| async move { script.invoke_async::<()>(&mut connection).await })
        .await;
    if let Err(error) = given {
        tracing::debug!(chord = keys.group, %error, "a claim could not be given back, it runs out");
    }
}

pub(super) async fn done(shared: &Shared, claims: &Claims, group: &str) -> Result<(), BackendError> {
    let Some(claim) = claims.take(group) else {
        return Ok(());
    };
    let keys = shared.keys.chord(group);
    let mut done = DONE.key(&keys.claim);
    done.key(&keys.members).key(&keys.total_diff).key(&keys.size).key(&keys.seen);
    done.arg(&claim.token).arg(DONE_SECONDS);
    let done = &done;
    let ours = shared
        .redis
        .request(|mut connection, _| async move { done.invoke_async::<i64>(&mut connection).await })
        .await?;
    if ours == 0 {
        tracing::warn!(chord = group, "the claim to a chord had run out before its body was published");
    }
    Ok(())
}
