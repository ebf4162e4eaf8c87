//! Declares queues and exchanges exactly as Celery does, and uses those of other owners as they are.

use celery_protocol::{
    delayed::{DELIVERY_EXCHANGE, binding_key},
    topology::{self as celery, ExchangeDeclare, ExchangeKind, QueueDeclare},
};
use lapin::{
    Channel,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};

use super::{
    convert::{short, to_table},
    link::{AmqpLink, soft_error},
};
use crate::broker::queue::TaskQueue;

/// Declares exchange, queue and binding; then the further exchanges, each of which may fail without harm.
pub(super) async fn task_queue(link: &AmqpLink, queue: &TaskQueue) -> Result<(), lapin::Error> {
    let declare = celery::TaskQueueDeclaration::new(&queue.name);
    exchange(link, &declare.exchange).await?;
    self::queue(link, &declare.queue).await?;
    bind(link, &queue.name, &declare.binding.exchange, &declare.binding.routing_key).await?;
    for name in &queue.exchanges {
        let (kind, key) = match name.as_str() {
            DELIVERY_EXCHANGE => (ExchangeKind::Topic, binding_key(&queue.name)),
            _ => (ExchangeKind::Direct, queue.name.clone()),
        };
        let declare = ExchangeDeclare {
            name: name.clone(),
            kind,
            durable: true,
            auto_delete: false,
            arguments: celery_protocol::FieldTable::new(),
        };
        let outcome = match shared_exchange(link, &declare).await {
            Ok(()) => bind(link, &queue.name, name, &key).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if soft_error(&error).is_some() => {
                tracing::warn!(exchange = name, %error, "queue not bound to an additional exchange");
            }
            other => other?,
        }
    }
    Ok(())
}

pub(super) async fn reply_queue(link: &AmqpLink, name: &str) -> Result<(), lapin::Error> {
    queue(link, &celery::reply_queue(name, celery::RESULT_EXPIRES)).await
}

async fn exchange(link: &AmqpLink, declare: &ExchangeDeclare) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions {
        durable: declare.durable,
        auto_delete: declare.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let kind = match declare.kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
    };
    let outcome = on_channel(link, |channel| {
        let arguments = to_table(&declare.arguments);
        async move { channel.exchange_declare(short(&declare.name)?, kind, options, arguments?).await }
    })
    .await;
    match outcome {
        Err(error) if owned_by_others(&error) => {
            log_existing(&error, "exchange", &declare.name);
            existing_exchange(link, &declare.name).await
        }
        other => other,
    }
}

/// Declares a queue that only this connection may use; it goes with the connection. `None` if another connection has it.
pub(super) async fn exclusive_queue(link: &AmqpLink, name: &str) -> Result<Option<Channel>, lapin::Error> {
    let channel = link.channel().await?;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(short(name)?, options, FieldTable::default()).await {
        Ok(_) => Ok(Some(channel)),
        Err(error) if soft_error(&error) == Some(AMQPSoftError::RESOURCELOCKED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Declares a queue for broadcasts. It belongs to this connection, so a different queue of that name is an error.
pub(super) async fn mailbox(link: &AmqpLink, mailbox: &celery::Mailbox) -> Result<(), lapin::Error> {
    shared_exchange(link, &mailbox.exchange).await?;
    declare_queue(link, &mailbox.queue, declared(&mailbox.queue), &mailbox.queue.arguments).await?;
    let celery::Binding { queue, exchange, routing_key, .. } = &mailbox.binding;
    bind_or_fail(link, queue, exchange, routing_key).await
}

/// Declares an exchange, or uses an existing one as it is. The passive declaration comes first, because it needs no
/// permission and the broker cannot refuse it.
pub(super) async fn shared_exchange(link: &AmqpLink, declare: &ExchangeDeclare) -> Result<(), lapin::Error> {
    match existing_exchange(link, &declare.name).await {
        Err(error) if soft_error(&error) == Some(AMQPSoftError::NOTFOUND) => exchange(link, declare).await,
        other => other,
    }
}

async fn existing_exchange(link: &AmqpLink, name: &str) -> Result<(), lapin::Error> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    on_channel(link, |channel| async move {
        // The kind is not compared.
        channel.exchange_declare(short(name)?, lapin::ExchangeKind::Direct, options, FieldTable::default()).await
    })
    .await
}

async fn queue(link: &AmqpLink, declare: &QueueDeclare) -> Result<(), lapin::Error> {
    match declare_queue(link, declare, declared(declare), &declare.arguments).await {
        Err(error) if owned_by_others(&error) => {
            log_existing(&error, "queue", &declare.name);
            let passive = QueueDeclareOptions { passive: true, ..declared(declare) };
            declare_queue(link, declare, passive, &celery_protocol::FieldTable::new()).await
        }
        other => other,
    }
}

fn declared(declare: &QueueDeclare) -> QueueDeclareOptions {
    QueueDeclareOptions {
        durable: declare.durable,
        exclusive: declare.exclusive,
        auto_delete: declare.auto_delete,
        ..QueueDeclareOptions::default()
    }
}

async fn declare_queue(
    link: &AmqpLink,
    declare: &QueueDeclare,
    options: QueueDeclareOptions,
    arguments: &celery_protocol::FieldTable,
) -> Result<(), lapin::Error> {
    on_channel(link, |channel| {
        let arguments = to_table(arguments);
        async move { channel.queue_declare(short(&declare.name)?, options, arguments?).await.map(drop) }
    })
    .await
}

async fn bind(link: &AmqpLink, queue: &str, exchange: &str, routing_key: &str) -> Result<(), lapin::Error> {
    match bind_or_fail(link, queue, exchange, routing_key).await {
        // Tasks come by the default exchange, so a worker without permission to bind still gets them.
        Err(error) if soft_error(&error) == Some(AMQPSoftError::ACCESSREFUSED) => {
            tracing::info!(exchange, "no permission to bind the queue; using the administrator's bindings");
            Ok(())
        }
        other => other,
    }
}

async fn bind_or_fail(link: &AmqpLink, queue: &str, exchange: &str, routing_key: &str) -> Result<(), lapin::Error> {
    on_channel(link, |channel| async move {
        let options = QueueBindOptions::default();
        channel.queue_bind(short(queue)?, short(exchange)?, short(routing_key)?, options, FieldTable::default()).await
    })
    .await
}

/// 406 (other arguments) or 403 (no permission to create): a passive declaration may still do.
fn owned_by_others(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED))
}

/// Logs that an existing queue or exchange is used as it is. Where an administrator declares them all, as it should be, that is
/// no warning; another shape is.
fn log_existing(error: &lapin::Error, kind: &str, name: &str) {
    if soft_error(error) == Some(AMQPSoftError::ACCESSREFUSED) {
        tracing::info!(kind, name, "declaration not permitted; using the existing object");
    } else {
        tracing::warn!(kind, name, %error, "existing object differs from Celery's declaration; using it");
    }
}

/// Runs one request on the channel for declarations. A refused request ends its channel, so the next gets a new one.
async fn on_channel<F, Fut>(link: &AmqpLink, request: F) -> Result<(), lapin::Error>
where
    F: FnOnce(Channel) -> Fut,
    Fut: Future<Output = Result<(), lapin::Error>>,
{
    let mut slot = link.declare.lock().await;
    let channel = match slot.take().filter(|channel| channel.status().connected()) {
        Some(channel) => channel,
        None => link.channel().await?,
    };
    request(channel.clone()).await?;
    *slot = Some(channel);
    Ok(())
}
