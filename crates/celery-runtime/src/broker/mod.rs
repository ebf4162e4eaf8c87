//! Brokers move messages. [`connect`] picks one by URL; all pass the same conformance suite.
//!
//! | URL | broker |
//! |---|---|
//! | `amqp://user:password@host:port/vhost`, `amqps://…` | [`amqp::AmqpBroker`]: RabbitMQ, with a supervisor of our own that reconnects |
//! | `redis://user:password@host:port/db`, `rediss://…` | [`redis::RedisBroker`]: Redis as kombu uses it, without kombu's loss window |
//! | `memory://` | [`memory::MemoryBroker`]: inside this process, shared by cloning the `Arc` |
//! | `memory+unix:///path/broker.sock` | [`socket::SocketBroker`]: the in-process broker of another process on this machine |

pub mod amqp;
mod connect;
mod delivery;
mod error;
mod info;
mod lock;
pub mod memory;
mod publish;
mod queue;
pub mod redis;
pub mod socket;
mod subscription;
mod traits;

pub use connect::{ConnectError, connect};
pub use delivery::{Delivery, Settle};
pub use error::{AckError, BrokerError, PublishError};
pub use info::BrokerInfo;
pub use lock::Lock;
pub use publish::{Guarantee, Publish};
pub use queue::TaskQueue;
pub use subscription::{Broadcast, Subscription};
pub use traits::{Broker, Consumer, SharedBroker};

pub use crate::{
    connection::{ConnectOptions, ConnectionState, Servers},
    tls::{TlsFiles, TlsOptions},
    url::{AmqpUrl, BrokerUrl, RedisUrl, UrlError, parse_list},
};
