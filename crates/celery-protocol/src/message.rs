//! What travels over any broker: properties, headers and a body.

use crate::compression::{CompressionError, compress};
use crate::value::FieldTable;

/// Content type of every message this crate writes.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// Content encoding of every message this crate writes.
pub const CONTENT_ENCODING_UTF8: &str = "utf-8";
/// Longest short string AMQP can carry, in bytes. Ids, reply queues and expirations are such.
pub const MAX_SHORT_STRING: usize = 255;

/// How a broker is to keep a message (`delivery_mode`).
pub mod delivery_mode {
    /// Lost when the broker restarts: results, events, replies.
    pub const TRANSIENT: u8 = 1;
    /// Kept over a restart of the broker, in a durable queue: tasks.
    pub const PERSISTENT: u8 = 2;
}

/// A message as it is handed to, or comes from, a broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The AMQP basic properties, headers excepted.
    pub properties: Properties,
    /// The application headers, in order, with their types.
    pub headers: FieldTable,
    /// The body, still compressed if the `compression` header says so.
    pub body: Vec<u8>,
}

/// The AMQP basic properties. All are optional on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// Character set of the body, or `binary`.
    pub content_encoding: Option<String>,
    /// See [`delivery_mode`].
    pub delivery_mode: Option<u8>,
    /// Priority; larger is more urgent on RabbitMQ, less urgent on Redis.
    pub priority: Option<u8>,
    /// For tasks and their results: the task id.
    pub correlation_id: Option<String>,
    /// For tasks: the queue results go to.
    pub reply_to: Option<String>,
    /// Milliseconds after which the broker may drop the message unread, as decimal text.
    pub expiration: Option<String>,
    /// Not used by Celery.
    pub message_id: Option<String>,
    /// Seconds since 1970; not used by Celery.
    pub timestamp: Option<u64>,
    /// Not used by Celery.
    pub message_type: Option<String>,
    /// Checked by RabbitMQ against the publishing connection; not used by Celery.
    pub user_id: Option<String>,
    /// Not used by Celery.
    pub app_id: Option<String>,
}

impl Message {
    /// A JSON message without headers and without addressing.
    #[must_use]
    pub fn json(body: Vec<u8>, delivery_mode: u8) -> Self {
        Self {
            properties: Properties {
                content_type: Some(CONTENT_TYPE_JSON.to_owned()),
                content_encoding: Some(CONTENT_ENCODING_UTF8.to_owned()),
                delivery_mode: Some(delivery_mode),
                priority: Some(0),
                ..Properties::default()
            },
            headers: FieldTable::new(),
            body,
        }
    }

    /// The message with its body compressed, by Celery's name of a compression: see [`compress`].
    ///
    /// # Errors
    /// If nothing here writes that compression.
    pub fn compressed(mut self, name: &str) -> Result<Self, CompressionError> {
        let (header, body) = compress(name, &self.body)?;
        self.body = body;
        self.headers.insert("compression", header);
        Ok(self)
    }
}
