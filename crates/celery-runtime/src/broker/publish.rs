//! Messages on their way out.

use celery_protocol::message::Message;

/// Which guarantee a publisher asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// The broker confirms that it has the message. With `mandatory` also that a queue took it; otherwise the publish fails
    /// with [`PublishError::Unroutable`](super::PublishError::Unroutable).
    Confirmed {
        /// Fail if no queue takes the message.
        mandatory: bool,
    },
    /// Written without a confirm: for events, progress and replies that perhaps no one waits for.
    FireAndForget,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The exchange; empty is the default exchange, which routes by queue name.
    pub exchange: String,
    /// The routing key; on the default exchange the queue's name.
    pub routing_key: String,
    /// The message.
    pub message: Message,
    /// The guarantee to ask for.
    pub guarantee: Guarantee,
}

impl Publish {
    /// A task for `queue`, by the default exchange: confirmed and mandatory.
    #[must_use]
    pub fn task(queue: impl Into<String>, message: Message) -> Self {
        Self {
            exchange: String::new(),
            routing_key: queue.into(),
            message,
            guarantee: Guarantee::Confirmed { mandatory: true },
        }
    }

    /// A result for a reply queue: confirmed. A missing reply queue is no error, because the caller has left.
    #[must_use]
    pub fn reply(queue: impl Into<String>, message: Message) -> Self {
        Self {
            exchange: String::new(),
            routing_key: queue.into(),
            message,
            guarantee: Guarantee::Confirmed { mandatory: false },
        }
    }
}
