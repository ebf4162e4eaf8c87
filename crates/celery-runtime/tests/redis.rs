//! Redis: the conformance suite, and faults that only a real server has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod redis_broker;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use celery_conformance as suite;
use celery_runtime::broker::{Broker, ConnectOptions, connect};
use suite::{Fixture, SOON};
use testkit::servers::PrivateRedis;

#[derive(Debug)]
pub struct Redis {
    server: Mutex<Option<PrivateRedis>>,
    url: String,
}

pub fn quick() -> ConnectOptions {
    ConnectOptions {
        connection_name: "test".into(),
        operation_timeout: SOON,
        max_retry: Duration::from_millis(500),
        ..ConnectOptions::default()
    }
}

pub async fn connected(url: &str) -> Arc<dyn Broker> {
    let broker = connect(url, quick()).await.unwrap();
    let mut state = broker.connection_state();
    tokio::time::timeout(SOON, state.wait_for(|state| state.connected)).await.expect("no connection").unwrap();
    broker
}

/// Runs a blocking helper of the testkit.
pub async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub async fn redis() -> Redis {
    let server = blocking(PrivateRedis::start).await;
    Redis { url: server.url(0), server: Mutex::new(Some(server)) }
}

impl Redis {
    /// A connection for looking at keys.
    pub async fn keys(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url.as_str()).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    pub async fn with_server(&self, run: impl FnOnce(&mut PrivateRedis) + Send + 'static) {
        let mut server = self.server.lock().unwrap().take().unwrap();
        let server = blocking(move || {
            run(&mut server);
            server
        })
        .await;
        *self.server.lock().unwrap() = Some(server);
    }
}

#[async_trait]
impl Fixture for Redis {
    async fn connect(&self) -> Arc<dyn Broker> {
        connected(&self.url).await
    }

    async fn cut(&self) {
        let mut keys = self.keys().await;
        let killed: usize = redis::cmd("CLIENT")
            .arg("KILL")
            .arg("TYPE")
            .arg("normal")
            .arg("SKIPME")
            .arg("yes")
            .query_async(&mut keys)
            .await
            .unwrap();
        assert!(killed > 0);
    }

    fn connections_hold_deliveries(&self) -> bool {
        false
    }

    fn drops_the_expired(&self) -> bool {
        false
    }
}

suite::conformance!(redis);
