//! Remote control: a worker answers `celery inspect` and `celery control` (`reference §3`).
//!
//! Requests are answered from a task of their own, so that no amount of work delays a `ping`; only handlers that block a
//! thread of the runtime can. A request counts only if it came through the exchange `celery.pidbox`, and answers go to the
//! exchange `reply.celery.pidbox` alone: where broker users may write to the default exchange, as every user of `rpc://`
//! results must, that is what tells who may steer a worker.

mod mingle;
mod panel;
mod show;

use std::{fmt, sync::Arc, time::Duration};

use celery_protocol::{
    LamportClock,
    control::{ControlReply, ControlRequest, LIMITS},
    topology::{CONTROL_EXCHANGE, CONTROL_REPLY_EXCHANGE},
};
use tokio_util::sync::CancellationToken;

pub(super) use self::show::seconds;

use self::panel::Panel;
use super::{Shared, events::Events};
use crate::{
    broker::{Broadcast, BrokerError, Consumer, Delivery, Guarantee, Publish, Subscription},
    clock,
};

/// What a worker lets others do by remote control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoteControl {
    /// It does not even listen.
    Off,
    /// It tells what it does, arguments only as the text that monitors show, and refuses whatever would change that:
    /// `shutdown`, `revoke`, `terminate`, `rate_limit`, `time_limit`, `add_consumer`, `cancel_consumer`, `pool_*`,
    /// `autoscale`.
    #[default]
    Inspect,
    /// Everything a Python worker lets others do.
    Full,
}

impl fmt::Display for RemoteControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Inspect => "inspect",
            Self::Full => "full",
        })
    }
}

/// How long after nobody waits for its answer any more a request is still obeyed. Generous, because clocks differ, and yet
/// a `shutdown` that was held up somewhere does not hit the next worker of that name.
const LATE: Duration = Duration::from_secs(60);
/// How long an answer may take to be sent before it is given up.
const ANSWER: Duration = Duration::from_secs(5);
/// The wait before listening is tried again after the broker could not be reached.
const AGAIN: Duration = Duration::from_secs(1);

/// Listens and answers until `stop`.
pub(super) async fn run(shared: Arc<Shared>, events: Arc<Events>, clock: Arc<LamportClock>, stop: CancellationToken) {
    if shared.remote_control == RemoteControl::Off {
        return;
    }
    if shared.remote_control == RemoteControl::Full {
        // In the background: no task waits for what the others have to say.
        tokio::spawn(stop.clone().run_until_cancelled_owned(mingle::run(shared.clone(), clock.clone())));
    }
    let panel = Panel::new(shared.clone(), events, clock.clone());
    let subscription = Subscription::ControlRequests { node: shared.name.clone() };
    let mut told = false;
    loop {
        let mut connection = shared.broker.connection_state();
        let generation = connection.borrow_and_update().generation;
        let listening = async {
            // Whoever asks has declared it, but may have lost it to a restart of the broker.
            shared.broker.declare_broadcast(Broadcast::ControlReplies).await?;
            shared.broker.subscribe(&subscription).await
        };
        let consumer = tokio::select! {
            () = stop.cancelled() => return,
            consumer = listening => consumer,
        };
        match consumer {
            Ok(consumer) => {
                tracing::debug!(worker = shared.name, "listening to remote control");
                return answer_all(consumer, &shared, &panel, &clock, &stop).await;
            }
            Err(BrokerError::Closed) => return,
            Err(error @ (BrokerError::Refused { .. } | BrokerError::Unsupported(_))) => {
                if !told {
                    tracing::info!(worker = shared.name, %error, "working without remote control");
                    told = true;
                }
                // Another connection may have other rights.
                let other = connection.wait_for(|state| state.generation != generation);
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = other => if changed.is_err() { return },
                }
            }
            Err(error) => tracing::debug!(worker = shared.name, %error, "not listening to remote control yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn answer_all(
    mut consumer: Box<dyn Consumer>,
    shared: &Shared,
    panel: &Panel,
    clock: &LamportClock,
    stop: &CancellationToken,
) {
    loop {
        let delivery = tokio::select! {
            () = stop.cancelled() => return,
            delivery = consumer.next() => match delivery {
                Some(delivery) => delivery,
                None => return,
            },
        };
        let Some(request) = read(&delivery, shared, clock) else {
            continue;
        };
        let value = panel.answer(&request);
        let (Some(value), Some(reply_to)) = (value, &request.reply_to) else {
            continue;
        };
        if reply_to.exchange != CONTROL_REPLY_EXCHANGE {
            tracing::debug!(worker = shared.name, exchange = reply_to.exchange, "an answer is asked for elsewhere");
            continue;
        }
        let reply =
            ControlReply { node: shared.name.clone(), value, ticket: request.ticket.clone(), clock: clock.forward() };
        let publish = Publish {
            exchange: CONTROL_REPLY_EXCHANGE.to_owned(),
            routing_key: reply_to.routing_key.clone(),
            message: reply.to_message(),
            guarantee: Guarantee::FireAndForget,
        };
        match tokio::time::timeout(ANSWER, shared.broker.publish(publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(worker = shared.name, %error, "a control request was not answered"),
            Err(_) => tracing::debug!(worker = shared.name, "a control request was not answered in time"),
        }
    }
}

/// The request, if it is one, is for this worker, and still matters.
fn read(delivery: &Delivery, shared: &Shared, clock: &LamportClock) -> Option<ControlRequest> {
    clock.forward();
    if delivery.exchange != CONTROL_EXCHANGE {
        tracing::warn!(
            worker = shared.name,
            exchange = delivery.exchange,
            "refused a control request that did not come through {CONTROL_EXCHANGE}"
        );
        return None;
    }
    let request = match ControlRequest::decode(&delivery.message, &LIMITS) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(worker = shared.name, %error, "dropped a control request that cannot be read");
            return None;
        }
    };
    clock.adjust(request.clock);
    let long_ago = clock::now().checked_sub(LATE).is_ok_and(|then| request.is_expired(then));
    if long_ago {
        tracing::info!(worker = shared.name, method = request.method, "dropped a control request that came too late");
        return None;
    }
    request.is_for(&shared.name).then_some(request)
}
