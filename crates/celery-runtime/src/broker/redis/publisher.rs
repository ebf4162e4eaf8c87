//! Publishing: an envelope into a list, or onto a channel.

use std::sync::LazyLock;

use celery_protocol::redis::{
    BindingMember, Envelope,
    keys::{RESULT_SECONDS, is_fanout},
    scripts,
};
use redis::Script;

use super::Shared;
use crate::{
    broker::{Guarantee, Publish, PublishError},
    redis::RequestError,
};

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(scripts::PUSH));

/// How many keys are asked for a binding before a queue is held to be unknown.
const SCANNED: usize = 100_000;

pub(super) async fn publish(shared: &Shared, publish: Publish) -> Result<(), PublishError> {
    let Publish { exchange, routing_key, message, guarantee } = publish;
    if let Some(expiration) = &message.properties.expiration
        && expiration.parse::<u32>().is_err()
    {
        // RabbitMQ would refuse it; a message should not depend on the broker it is sent by.
        return Err(PublishError::Refused { reason: "expiration is not a number of milliseconds".to_owned() });
    }
    let mandatory = guarantee == Guarantee::Confirmed { mandatory: true };
    let priority = message.properties.priority.unwrap_or(0);
    let is_task = message.headers.get("task").is_some();
    let tag = uuid::Uuid::new_v4().to_string();
    let envelope = Envelope::new(message, exchange.clone(), routing_key.clone(), tag).encode();
    let unroutable = || PublishError::Unroutable { exchange: exchange.clone(), routing_key: routing_key.clone() };
    if is_fanout(&exchange) {
        let channel = shared.keys.fanout(shared.redis.url.db, &exchange, &routing_key);
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(&envelope);
        let command = &command;
        return shared
            .redis
            .request(|mut connection, _| async move { command.query_async::<()>(&mut connection).await })
            .await
            .map_err(failed);
    }
    if exchange.is_empty() {
        if push(shared, &routing_key, priority, &envelope, mandatory, is_task).await? {
            return Ok(());
        }
        // Bound to an exchange of another name, perhaps.
        if !is_bound_elsewhere(shared, &routing_key).await? {
            return Err(unroutable());
        }
        push(shared, &routing_key, priority, &envelope, false, is_task).await?;
        return Ok(());
    }
    let queues = bound(shared, &exchange, &routing_key).await?;
    if queues.is_empty() {
        return if mandatory { Err(unroutable()) } else { Ok(()) };
    }
    let mut pushes = redis::pipe();
    pushes.atomic();
    for queue in queues {
        pushes.lpush(shared.keys.queue(&queue, priority), &envelope).ignore();
    }
    let pushes = &pushes;
    shared
        .redis
        .request(|mut connection, _| async move { pushes.query_async::<()>(&mut connection).await })
        .await
        .map_err(failed)
}

/// Whether the queue took it; one that has to be known may not have.
async fn push(
    shared: &Shared,
    queue: &str,
    priority: u8,
    envelope: &str,
    known: bool,
    is_task: bool,
) -> Result<bool, PublishError> {
    let mut push = PUSH.key(shared.keys.queue(queue, priority));
    for list in shared.keys.queues(queue) {
        push.key(list);
    }
    push.key(shared.keys.bindings(queue)).arg(envelope).arg(BindingMember::direct(queue, queue).encode());
    push.arg(i32::from(known)).arg(if is_task { 0 } else { RESULT_SECONDS });
    let push = &push;
    let length = shared
        .redis
        .request(|mut connection, _| async move { push.invoke_async::<i64>(&mut connection).await })
        .await
        .map_err(failed)?;
    Ok(length > 0)
}

/// The queues bound to an exchange for this routing key.
pub(super) async fn bound(shared: &Shared, exchange: &str, routing_key: &str) -> Result<Vec<String>, PublishError> {
    let mut command = redis::cmd("SMEMBERS");
    command.arg(shared.keys.bindings(exchange));
    let command = &command;
    let members: Vec<String> = shared
        .redis
        .request(|mut connection, _| async move { command.query_async(&mut connection).await })
        .await
        .map_err(failed)?;
    let members = members.iter().filter_map(|member| BindingMember::decode(member));
    let mut queues: Vec<_> = members.filter(|member| member.takes(routing_key)).map(|member| member.queue).collect();
    queues.sort();
    queues.dedup();
    Ok(queues)
}

/// Whether any exchange knows the queue. Asked only before a message would be refused.
async fn is_bound_elsewhere(shared: &Shared, queue: &str) -> Result<bool, PublishError> {
    let pattern = shared.keys.bindings("*");
    let (mut cursor, mut seen) = (0u64, 0);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000).arg("TYPE").arg("set");
        let scan = &scan;
        let (next, keys): (u64, Vec<String>) = shared
            .redis
            .request(|mut connection, _| async move { scan.query_async(&mut connection).await })
            .await
            .map_err(failed)?;
        for key in &keys {
            let mut command = redis::cmd("SMEMBERS");
            command.arg(key);
            let command = &command;
            let members: Vec<String> = shared
                .redis
                .request(|mut connection, _| async move { command.query_async(&mut connection).await })
                .await
                .map_err(failed)?;
            if members.iter().filter_map(|member| BindingMember::decode(member)).any(|member| member.queue == queue) {
                return Ok(true);
            }
        }
        seen += 1000;
        cursor = next;
        if cursor == 0 || seen >= SCANNED {
            return Ok(false);
        }
    }
}

fn failed(error: RequestError) -> PublishError {
    match error {
        RequestError::Closed => PublishError::Closed,
        RequestError::Refused { reason } => PublishError::Refused { reason },
        RequestError::Unavailable { sent: true, .. } => PublishError::Timeout,
        RequestError::Unavailable { reason, .. } => PublishError::Unavailable { reason },
    }
}
