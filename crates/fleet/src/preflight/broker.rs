//! The broker: whether it can be reached, and whether this user may do what it must and nothing more.

use std::path::Path;
use std::time::Duration;

use celery_runtime::broker::{Broker, ConnectOptions, PublishError, TaskQueue, connect};
use celery_runtime::client::{Client, SendOptions};

use super::{Finding, Findings, Severity};
use crate::Config;
use crate::contract::{ADMIN_EXCHANGE, PING};

/// Where nobody listens.
const NOBODY: &str = "rugged.preflight.nobody";
const ADVICE: &str = "start it, or mend broker_url; what is inside already is signed and renewed without it";

/// Waits up to `deadline` for the broker; a finding if it cannot be reached.
pub async fn reachable(broker: &dyn Broker, config: &Config, role: &str, deadline: Duration) -> Option<Finding> {
    let mut state = broker.connection_state();
    let connected = tokio::time::timeout(deadline, state.wait_for(|state| state.connected)).await;
    if matches!(connected, Ok(Ok(_))) {
        return None;
    }
    let reason = broker.connection_state().borrow().last_error.clone();
    let message = format!("the broker cannot be reached: {}", reason.as_deref().unwrap_or("no answer"));
    Some(finding(role, config, Severity::Warn, message, ADVICE))
}

/// Connects as `role`'s worker would, declares its queue, and tries whether its user may do what only an operator should.
pub async fn broker(config: &Config, role: &str, deadline: Duration) -> Vec<Finding> {
    let mut findings = Findings { role: role.to_owned(), all: Vec::new() };
    if config.process.broker.is_in_memory() {
        return Vec::new();
    }
    let add = |findings: &mut Findings, message: String, advice: &str| {
        findings.all.push(finding(role, config, Severity::Warn, message, advice));
    };
    let options = ConnectOptions {
        operation_timeout: deadline,
        ..config.connect_options(format!("rugged-doctor@{}", config.process.instance))
    };
    let connection = match connect(&config.process.broker.url, options).await {
        Ok(connection) => connection,
        Err(error) => {
            add(&mut findings, error.to_string(), ADVICE);
            return findings.all;
        }
    };
    if let Some(unreachable) = reachable(connection.as_ref(), config, role, deadline).await {
        findings.all.push(unreachable);
    } else {
        let queue = format!("{role}-worker");
        if let Err(error) = connection.declare_task_queue(&TaskQueue::new(&queue)).await {
            let message = format!("the queue {queue} cannot be declared: {error}");
            add(&mut findings, message, "give this broker user the rights to configure and read its own queue");
        }
        match Client::new(connection.clone()).await {
            Ok(client) => {
                let options = SendOptions {
                    exchange: Some(ADMIN_EXCHANGE.into()),
                    ignore_result: true,
                    expires_in: Some(deadline),
                    drop_expired: true,
                    ..SendOptions::default()
                };
                let sent = client.send(NOBODY, PING, Vec::new(), serde_json::Map::new(), options).await;
                // Only the routing failed: the user may write there.
                if matches!(sent, Ok(_) | Err(PublishError::Unroutable { .. })) {
                    let message = format!("this broker user may write to {ADMIN_EXCHANGE}, as only an operator should");
                    add(&mut findings, message, "take the right to write to that exchange from the worker's user");
                }
            }
            Err(error) => {
                let message = format!("no reply queue: {error}");
                add(&mut findings, message, "give this broker user the right to its reply queues");
            }
        }
    }
    let _ = tokio::time::timeout(deadline, connection.close()).await;
    findings.all
}

fn finding(role: &str, config: &Config, severity: Severity, message: String, advice: &str) -> Finding {
    let mut findings = Findings { role: role.to_owned(), all: Vec::new() };
    let subject = config.shown_broker_url();
    findings.add(severity, "broker", Path::new(&subject), message, advice);
    Finding { subject, ..findings.all.remove(0) }
}
