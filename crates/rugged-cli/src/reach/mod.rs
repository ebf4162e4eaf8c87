//! How a command reaches the fleet: over the configured broker, through the socket of a `rugged up` on this machine, or by
//! hosting the workers it needs for as long as it runs.

mod call;
mod embedded;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::{BrokerUrl, ConnectOptions, SharedBroker, connect, parse_list};
use celery_runtime::client::{CallError, Client, SendOptions};
use fleet::Config;
use fleet::contract::{ADMIN_EXCHANGE, MONITOR_QUEUE, SNAPSHOT_QUEUE, TARGETS_QUEUE, TIMESTAMP_QUEUE};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::CliError;

pub use call::explain;
pub use embedded::{Embedded, Hosted};

/// Every worker with a queue, in the order of the chain.
pub const WORKER_NAMES: [&str; 4] = [MONITOR_QUEUE, TARGETS_QUEUE, SNAPSHOT_QUEUE, TIMESTAMP_QUEUE];

/// The socket through which a fleet on `memory://` is reached.
#[must_use]
pub fn socket_path(config: &Config) -> PathBuf {
    config.state_path.join("broker.sock")
}

/// A way to the fleet.
#[derive(Debug)]
pub struct Reach {
    client: Client,
    broker: SharedBroker,
    embedded: Option<Embedded>,
    via: String,
}

impl Reach {
    /// The fleet that is running: on the broker, or behind the socket. `None` when the broker is `memory://` and nobody
    /// serves the socket.
    ///
    /// # Errors
    /// When the broker's address is malformed.
    pub async fn running(config: &Config) -> Result<Option<Self>, CliError> {
        if !is_memory(config)? {
            let broker = connect(&config.process.broker.url, config.connect_options("rugged".into()))
                .await
                .map_err(|error| CliError::usage(format!("broker_url: {error}")))?;
            return Self::over(broker, None, config.shown_broker_url()).await.map(|reach| Some(reach.naming(config)));
        }
        let socket = socket_path(config);
        match connect(&format!("memory+unix://{}", socket.display()), ConnectOptions::default()).await {
            Ok(broker) => {
                Self::over(broker, None, socket.display().to_string()).await.map(|reach| Some(reach.naming(config)))
            }
            Err(_) => Ok(None),
        }
    }

    /// The fleet that is running, or else the signing workers hosted by this command.
    ///
    /// # Errors
    /// When neither can be had.
    pub async fn signing(config: &Arc<Config>) -> Result<Self, CliError> {
        if let Some(running) = Self::running(config).await? {
            return Ok(running);
        }
        Self::embedded(Embedded::start(config, &Hosted::SIGNING).await?).await
    }

    /// A fleet in this process.
    ///
    /// # Errors
    /// When its broker was closed.
    pub async fn embedded(embedded: Embedded) -> Result<Self, CliError> {
        let broker = embedded.connect();
        Self::over(broker, Some(embedded), "this process".to_owned()).await
    }

    async fn over(broker: SharedBroker, embedded: Option<Embedded>, via: String) -> Result<Self, CliError> {
        let client = Client::new(broker.clone()).await.map_err(|error| CliError::no_answer(error.to_string()))?;
        Ok(Self { client, broker, embedded, via })
    }

    /// Has every task name the configured repository: a fleet of another one then refuses it.
    fn naming(self, config: &Config) -> Self {
        Self { client: fleet::tasks::for_repository(self.client, config), ..self }
    }

    /// How the fleet is reached, for people; without secrets.
    #[must_use]
    pub fn via(&self) -> &str {
        &self.via
    }

    /// Whether the workers run in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Calls a task and waits for its result at most `deadline`; a task not started by then is not started any more.
    ///
    /// # Errors
    /// Nobody answered, or the task failed.
    pub async fn call<A: Serialize, R: DeserializeOwned>(
        &mut self,
        queue: &str,
        task: &str,
        arguments: &A,
        deadline: Duration,
    ) -> Result<R, CliError> {
        self.send(queue, task, arguments, None, deadline).await
    }

    /// Calls a task that only an operator may send.
    ///
    /// # Errors
    /// As [`Reach::call`].
    pub async fn call_as_operator<A: Serialize, R: DeserializeOwned>(
        &mut self,
        queue: &str,
        task: &str,
        arguments: &A,
        deadline: Duration,
    ) -> Result<R, CliError> {
        self.send(queue, task, arguments, Some(ADMIN_EXCHANGE.to_owned()), deadline).await
    }

    async fn send<A: Serialize, R: DeserializeOwned>(
        &mut self,
        queue: &str,
        task: &str,
        arguments: &A,
        exchange: Option<String>,
        deadline: Duration,
    ) -> Result<R, CliError> {
        let kwargs = match serde_json::to_value(arguments) {
            Ok(Value::Object(map)) => map,
            Ok(Value::Null) => Map::new(),
            Ok(_) | Err(_) => return Err(CliError::usage(format!("the arguments of {task} are no JSON object"))),
        };
        let client = self.client.clone();
        let options = SendOptions { exchange, ..SendOptions::default() };
        let answered = self.guard(async move { Ok(client.call_with(queue, task, kwargs, options, deadline).await) });
        let answer = answered.await?.map_err(|error| call::explain(queue, task, &error, deadline))?;
        serde_json::from_value(answer).map_err(|error| {
            CliError::task_failed(format!(
                "{queue} answered {task} with something else than this version knows: {error}"
            ))
            .hint("`rugged status` shows the versions of the workers")
        })
    }

    /// Asks without explaining: for commands that expect some to be absent.
    pub async fn ask(client: &Client, queue: &str, task: &str, deadline: Duration) -> Result<Value, CallError> {
        client.call(queue, task, Map::new(), deadline).await
    }

    /// The client, to ask several workers at once.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for `work`, or for a hosted worker to end, which it never should.
    ///
    /// # Errors
    /// What `work` said, or what ended the worker.
    pub async fn guard<T>(&mut self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        match &mut self.embedded {
            None => work.await,
            Some(embedded) => tokio::select! {
                result = work => result,
                error = embedded.ended() => Err(error),
            },
        }
    }

    /// Says goodbye; hosted workers finish what they do.
    pub async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(Duration::from_secs(2), self.broker.close()).await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Whether the configured broker is the one inside a process.
///
/// # Errors
/// When its address is malformed.
pub fn is_memory(config: &Config) -> Result<bool, CliError> {
    let urls = parse_list(&config.process.broker.url).map_err(|error| {
        CliError::usage(format!("broker_url: {error}")).hint("for example amqp://user@host:5672/vhost, or memory://")
    })?;
    Ok(matches!(urls.as_slice(), [BrokerUrl::Memory]))
}
