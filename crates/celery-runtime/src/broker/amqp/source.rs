//! The source of an AMQP consumer.

use celery_protocol::topology::Mailbox;

use crate::broker::queue::TaskQueue;

/// The queue of a consumer, and how it is consumed.
#[derive(Debug, Clone)]
pub(super) enum AmqpSource {
    Tasks { queue: TaskQueue, prefetch: u16 },
    Replies { name: String },
    Broadcasts(Mailbox),
}

impl AmqpSource {
    pub fn queue(&self) -> &str {
        match self {
            Self::Tasks { queue, .. } => &queue.name,
            Self::Replies { name } => name,
            Self::Broadcasts(mailbox) => &mailbox.queue.name,
        }
    }

    pub fn no_ack(&self) -> bool {
        !matches!(self, Self::Tasks { .. })
    }

    pub fn is_broadcast(&self) -> bool {
        matches!(self, Self::Broadcasts(_))
    }
}
