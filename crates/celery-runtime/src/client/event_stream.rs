//! The events of workers.

use std::{collections::VecDeque, fmt};

use celery_protocol::{control::LIMITS, events};
use serde_json::{Map, Value};

use crate::broker::{BrokerError, Consumer, SharedBroker, Subscription};

/// Events in the order they arrive, one by one. Events that are not taken in time are dropped.
pub struct EventStream {
    consumer: Box<dyn Consumer>,
    /// The rest of a message that held several.
    rest: VecDeque<Map<String, Value>>,
}

impl EventStream {
    pub(super) async fn open(broker: &SharedBroker, binding: &str) -> Result<Self, BrokerError> {
        let subscription = Subscription::Events { id: uuid::Uuid::new_v4().to_string(), binding: binding.to_owned() };
        Ok(Self { consumer: broker.subscribe(&subscription).await?, rest: VecDeque::new() })
    }

    /// The next event, as it was sent: `type`, `hostname`, `timestamp`, and the fields of its type. `None` once the broker
    /// was closed. Safe to use in `select!`.
    pub async fn next(&mut self) -> Option<Map<String, Value>> {
        loop {
            if let Some(event) = self.rest.pop_front() {
                return Some(event);
            }
            let delivery = self.consumer.next().await?;
            match events::decode(&delivery.message, &LIMITS) {
                Ok(events) => self.rest.extend(events),
                Err(error) => tracing::warn!(%error, "events dropped: they cannot be read"),
            }
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}
