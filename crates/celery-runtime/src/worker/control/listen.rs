//! Listening to control requests and answering them.

use std::{sync::Arc, time::Duration};

use celery_protocol::{
    LamportClock,
    control::{ControlReply, ControlRequest, LIMITS},
    topology::{CONTROL_EXCHANGE, CONTROL_REPLY_EXCHANGE},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{mingle, panel::ControlPanel, remote_control::RemoteControl};
use crate::{
    broker::{Broadcast, BrokerError, Consumer, Delivery, Guarantee, Publish, Subscription},
    clock,
    worker::{events::EventQueue, worker_core::WorkerCore},
};

/// How long after its expiry a request is still obeyed. Generous, because clocks differ; and short enough that a `shutdown`
/// that was delayed on its way does not end the next worker of that name.
const EXPIRY_TOLERANCE: Duration = Duration::from_secs(60);
/// How long an answer may take to be sent before it is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The wait before another attempt to listen after the broker could not be reached.
const LISTEN_RETRY_WAIT: Duration = Duration::from_secs(1);

/// Listens and answers until `stop`.
pub(in crate::worker) async fn run(
    core: Arc<WorkerCore>,
    events: Arc<EventQueue>,
    clock: Arc<LamportClock>,
    stop: CancellationToken,
) {
    if core.remote_control == RemoteControl::Off {
        return;
    }
    if core.remote_control == RemoteControl::Full {
        // In the background: no task waits for the answers of the others.
        let mingle = mingle::run(core.clone(), clock.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(mingle).in_current_span());
    }
    let panel = ControlPanel::new(core.clone(), events, clock.clone());
    let subscription = Subscription::ControlRequests { node: core.name.clone() };
    let mut logged = false;
    loop {
        let mut connection = core.broker.connection_state();
        let generation = connection.borrow_and_update().generation;
        let listening = async {
            // The senders of requests declare it, but a restart of the broker may have dropped it.
            core.broker.declare_broadcast(Broadcast::ControlReplies).await?;
            core.broker.subscribe(&subscription).await
        };
        let consumer = tokio::select! {
            () = stop.cancelled() => return,
            consumer = listening => consumer,
        };
        match consumer {
            Ok(consumer) => {
                tracing::debug!("listening to remote control");
                return answer_all(consumer, &core, &panel, &clock, &stop).await;
            }
            Err(BrokerError::Closed) => return,
            Err(error @ (BrokerError::Refused { .. } | BrokerError::Unsupported(_))) => {
                if !logged {
                    tracing::info!(%error, "working without remote control: the broker refuses it");
                    logged = true;
                }
                // Another connection may have other rights.
                let other = connection.wait_for(|state| state.generation != generation);
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = other => if changed.is_err() { return },
                }
            }
            Err(error) => tracing::debug!(%error, "not listening to remote control yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LISTEN_RETRY_WAIT) => {}
        }
    }
}

async fn answer_all(
    mut consumer: Box<dyn Consumer>,
    core: &WorkerCore,
    panel: &ControlPanel,
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
        let Some(request) = read(&delivery, core, clock) else {
            continue;
        };
        let value = panel.answer(&request);
        let (Some(value), Some(reply_to)) = (value, &request.reply_to) else {
            continue;
        };
        if reply_to.exchange != CONTROL_REPLY_EXCHANGE {
            tracing::debug!(exchange = reply_to.exchange, "control request not answered: it names another exchange");
            continue;
        }
        let reply =
            ControlReply { node: core.name.clone(), value, ticket: request.ticket.clone(), clock: clock.forward() };
        let publish = Publish {
            exchange: CONTROL_REPLY_EXCHANGE.to_owned(),
            routing_key: reply_to.routing_key.clone(),
            message: reply.to_message(),
            guarantee: Guarantee::FireAndForget,
        };
        match tokio::time::timeout(ANSWER_TIMEOUT, core.broker.publish(publish)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "control request not answered"),
            Err(_) => tracing::debug!("control request not answered in time"),
        }
    }
}

/// The request, if it is one, is for this worker, and has not expired.
fn read(delivery: &Delivery, core: &WorkerCore, clock: &LamportClock) -> Option<ControlRequest> {
    clock.forward();
    if delivery.exchange != CONTROL_EXCHANGE {
        tracing::warn!(
            exchange = delivery.exchange,
            "control request refused: it did not come through {CONTROL_EXCHANGE}"
        );
        return None;
    }
    let request = match ControlRequest::decode(&delivery.message, &LIMITS) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "control request dropped: it cannot be read");
            return None;
        }
    };
    clock.adjust(request.clock);
    let expired = clock::now().checked_sub(EXPIRY_TOLERANCE).is_ok_and(|then| request.is_expired(then));
    if expired {
        tracing::info!(method = request.method, "control request dropped: it has expired");
        return None;
    }
    request.is_for(&core.name).then_some(request)
}
