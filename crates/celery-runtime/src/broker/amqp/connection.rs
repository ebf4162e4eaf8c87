//! The connection to RabbitMQ: how it is opened and used.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use lapin::{
    Connection, ConnectionProperties, Event,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};

use tracing::Instrument as _;

use super::{
    guard::FRAME_BYTES,
    link::{AmqpLink, is_soft},
    transport::{TlsTarget, guarded_runtime},
};
use crate::{
    broker::error::BrokerError,
    connection::{ConnectionError, ConnectionLoss, SupervisedConnection, Transport},
    credentials::present_password,
    tls::TlsHandshaker,
    url::AmqpUrl,
};

/// How often the connection's state is checked, besides listening for its events.
const STATE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A supervised connection to RabbitMQ.
pub(super) type AmqpConnection = SupervisedConnection<AmqpUrl, Arc<AmqpLink>>;

/// Runs a declaration on the present connection, and on the next one if that is lost, until the time limit.
pub(super) async fn declare<F, Fut>(connection: &AmqpConnection, what: &str, declare: F) -> Result<(), BrokerError>
where
    F: Fn(Arc<AmqpLink>) -> Fut,
    Fut: Future<Output = Result<(), lapin::Error>>,
{
    let attempts = async {
        loop {
            let Some(link) = connection.link().await else {
                return Err(BrokerError::Closed);
            };
            match link.unless_lost(declare(link.clone())).await {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) if is_soft(&error) => {
                    return Err(BrokerError::Refused { what: what.to_owned(), reason: error.to_string() });
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "declaration failed with the connection; waiting for the next");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                None => {}
            }
        }
    };
    let attempts = attempts.instrument(tracing::error_span!("declaration", what));
    match tokio::time::timeout(connection.options.operation_timeout, attempts).await {
        Ok(outcome) => outcome,
        Err(_) => Err(BrokerError::Unavailable { reason: connection.reason() }),
    }
}

impl Transport for AmqpConnection {
    type Url = AmqpUrl;
    type Link = Arc<AmqpLink>;
    type Opened = Connection;

    fn supervised(&self) -> &SupervisedConnection<AmqpUrl, Arc<AmqpLink>> {
        self
    }

    async fn open(&self, url: &AmqpUrl) -> Result<Connection, ConnectionError> {
        let limit = self.options.connect_timeout;
        match tokio::time::timeout(limit, open(self, url)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ConnectionError::NoAnswer(limit)),
        }
    }

    async fn serve(&self, connection: Connection) -> ConnectionLoss {
        let mut events = std::pin::pin!(connection.events_listener());
        let generation = self.next_generation();
        let link = Arc::new(AmqpLink::new(connection));
        self.offer(link.clone(), generation);
        let mut check = tokio::time::interval(STATE_CHECK_INTERVAL);
        let error = loop {
            tokio::select! {
                () = self.closed.cancelled() => break ConnectionError::Closed,
                event = events.next() => match event {
                    Some(Event::Error(error)) => {
                        if !link.is_usable() {
                            break error.into();
                        }
                        tracing::debug!(%error, "broker reported an error");
                    }
                    Some(Event::ConnectionBlocked(reason)) => tracing::warn!(%reason, "broker blocks publishers"),
                    Some(Event::ConnectionUnblocked) => tracing::info!("broker accepts messages again"),
                    Some(_) => {}
                    None => break ConnectionError::Ended,
                },
                _ = check.tick() => {
                    if !link.is_usable() {
                        break ConnectionError::Ended;
                    }
                }
            }
        };
        self.withdraw();
        // A connection that is out of channels is still open; its deliveries are requeued when it closes.
        if self.closed.is_cancelled() || link.is_open() {
            link.close().await;
        }
        link.give_up();
        error.into()
    }
}

async fn open(connection: &AmqpConnection, url: &AmqpUrl) -> Result<Connection, ConnectionError> {
    let options = &connection.options;
    let tls = match &url.tls {
        Some(files) => {
            Some(TlsTarget { handshaker: TlsHandshaker::prepare(files, &options.tls).await?, host: url.host.clone() })
        }
        None => None,
    };
    let uri = AMQPUri {
        // TLS is below what lapin sees: it would take whichever provider the process has, and hide what the guard reads.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: url.user.clone(),
                password: present_password(&url.password, url.password_file.as_ref()).await?,
            },
            host: url.host.clone(),
            port: url.port,
        },
        vhost: url.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(u16::try_from(options.heartbeat.as_secs().max(1)).unwrap_or(u16::MAX)),
            // lapin keeps two buffers of 32 frames: with the broker's 128 KiB they are most of a small worker's memory.
            frame_max: Some(FRAME_BYTES),
            ..AMQPQueryString::default()
        },
    };
    let properties = ConnectionProperties::default().with_connection_name(options.connection_name.as_str().into());
    Ok(Connection::connect_uri_with_runtime(uri, properties, guarded_runtime(tls)).await?)
}
