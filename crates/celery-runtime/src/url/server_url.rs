//! The URLs of servers that a connection can move between.

use std::fmt;

use super::{amqp::AmqpUrl, broker_url::BrokerUrl, redis::RedisUrl};

/// The URL of one kind of server.
pub trait ServerUrl: Clone + PartialEq + fmt::Display {
    /// This kind's URL, or `None` for a URL of another kind.
    fn from_broker_url(url: BrokerUrl) -> Option<Self>;

    /// Whether a running process may replace `self` by `other`.
    fn agrees_with(&self, other: &Self) -> bool;
}

impl ServerUrl for AmqpUrl {
    fn from_broker_url(url: BrokerUrl) -> Option<Self> {
        match url {
            BrokerUrl::Amqp(url) => Some(url),
            _ => None,
        }
    }

    fn agrees_with(&self, _other: &Self) -> bool {
        true
    }
}

impl ServerUrl for RedisUrl {
    fn from_broker_url(url: BrokerUrl) -> Option<Self> {
        match url {
            BrokerUrl::Redis(url) => Some(url),
            _ => None,
        }
    }

    fn agrees_with(&self, other: &Self) -> bool {
        self.holds_the_same_as(other)
    }
}
