//! Where the work is: a broker with a queue of its own, and where results are counted.

use std::net::SocketAddr;
use std::time::Instant;

use celery_protocol::{Message, TaskRequest};
use celery_runtime::backend::{self, SharedBackend};
use celery_runtime::broker::{self, ConnectOptions, Guarantee, Publish, SharedBroker};
use futures_util::{StreamExt as _, TryStreamExt as _};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use testkit::servers::{PrivateRedis, RabbitMq, VHost};

use super::proxy::Proxy;
use super::{LOOK, PATIENCE};
use crate::Result;

/// Publishes under way at a time while a queue is filled.
const AT_ONCE: usize = 256;

/// A server, for as long as it is measured.
#[derive(Debug)]
pub enum Transport {
    /// RabbitMQ; results go by `rpc://`.
    RabbitMq(VHost),
    /// Redis, database 0; results are in database 1.
    Redis(PrivateRedis),
}

impl Transport {
    /// The tests' RabbitMQ, with a virtual host of its own.
    pub fn rabbitmq() -> Self {
        Self::RabbitMq(RabbitMq::shared().vhost())
    }

    /// A Redis of its own.
    pub fn redis() -> Self {
        Self::Redis(PrivateRedis::start())
    }

    /// As it is called in the table.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RabbitMq(_) => "rabbitmq+rpc",
            Self::Redis(_) => "redis+redis",
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When its URL names no address.
    pub fn address(&self) -> Result<SocketAddr> {
        let (broker, _) = self.urls();
        Ok(host(&broker).parse()?)
    }

    fn urls(&self) -> (String, String) {
        match self {
            Self::RabbitMq(vhost) => (vhost.amqp_url.clone(), "rpc://".to_owned()),
            Self::Redis(redis) => (redis.url(0), redis.url(1)),
        }
    }
}

/// `host:port` of a URL.
fn host(url: &str) -> &str {
    let behind = url.rsplit_once('@').map_or(url, |(_, behind)| behind);
    behind.split('/').next().unwrap_or_default()
}

/// A queue and the results of what is in it.
#[derive(Debug)]
pub struct Place {
    urls: (String, String),
    queue: String,
    replies: String,
    counter: Counter,
}

#[derive(Debug)]
enum Counter {
    /// Results lie in the reply queue.
    RabbitMq(lapin::Channel, #[allow(dead_code, reason = "holds the connection")] Box<lapin::Connection>),
    /// Results are the keys of the database.
    Redis { tasks: redis::aio::MultiplexedConnection, results: redis::aio::MultiplexedConnection },
}

impl Place {
    /// A new queue, with nothing in it, and a reply queue nobody consumes.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn new(transport: &Transport) -> Result<Self> {
        let urls = transport.urls();
        let counter = match transport {
            Transport::RabbitMq(_) => {
                let connection = lapin::Connection::connect(&urls.0, Default::default()).await?;
                Counter::RabbitMq(connection.create_channel().await?, Box::new(connection))
            }
            Transport::Redis(_) => {
                let open = async |url: &str| redis::Client::open(url)?.get_multiplexed_async_connection().await;
                let (mut tasks, results) = (open(&urls.0).await?, open(&urls.1).await?);
                // The tests' Redis syncs every write, which few do in operation and which is dear on a slow disk.
                let mut lazily = redis::cmd("CONFIG");
                lazily.arg("SET").arg("appendfsync").arg("everysec").query_async::<()>(&mut tasks).await?;
                Counter::Redis { tasks, results }
            }
        };
        let place = Self {
            urls,
            queue: format!("bench-{}", uuid::Uuid::new_v4()),
            replies: uuid::Uuid::new_v4().to_string(),
            counter,
        };
        place.clear().await?;
        Ok(place)
    }

    /// The queue's name.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Broker and result backend, reached through a proxy if there is one.
    pub fn urls(&self, proxy: Option<&Proxy>) -> (String, String) {
        let (broker, backend) = self.urls.clone();
        let Some(proxy) = proxy else { return (broker, backend) };
        let (from, to) = (host(&broker).to_owned(), proxy.address.to_string());
        (broker.replace(&from, &to), backend.replace(&from, &to))
    }

    /// Both, for a client of ours.
    ///
    /// # Errors
    /// When they cannot be connected.
    pub async fn connect(&self) -> Result<(SharedBroker, SharedBackend)> {
        let broker = broker::connect(&self.urls.0, ConnectOptions::default()).await?;
        let backend = backend::connect(&self.urls.1, broker.clone(), ConnectOptions::default()).await?;
        Ok((broker, backend))
    }

    /// Takes away all results, and whatever is in the queue.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn clear(&self) -> Result<()> {
        match &self.counter {
            Counter::RabbitMq(channel, _) => {
                for queue in [&self.queue, &self.replies] {
                    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await?;
                }
            }
            Counter::Redis { tasks, results } => {
                for database in [tasks, results] {
                    redis::cmd("FLUSHDB").query_async::<()>(&mut database.clone()).await?;
                }
            }
        }
        let (broker, _) = self.connect().await?;
        broker.declare_task_queue(&self.queue.as_str().into()).await?;
        broker.declare_reply_queue(&self.replies).await?;
        broker.close().await;
        Ok(())
    }

    /// Puts tasks into the queue, as a Python client sends them.
    ///
    /// # Errors
    /// When one is not confirmed.
    pub async fn fill(&self, messages: usize) -> Result<()> {
        let (broker, _) = self.connect().await?;
        let publish = |_| async {
            let guarantee = Guarantee::Confirmed { mandatory: false };
            let publish = Publish { guarantee, ..Publish::task(self.queue.as_str(), self.task()?) };
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(broker.publish(publish).await?)
        };
        let sent = futures_util::stream::iter(0..messages).map(publish).buffer_unordered(AT_ONCE);
        sent.try_for_each(|()| std::future::ready(Ok(()))).await?;
        broker.close().await;
        Ok(())
    }

    fn task(&self) -> Result<Message> {
        let id = uuid::Uuid::new_v4().to_string();
        let task = TaskRequest::builder("noop", &id).reply_to(self.replies.as_str()).origin(1, "bench").build();
        Ok(task.to_message()?)
    }

    /// Waits until there are so many results; returns how many there are.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn wait_for(&self, results: usize, since: Instant) -> Result<usize> {
        loop {
            let count = self.results().await?;
            if count >= results {
                return Ok(count);
            }
            if since.elapsed() > PATIENCE {
                return Err(format!("{count} of {results} results after {PATIENCE:?}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn results(&self) -> Result<usize> {
        match &self.counter {
            Counter::RabbitMq(channel, _) => waiting(channel, &self.replies).await,
            Counter::Redis { results, .. } => Ok(redis::cmd("DBSIZE").query_async(&mut results.clone()).await?),
        }
    }

    /// Tasks in the queue, and those taken and not acknowledged, once no worker is there any more.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn left(&self) -> Result<usize> {
        match &self.counter {
            // What was not acknowledged has gone back.
            Counter::RabbitMq(channel, _) => waiting(channel, &self.queue).await,
            Counter::Redis { tasks, .. } => {
                let mut both = redis::pipe();
                both.llen(&self.queue).hlen("unacked");
                let (queued, held): (usize, usize) = both.query_async(&mut tasks.clone()).await?;
                Ok(queued + held)
            }
        }
    }
}

async fn waiting(channel: &lapin::Channel, queue: &str) -> Result<usize> {
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(queue.into(), look, FieldTable::default()).await?;
    Ok(usize::try_from(queue.message_count())?)
}
