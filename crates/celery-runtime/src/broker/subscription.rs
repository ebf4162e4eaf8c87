//! Broadcasts: control requests, their answers, and events.

use celery_protocol::topology::{self, ExchangeDeclare, Mailbox};

/// Broadcasts to receive by [`Broker::subscribe`](super::Broker::subscribe).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// The control requests that the worker `node` gets, as all workers do.
    ControlRequests {
        /// The worker's node name, `name@host`.
        node: String,
    },
    /// The answers to the control requests of one client.
    ControlReplies {
        /// The client's id, which is their routing key.
        client: String,
    },
    /// Events whose routing key fits a topic pattern.
    Events {
        /// Makes the queue's name unique; usually a UUID.
        id: String,
        /// The pattern: `#` for all events.
        binding: String,
    },
}

impl Subscription {
    /// The queue, its exchange and its binding.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox {
        match self {
            Self::ControlRequests { node } => Mailbox::control_requests(node),
            Self::ControlReplies { client } => Mailbox::control_replies(client),
            Self::Events { id, binding } => Mailbox::events(id, binding),
        }
    }
}

/// A kind of broadcast to send. Messages go by [`Broker::publish`](super::Broker::publish) to [`Broadcast::exchange`]; no one
/// has to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Broadcast {
    /// Control requests, with an empty routing key.
    ControlRequests,
    /// Their answers, with the asking client's id as routing key.
    ControlReplies,
    /// Events; the routing key is the type with a dot, or `task.multi`.
    Events,
}

impl Broadcast {
    /// The exchange's name.
    #[must_use]
    pub fn exchange(self) -> &'static str {
        match self {
            Self::ControlRequests => topology::CONTROL_EXCHANGE,
            Self::ControlReplies => topology::CONTROL_REPLY_EXCHANGE,
            Self::Events => topology::EVENT_EXCHANGE,
        }
    }

    /// The exchange as Celery declares it.
    #[must_use]
    pub fn declaration(self) -> ExchangeDeclare {
        match self {
            Self::ControlRequests => topology::control_exchange(),
            Self::ControlReplies => topology::control_reply_exchange(),
            Self::Events => topology::event_exchange(),
        }
    }
}
