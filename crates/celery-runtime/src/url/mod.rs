//! The URLs of brokers and result backends.
//!
//! Only the transport reads a password: no `Debug`, log line or error contains one.

mod amqp;
mod broker_url;
mod error;
mod list;
mod options;
mod parts;
mod redis;
mod server_url;

pub use amqp::AmqpUrl;
pub use broker_url::BrokerUrl;
pub use error::UrlError;
pub use list::parse_list;
pub use redis::RedisUrl;
pub use server_url::ServerUrl;

pub(crate) use redis::RedisAddress;
