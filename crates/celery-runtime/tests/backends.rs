//! All result backends pass the same rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

use std::sync::Arc;

use async_trait::async_trait;
use celery_conformance::BackendFixture;
use celery_runtime::{
    backend::{SharedBackend, memory::MemoryBackend, redis::RedisBackend, rpc::RpcBackend},
    broker::{BrokerUrl, ConnectOptions, memory::MemoryBroker},
};
use testkit::servers::PrivateRedis;

struct Memory(Arc<MemoryBackend>);

#[async_trait]
impl BackendFixture for Memory {
    async fn connect(&self) -> SharedBackend {
        self.0.clone()
    }
}

async fn memory() -> Memory {
    Memory(Arc::new(MemoryBackend::new()))
}

struct Redis(PrivateRedis);

#[async_trait]
impl BackendFixture for Redis {
    async fn connect(&self) -> SharedBackend {
        let Ok(BrokerUrl::Redis(url)) = self.0.url(0).parse() else { panic!("not a redis url") };
        Arc::new(RedisBackend::start(url, ConnectOptions::default()))
    }
}

async fn redis() -> Redis {
    Redis(tokio::task::spawn_blocking(PrivateRedis::start).await.unwrap())
}

/// Results as messages: each client has a queue of its own.
struct Rpc(MemoryBroker);

#[async_trait]
impl BackendFixture for Rpc {
    async fn connect(&self) -> SharedBackend {
        Arc::new(RpcBackend::new(Arc::new(self.0.connect())))
    }

    fn keeps_results(&self) -> bool {
        false
    }
}

async fn rpc() -> Rpc {
    Rpc(MemoryBroker::new())
}

mod in_memory {
    use super::memory;
    celery_conformance::backend_conformance!(memory);
}

mod in_redis {
    use super::redis;
    celery_conformance::backend_conformance!(redis);
}

mod by_rpc {
    use super::rpc;
    celery_conformance::backend_conformance!(rpc);
}
