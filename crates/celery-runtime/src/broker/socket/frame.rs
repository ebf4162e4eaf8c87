//! The frames on the socket.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use celery_protocol::{FieldTable, Message, Properties};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::broker::{error::PublishError, subscription::Subscription};

/// The largest frame that is accepted or sent, in bytes: a body of 16 MiB in base64, and room for the rest.
pub const MAX_FRAME: usize = 24 * 1024 * 1024;

/// A call with its number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SocketRequest {
    pub id: u64,
    #[serde(flatten)]
    pub call: SocketCall,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub(super) enum SocketCall {
    Publish {
        exchange: String,
        routing_key: String,
        mandatory: bool,
        message: Box<WireMessage>,
    },
    DeclareReplies {
        queue: String,
    },
    ConsumeReplies {
        queue: String,
    },
    CancelReplies {
        queue: String,
    },
    /// Answered by deliveries under the name of the mailbox's queue; ended by `CancelReplies` with it.
    Subscribe {
        to: WireSubscription,
    },
    DeclareBroadcast {
        exchange: String,
    },
}

/// The broadcasts that another process may listen to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "kebab-case")]
pub(super) enum WireSubscription {
    ControlReplies { client: String },
    Events { id: String, binding: String },
}

impl From<WireSubscription> for Subscription {
    fn from(wire: WireSubscription) -> Self {
        match wire {
            WireSubscription::ControlReplies { client } => Self::ControlReplies { client },
            WireSubscription::Events { id, binding } => Self::Events { id, binding },
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(super) enum SocketAnswer {
    Done { id: u64 },
    Failed { id: u64, error: WireError },
    Delivery { queue: String, exchange: String, routing_key: String, redelivered: bool, message: Box<WireMessage> },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "kebab-case")]
pub(super) enum WireError {
    Unroutable { exchange: String, routing_key: String },
    Refused { reason: String },
    Unavailable { reason: String },
    Timeout,
}

impl From<PublishError> for WireError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Unroutable { exchange, routing_key } => Self::Unroutable { exchange, routing_key },
            PublishError::Timeout => Self::Timeout,
            PublishError::Unavailable { reason } => Self::Unavailable { reason },
            other => Self::Refused { reason: other.to_string() },
        }
    }
}

impl From<WireError> for PublishError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Unroutable { exchange, routing_key } => Self::Unroutable { exchange, routing_key },
            WireError::Refused { reason } => Self::Refused { reason },
            WireError::Unavailable { reason } => Self::Unavailable { reason },
            WireError::Timeout => Self::Timeout,
        }
    }
}

/// A message as JSON. Header values cross as JSON, so an integer keeps its value and not its width.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WireMessage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery_mode: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expiration: Option<String>,
    headers: Map<String, Value>,
    body: String,
}

impl From<&Message> for WireMessage {
    fn from(message: &Message) -> Self {
        let properties = message.properties.clone();
        Self {
            content_type: properties.content_type,
            content_encoding: properties.content_encoding,
            delivery_mode: properties.delivery_mode,
            priority: properties.priority,
            correlation_id: properties.correlation_id,
            reply_to: properties.reply_to,
            expiration: properties.expiration,
            headers: message.headers.to_json(),
            body: STANDARD.encode(&message.body),
        }
    }
}

impl TryFrom<WireMessage> for Message {
    type Error = base64::DecodeError;

    fn try_from(wire: WireMessage) -> Result<Self, Self::Error> {
        Ok(Self {
            properties: Properties {
                content_type: wire.content_type,
                content_encoding: wire.content_encoding,
                delivery_mode: wire.delivery_mode,
                priority: wire.priority,
                correlation_id: wire.correlation_id,
                reply_to: wire.reply_to,
                expiration: wire.expiration,
                ..Properties::default()
            },
            headers: FieldTable::from(&wire.headers),
            body: STANDARD.decode(wire.body)?,
        })
    }
}

/// Reads one frame; `None` at an orderly end.
pub(super) async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<T>> {
    let mut length = [0; 4];
    // An end before the first byte of a frame is orderly, one within it is not.
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(bad(format!("a frame of {length} bytes is over the limit of {MAX_FRAME}")));
    }
    // Memory grows with the bytes that arrive, not with the announced length.
    let mut bytes = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(format!("a frame cannot be parsed: {error}")))
}

/// Writes one frame.
pub(super) async fn write(to: &mut (impl AsyncWrite + Unpin), frame: &impl Serialize) -> std::io::Result<()> {
    to.write_all(&encode(frame)?).await?;
    to.flush().await
}

/// A frame with its length in front.
pub(super) fn encode(frame: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)?;
    let length = bytes.len() - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_FRAME => bytes[..4].copy_from_slice(&prefix.to_be_bytes()),
        _ => {
            return Err(bad(format!("a message of {length} bytes is over the limit of {MAX_FRAME}")));
        }
    }
    Ok(bytes)
}

fn bad(reason: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, reason)
}
