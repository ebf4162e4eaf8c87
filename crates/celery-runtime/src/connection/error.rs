//! Why a connection could not be opened, or ended.

use std::{io, time::Duration};

use crate::{
    credentials::CredentialsError,
    redis::error::{RequestError, short_text},
    tls::TlsError,
};

/// Why a connection to a server could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The server did not answer in time.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The server closed the connection, or it broke.
    #[error("the connection ended")]
    Ended,
    /// The server is a replica of another, so it takes no writes.
    #[error("the server is a replica")]
    Replica,
    /// This process closed the connection.
    #[error("the connection was closed")]
    Closed,
    /// The RabbitMQ server cancelled the consumer.
    #[error("the broker cancelled the consumer")]
    ConsumerCancelled,
    /// A file of credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The settings of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket failed.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// An error of AMQP.
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
    /// An error of Redis.
    #[error("{}", short_text(.0))]
    Redis(#[from] redis::RedisError),
    /// A request to Redis has no answer.
    #[error(transparent)]
    Request(#[from] RequestError),
}
