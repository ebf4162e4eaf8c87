//! Messages: properties, headers and a body.

use crate::compression::{CompressionError, compress};
use crate::value::FieldTable;

/// The content type of every message that this crate writes.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// The content encoding of every message that this crate writes.
pub const CONTENT_ENCODING_UTF8: &str = "utf-8";
/// The longest AMQP short string, in bytes. Ids, reply queues and expirations are short strings.
pub const MAX_SHORT_STRING: usize = 255;

/// How a broker keeps a message (`delivery_mode`).
pub mod delivery_mode {
    /// Lost when the broker restarts: results, events, replies.
    pub const TRANSIENT: u8 = 1;
    /// Kept over a restart of the broker, in a durable queue: tasks.
    pub const PERSISTENT: u8 = 2;
}

/// A message to a broker, or from one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Message {
    /// The AMQP basic properties, without the headers.
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
    /// For tasks: the queue of the results.
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
    /// If this crate does not write that compression.
    pub fn compressed(mut self, name: &str) -> Result<Self, CompressionError> {
        let (header, body) = compress(name, &self.body)?;
        self.body = body;
        self.headers.insert("compression", header);
        Ok(self)
    }
}
