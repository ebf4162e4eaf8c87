//! Publishes: pushes an envelope into a list, or sends it to a channel.

use std::sync::LazyLock;

use celery_protocol::redis::{
    BindingMember, Envelope,
    keys::{RESULT_SECONDS, is_fanout},
    scripts,
};
use redis::Script;

use super::broker_state::RedisBrokerState;
use crate::{
    broker::{
        error::PublishError,
        publish::{Guarantee, Publish},
    },
    redis::RequestError,
};

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::PUSH));

/// How many keys are searched for a binding before a queue counts as unknown.
const MAX_SCANNED_KEYS: usize = 100_000;

pub(super) async fn publish(state: &RedisBrokerState, publish: Publish) -> Result<(), PublishError> {
    let Publish { exchange, routing_key, message, guarantee } = publish;
    if let Some(expiration) = &message.properties.expiration
        && expiration.parse::<u32>().is_err()
    {
        // RabbitMQ would refuse it, and a message must not depend on its broker.
        return Err(PublishError::Refused { reason: "expiration is not a number of milliseconds".to_owned() });
    }
    let mandatory = guarantee == Guarantee::Confirmed { mandatory: true };
    let priority = message.properties.priority.unwrap_or(0);
    let is_task = message.headers.get("task").is_some();
    let tag = uuid::Uuid::new_v4().to_string();
    let envelope = Envelope::new(message, exchange.clone(), routing_key.clone(), tag).encode();
    let unroutable = || PublishError::Unroutable { exchange: exchange.clone(), routing_key: routing_key.clone() };
    if is_fanout(&exchange) {
        let channel = state.keys.fanout(state.redis.url.db, &exchange, &routing_key);
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(&envelope);
        let command = &command;
        return state
            .redis
            .request(|mut connection, _| async move { command.query_async::<()>(&mut connection).await })
            .await
            .map_err(publish_error);
    }
    if exchange.is_empty() {
        if push(state, &routing_key, priority, &envelope, mandatory, is_task).await? {
            return Ok(());
        }
        // The queue may be bound to an exchange of another name.
        if !is_bound_elsewhere(state, &routing_key).await? {
            return Err(unroutable());
        }
        push(state, &routing_key, priority, &envelope, false, is_task).await?;
        return Ok(());
    }
    let queues = bound_queues(state, &exchange, &routing_key).await?;
    if queues.is_empty() {
        return if mandatory { Err(unroutable()) } else { Ok(()) };
    }
    let mut pushes = redis::pipe();
    pushes.atomic();
    for queue in queues {
        pushes.lpush(state.keys.queue(&queue, priority), &envelope).ignore();
    }
    let pushes = &pushes;
    state
        .redis
        .request(|mut connection, _| async move { pushes.query_async::<()>(&mut connection).await })
        .await
        .map_err(publish_error)
}

/// Whether the queue took the message; with `known` an unknown queue does not.
async fn push(
    state: &RedisBrokerState,
    queue: &str,
    priority: u8,
    envelope: &str,
    known: bool,
    is_task: bool,
) -> Result<bool, PublishError> {
    let mut push = PUSH.key(state.keys.queue(queue, priority));
    for list in state.keys.queues(queue) {
        push.key(list);
    }
    push.key(state.keys.bindings(queue)).arg(envelope).arg(BindingMember::direct(queue, queue).encode());
    push.arg(i32::from(known)).arg(if is_task { 0 } else { RESULT_SECONDS });
    let push = &push;
    let length = state
        .redis
        .request(|mut connection, _| async move { push.invoke_async::<i64>(&mut connection).await })
        .await
        .map_err(publish_error)?;
    Ok(length > 0)
}

/// The queues bound to an exchange for this routing key.
pub(super) async fn bound_queues(
    state: &RedisBrokerState,
    exchange: &str,
    routing_key: &str,
) -> Result<Vec<String>, PublishError> {
    let members = members(state, &state.keys.bindings(exchange)).await?;
    let mut queues: Vec<_> =
        members.into_iter().filter(|member| member.takes(routing_key)).map(|member| member.queue).collect();
    queues.sort();
    queues.dedup();
    Ok(queues)
}

/// The bindings in one set.
async fn members(state: &RedisBrokerState, key: &str) -> Result<Vec<BindingMember>, PublishError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(key);
    let command = &command;
    let members: Vec<String> = state
        .redis
        .request(|mut connection, _| async move { command.query_async(&mut connection).await })
        .await
        .map_err(publish_error)?;
    Ok(members.iter().filter_map(|member| BindingMember::decode(member)).collect())
}

/// Whether any exchange has a binding of the queue. Checked only before a message would be refused.
async fn is_bound_elsewhere(state: &RedisBrokerState, queue: &str) -> Result<bool, PublishError> {
    let pattern = state.keys.bindings("*");
    let (mut cursor, mut scanned) = (0u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000).arg("TYPE").arg("set");
        let scan = &scan;
        let (next, keys): (u64, Vec<String>) = state
            .redis
            .request(|mut connection, _| async move { scan.query_async(&mut connection).await })
            .await
            .map_err(publish_error)?;
        for key in &keys {
            if members(state, key).await?.iter().any(|member| member.queue == queue) {
                return Ok(true);
            }
        }
        scanned += 1000;
        cursor = next;
        if cursor == 0 || scanned >= MAX_SCANNED_KEYS {
            return Ok(false);
        }
    }
}

fn publish_error(error: RequestError) -> PublishError {
    match error {
        RequestError::Closed => PublishError::Closed,
        RequestError::Refused { reason } => PublishError::Refused { reason },
        RequestError::Unavailable { sent: true, .. } => PublishError::Timeout,
        RequestError::Unavailable { reason, .. } => PublishError::Unavailable { reason },
    }
}
