//! Errors between this process and a broker.

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No queue takes the mandatory message. No consumer has seen it.
    #[error("no queue takes messages for routing key {routing_key:?} on exchange {exchange:?}")]
    Unroutable {
        /// The exchange published to; empty is the default exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// The broker refused to take responsibility (a full queue that rejects, an internal fault). A consumer may have seen
    /// it.
    #[error("the broker did not accept the message for {routing_key:?}")]
    Nacked {
        /// The routing key.
        routing_key: String,
    },
    /// The broker forbids it: no permission, message too large, invalid property. No consumer has seen it.
    #[error("the broker refused the message: {reason}")]
    Refused {
        /// The text of the broker.
        reason: String,
    },
    /// There was no connection to the broker in time. No consumer has seen the message.
    #[error("the broker cannot be reached: {reason}")]
    Unavailable {
        /// The last connection error.
        reason: String,
    },
    /// Sent, but not confirmed in time. A consumer may have seen it.
    #[error("the broker did not confirm the message in time")]
    Timeout,
    /// The message cannot be expressed on this transport. No consumer has seen it.
    #[error("the message cannot be sent: {reason}")]
    Invalid {
        /// Why not.
        reason: String,
    },
    /// [`Broker::close`](super::Broker::close) was called. No consumer has seen the message.
    #[error("the broker connection was closed")]
    Closed,
}

/// Why a declaration or a consumer was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// There was no connection to the broker in time.
    #[error("the broker cannot be reached: {reason}")]
    Unavailable {
        /// The last connection error.
        reason: String,
    },
    /// The broker refused.
    #[error("the broker refused {what}: {reason}")]
    Refused {
        /// The object of the request.
        what: String,
        /// The text of the broker.
        reason: String,
    },
    /// This broker cannot do that.
    #[error("this broker cannot {0}")]
    Unsupported(&'static str),
    /// [`Broker::close`](super::Broker::close) was called.
    #[error("the broker connection was closed")]
    Closed,
}

/// Why a delivery was not settled. In every case the broker still owns the message and delivers it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The delivery came over a connection or channel that no longer exists. Acknowledging it on the present one could
    /// acknowledge another message, so nothing was sent.
    #[error("the delivery belongs to connection generation {generation}, which has ended")]
    Stale {
        /// The generation the delivery came with.
        generation: u64,
    },
    /// The delivery was settled before.
    #[error("the delivery was settled already")]
    AlreadySettled,
    /// The acknowledgement could not be sent.
    #[error("the acknowledgement could not be sent: {reason}")]
    Unavailable {
        /// The text of the transport.
        reason: String,
    },
}
