//! A connection to the fleet.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use celery_runtime::broker::{Broker, ConnectOptions, SharedBroker, connect};
use celery_runtime::client::{CallError, Client, SendOptions};
use fleet::contract::ADMIN_EXCHANGE;
use fleet::{Config, WorkerRole};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::call_error::{BROKER_HINT, explain_call_error};
use super::embedded::EmbeddedFleet;
use super::local_broker::{fleet_socket_path, uses_memory_broker};
use crate::error::CliError;

/// How long a broker may take to accept the connection. A broker that is away is the commonest reason for no answer, and
/// must not look like a slow worker.
const BROKER_WAIT: Duration = Duration::from_secs(5);

/// A connection to the fleet.
#[derive(Debug)]
pub struct FleetConnection {
    client: Client,
    broker: SharedBroker,
    embedded: Option<EmbeddedFleet>,
    via: String,
}

impl FleetConnection {
    /// Connects to the running fleet: on the broker, or behind the socket. `None` when the broker is `memory://` and no
    /// process serves the socket.
    ///
    /// # Errors
    /// When `broker_url` is malformed, or the broker cannot be reached within a few seconds.
    pub async fn to_running(config: &Config) -> Result<Option<Self>, CliError> {
        if !uses_memory_broker(config)? {
            let broker = connect(&config.process.broker.url, config.connect_options("rugged".into()))
                .await
                .map_err(|error| CliError::invalid_input(error).during("invalid broker_url"))?;
            wait_for_broker(broker.as_ref(), config).await?;
            return Self::over(broker, None, config.shown_broker_url()).await.map(|fleet| Some(fleet.naming(config)));
        }
        let socket = fleet_socket_path(config);
        match connect(&format!("memory+unix://{}", socket.display()), ConnectOptions::default()).await {
            Ok(broker) => {
                Self::over(broker, None, socket.display().to_string()).await.map(|fleet| Some(fleet.naming(config)))
            }
            Err(_) => Ok(None),
        }
    }

    /// Connects to the running fleet, and fails when there is none.
    ///
    /// # Errors
    /// When `broker_url` is malformed, or no fleet runs on `memory://`.
    pub async fn require_running(config: &Config) -> Result<Self, CliError> {
        match Self::to_running_or_none_needed(config).await? {
            Some(fleet) => Ok(fleet),
            None => Err(CliError::no_answer("no fleet is running on memory://")
                .hint("start one with `rugged up`, or set broker_url to the workers' broker")),
        }
    }

    /// Connects to the running fleet. `None` when no fleet runs on `memory://` and the command may do the work itself: it
    /// may not in production, where the real fleet runs elsewhere and would not notice.
    ///
    /// Every command that changes something connects through this function, or through
    /// [`FleetConnection::require_running`].
    ///
    /// # Errors
    /// When `broker_url` is malformed, or no fleet is found in production.
    pub async fn to_running_or_none_needed(config: &Config) -> Result<Option<Self>, CliError> {
        match Self::to_running(config).await? {
            None if config.is_production() => Err(CliError::request_refused(
                "found no fleet: broker_url is memory://, and no `rugged up` serves state_path; with `environment: \
                 production` a command never does the fleet's work itself",
            )
            .hint(
                "set broker_url to the broker of the workers (--broker-url, RUGGED_BROKER_URL or the configuration \
                 file); `rugged config` shows the value in use and its origin",
            )),
            fleet => Ok(fleet),
        }
    }

    /// Connects to the running fleet, or else to signing workers that this command hosts.
    ///
    /// # Errors
    /// When `broker_url` is malformed, when no fleet is found in production, or when the workers cannot be hosted (see
    /// [`EmbeddedFleet::start`]).
    pub async fn to_signing_workers(config: &Arc<Config>) -> Result<Self, CliError> {
        if let Some(fleet) = Self::to_running_or_none_needed(config).await? {
            return Ok(fleet);
        }
        Self::to_embedded(EmbeddedFleet::start(config, &WorkerRole::SIGNING).await?).await
    }

    /// Connects to a fleet in this process.
    ///
    /// # Errors
    /// When its broker is closed.
    pub async fn to_embedded(embedded: EmbeddedFleet) -> Result<Self, CliError> {
        let broker = embedded.connect();
        Self::over(broker, Some(embedded), "this process".to_owned()).await
    }

    async fn over(broker: SharedBroker, embedded: Option<EmbeddedFleet>, via: String) -> Result<Self, CliError> {
        let client = Client::new(broker.clone()).await.map_err(CliError::no_answer)?;
        Ok(Self { client, broker, embedded, via })
    }

    /// Names the configured repository in every task, so that the fleet of another repository refuses it.
    fn naming(self, config: &Config) -> Self {
        Self { client: fleet::tasks::for_repository(self.client, config), ..self }
    }

    /// The broker URL, the socket or "this process"; without secrets.
    #[must_use]
    pub fn via(&self) -> &str {
        &self.via
    }

    /// Whether the workers run in this process.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Calls a task and waits at most `deadline` for its result. No worker starts the task after that.
    ///
    /// # Errors
    /// When no worker answered, or the task failed: see [`explain_call_error`].
    pub async fn call<A: Serialize, R: DeserializeOwned>(
        &mut self,
        queue: &str,
        task: &str,
        arguments: &A,
        deadline: Duration,
    ) -> Result<R, CliError> {
        self.send(queue, task, arguments, None, deadline).await
    }

    /// Calls a task that only operators may send.
    ///
    /// # Errors
    /// As [`FleetConnection::call`].
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
            Ok(_) | Err(_) => {
                return Err(CliError::invalid_input(format!("the arguments of {task} are not a JSON object")));
            }
        };
        let client = self.client.clone();
        let options = SendOptions { exchange, ..SendOptions::default() };
        let answered = self.guard(async move { Ok(client.call_with(queue, task, kwargs, options, deadline).await) });
        let answer = answered.await?.map_err(|error| explain_call_error(queue, task, error, deadline))?;
        serde_json::from_value(answer).map_err(|error| {
            CliError::task_failed(error)
                .during(format!("{queue} answered {task} in a form that this version cannot read"))
                .hint("compare the versions of the workers with `rugged --version`; `rugged --json status` shows them")
        })
    }

    /// Calls a task without arguments and returns the plain error, for commands that expect absent workers.
    pub async fn ask(client: &Client, queue: &str, task: &str, deadline: Duration) -> Result<Value, CallError> {
        client.call(queue, task, Map::new(), deadline).await
    }

    /// The Celery client, for concurrent calls.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs `work`, and fails as soon as a hosted worker ends unexpectedly.
    ///
    /// # Errors
    /// The error of `work`, or the reason why the worker ended.
    pub async fn guard<T>(&mut self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        match &mut self.embedded {
            None => work.await,
            Some(embedded) => tokio::select! {
                result = work => result,
                error = embedded.ended() => Err(error),
            },
        }
    }

    /// Closes the connection. Hosted workers finish their work first.
    pub async fn close(self) {
        drop(self.client);
        let _ = tokio::time::timeout(Duration::from_secs(2), self.broker.close()).await;
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// Waits until the broker has accepted the connection.
async fn wait_for_broker(broker: &dyn Broker, config: &Config) -> Result<(), CliError> {
    let mut state = broker.connection_state();
    let connected = tokio::time::timeout(BROKER_WAIT, state.wait_for(|state| state.connected)).await;
    if matches!(connected, Ok(Ok(_))) {
        return Ok(());
    }
    let reason = broker.connection_state().borrow().last_error.clone();
    let _ = tokio::time::timeout(BROKER_WAIT, broker.close()).await;
    Err(CliError::no_answer(format!(
        "cannot connect to the broker {} within {} s: {}",
        config.shown_broker_url(),
        BROKER_WAIT.as_secs(),
        reason.as_deref().unwrap_or("no answer")
    ))
    .hint(BROKER_HINT))
}
