//! Checks of the broker: whether it can be reached, and whether this user has the rights of its worker and no more.

use std::path::Path;
use std::time::Duration;

use celery_runtime::broker::{Broker, ConnectOptions, PublishError, TaskQueue, connect};
use celery_runtime::client::{Client, SendOptions};

use super::finding::{FindingScope, FindingSeverity, Findings, PreflightFinding};
use crate::Config;
use crate::contract::{ADMIN_EXCHANGE, PING};
use crate::roles::WorkerRole;

/// A queue that no worker serves.
const UNSERVED_QUEUE: &str = "rugged.preflight.nobody";
const UNREACHABLE_ADVICE: &str = "start it, or correct broker_url; roles sign and renew without it, but drops wait";

/// Waits up to `deadline` for the broker; returns a finding if it cannot be reached.
pub async fn reachable(
    broker: &dyn Broker,
    config: &Config,
    scope: FindingScope,
    deadline: Duration,
) -> Option<PreflightFinding> {
    let mut state = broker.connection_state();
    let connected = tokio::time::timeout(deadline, state.wait_for(|state| state.connected)).await;
    if matches!(connected, Ok(Ok(_))) {
        return None;
    }
    let reason = broker.connection_state().borrow().last_error.clone();
    let message = format!("the broker cannot be reached: {}", reason.as_deref().unwrap_or("no answer"));
    Some(finding(scope, config, FindingSeverity::Warn, message, UNREACHABLE_ADVICE))
}

/// Connects as the worker of `role` does, declares its queue, and checks that its user has no right of an operator.
pub async fn broker(config: &Config, role: WorkerRole, deadline: Duration) -> Vec<PreflightFinding> {
    let scope = FindingScope::Role(role);
    let mut findings = Findings::new(scope);
    if config.process.broker.is_in_memory() {
        return Vec::new();
    }
    let add = |findings: &mut Findings, message: String, advice: &str| {
        findings.all.push(finding(scope, config, FindingSeverity::Warn, message, advice));
    };
    let options = ConnectOptions {
        operation_timeout: deadline,
        ..config.connect_options(format!("rugged-doctor@{}", config.process.instance))
    };
    let connection = match connect(&config.process.broker.url, options).await {
        Ok(connection) => connection,
        Err(error) => {
            add(&mut findings, error.to_string(), UNREACHABLE_ADVICE);
            return findings.all;
        }
    };
    if let Some(unreachable) = reachable(connection.as_ref(), config, scope, deadline).await {
        findings.all.push(unreachable);
    } else {
        let queue = role.queue();
        if let Err(error) = connection.declare_task_queue(&TaskQueue::new(queue)).await {
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
                let sent = client.send(UNSERVED_QUEUE, PING, Vec::new(), serde_json::Map::new(), options).await;
                // Only the routing failed: the user may write to the exchange.
                if matches!(sent, Ok(_) | Err(PublishError::Unroutable { .. })) {
                    let message =
                        format!("this broker user may write to {ADMIN_EXCHANGE}, which is for operators only");
                    add(&mut findings, message, "revoke this user's permission to write to that exchange");
                }
            }
            Err(error) => {
                let message = format!("the reply queue cannot be declared: {error}");
                add(&mut findings, message, "give this broker user the rights to declare and read its reply queues");
            }
        }
    }
    let _ = tokio::time::timeout(deadline, connection.close()).await;
    findings.all
}

fn finding(
    scope: FindingScope,
    config: &Config,
    severity: FindingSeverity,
    message: String,
    advice: &str,
) -> PreflightFinding {
    let mut findings = Findings::new(scope);
    let subject = config.shown_broker_url();
    findings.add(severity, "broker", Path::new(&subject), message, advice);
    PreflightFinding { subject, ..findings.all.remove(0) }
}
