//! Sending tasks and calling them.

use std::time::Duration;

use celery_protocol::{TaskRequest, delayed};
use jiff::Timestamp;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{
    celery_client::Client,
    pending_result::{CallError, PendingResult},
    send_options::SendOptions,
};
use crate::{
    backend::{BackendError, Expectation},
    broker::{Publish, PublishError},
    clock,
};

impl Client {
    /// Sends a task to a queue; returns when the broker has confirmed that the queue has it.
    ///
    /// # Errors
    /// See [`PublishError`]: `Unroutable` if there is no such queue, because no worker has consumed it yet.
    pub async fn send(
        &self,
        queue: &str,
        task: &str,
        args: Vec<Value>,
        kwargs: Map<String, Value>,
        options: SendOptions,
    ) -> Result<PendingResult, PublishError> {
        let id = options.task_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let mut builder = TaskRequest::builder(task, &id)
            .args(args)
            .kwargs(kwargs)
            .reply_to(self.core.backend.reply_to())
            .origin(std::process::id(), &self.core.host);
        let now = clock::now();
        if let Some(expires) = options.expires_in {
            builder = builder.expires(after(now, expires)?, now);
        }
        let eta = options.countdown.map(|wait| after(now, wait)).transpose()?.or(options.eta);
        if let Some(eta) = eta {
            builder = builder.eta(eta);
        }
        let wait = eta.and_then(|eta| Duration::try_from(eta.duration_since(now)).ok());
        let delayed = wait.filter(|_| options.delayed).and_then(|wait| delayed::delayed_key(wait, queue));
        builder = builder.priority(options.priority).time_limit(options.time_limits.0, options.time_limits.1);
        for (name, value) in options.stamps {
            builder = builder.stamp(name, value);
        }
        for signature in options.link {
            builder = builder.link(signature);
        }
        for signature in options.link_error {
            builder = builder.link_error(signature);
        }
        if options.ignore_result {
            builder = builder.ignore_result(true);
        }
        if let Some((args, kwargs)) = options.shown_as {
            builder = builder.reprs(args, kwargs);
        }
        let general = self.headers.iter().filter(|(name, _)| !options.headers.contains_key(*name));
        for (name, value) in general {
            builder = builder.header(name.clone(), value.clone());
        }
        for (name, value) in options.headers {
            builder = builder.header(name, value);
        }
        let mut request = builder.build();
        if !options.drop_expired {
            // The broker would drop it without an answer; a worker answers.
            request.properties.expiration = None;
        }
        let invalid = |reason: String| PublishError::Invalid { reason };
        let mut message = request.to_message().map_err(|error| invalid(error.to_string()))?;
        if let Some(name) = &options.compression {
            message = message.compressed(name).map_err(|error| invalid(error.to_string()))?;
        }
        let mut publish = Publish::task(queue, message);
        if let Some(exchange) = options.exchange {
            publish.exchange = exchange;
        }
        if let Some(key) = delayed {
            publish.exchange = delayed::DELAYED_EXCHANGE.to_owned();
            publish.routing_key = key;
        }
        // Before it is sent, so that no answer comes too early.
        let expected = if options.ignore_result {
            Expectation::never()
        } else {
            self.core.backend.expect(&id).await.map_err(cannot_expect)?
        };
        self.core.broker.publish(publish).await?;
        Ok(PendingResult::new(task, id, expected))
    }

    /// Sends a task that expires with the deadline and waits for its result.
    ///
    /// # Errors
    /// See [`CallError`]. After a `Timeout` the task may still be running, but is not started any more.
    pub async fn call(
        &self,
        queue: &str,
        task: &str,
        kwargs: Map<String, Value>,
        deadline: Duration,
    ) -> Result<Value, CallError> {
        self.call_with(queue, task, kwargs, SendOptions::default(), deadline).await
    }

    /// As [`call`](Self::call), with options; their `expires_in` is replaced by the deadline.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with(
        &self,
        queue: &str,
        task: &str,
        kwargs: Map<String, Value>,
        options: SendOptions,
        deadline: Duration,
    ) -> Result<Value, CallError> {
        let until = Instant::now() + deadline;
        let options = SendOptions { expires_in: Some(deadline), drop_expired: true, ..options };
        let sending = self.send(queue, task, Vec::new(), kwargs, options);
        let mut pending = match tokio::time::timeout_at(until, sending).await {
            Ok(sent) => sent.map_err(CallError::Publish)?,
            Err(_) => {
                let state = self.core.broker.connection_state();
                let state = state.borrow();
                return Err(if state.connected {
                    CallError::Timeout { task: task.to_owned() }
                } else {
                    CallError::Publish(PublishError::Unavailable {
                        reason: state.last_error.clone().unwrap_or_else(|| "no connection yet".to_owned()),
                    })
                });
            }
        };
        pending.get(until.saturating_duration_since(Instant::now())).await
    }
}

fn after(now: Timestamp, wait: Duration) -> Result<Timestamp, PublishError> {
    now.checked_add(wait).map_err(|_| PublishError::Invalid { reason: "the time is too far in the future".to_owned() })
}

fn cannot_expect(error: BackendError) -> PublishError {
    match error {
        BackendError::Closed => PublishError::Closed,
        BackendError::Unavailable { reason } => PublishError::Unavailable { reason },
        other => PublishError::Refused { reason: other.to_string() },
    }
}
