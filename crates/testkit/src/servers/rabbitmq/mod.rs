//! RabbitMQ for tests: one broker that all tests share, a virtual host per test, and brokers that a test may break.

mod broker;
mod endpoint;
mod private;
mod vhost;

pub use broker::RabbitMq;
pub use private::PrivateRabbitMq;
pub use vhost::VHost;
