//! Settles one delivery.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{
    broker_state::RedisBrokerState,
    restore::{QueueEnd, requeue},
    unsettled::{AckRequest, TagStatus, UnsettledDeliveries},
};
use crate::broker::{delivery::Settle, error::AckError};

/// Settles one delivery over the present connection: its tag holds the message, not a connection.
pub(super) struct RedisSettle {
    pub state: Arc<RedisBrokerState>,
    pub unsettled: Arc<UnsettledDeliveries>,
    pub number: u64,
    pub tag: String,
    pub generation: u64,
}

impl RedisSettle {
    fn stale(&self) -> AckError {
        AckError::Stale { generation: self.generation }
    }
}

#[async_trait]
impl Settle for RedisSettle {
    async fn ack(&self) -> Result<(), AckError> {
        let (reply, outcome) = oneshot::channel();
        if !self.unsettled.request_ack(AckRequest { number: self.number, tag: self.tag.clone(), reply }) {
            return Err(self.stale());
        }
        match outcome.await {
            Ok(Ok(TagStatus::Acknowledged)) => Ok(()),
            Ok(Ok(TagStatus::Missing)) => Err(self.stale()),
            Ok(Err(error)) => Err(AckError::Unavailable { reason: error.to_string() }),
            // The consumer has ended. It requeued the message, unless Redis had acknowledged it before.
            Err(_) => Err(self.stale()),
        }
    }

    async fn reject(&self, requeue_it: bool) -> Result<(), AckError> {
        if !requeue_it {
            return self.ack().await;
        }
        if self.is_stale() {
            return Err(self.stale());
        }
        match requeue(&self.state, vec![self.tag.clone()], QueueEnd::Last).await {
            Ok(_) => {
                self.unsettled.remove(self.number);
                Ok(())
            }
            Err(error) => {
                self.unsettled.requeue_pending(self.number);
                Err(AckError::Unavailable { reason: error.to_string() })
            }
        }
    }

    fn is_stale(&self) -> bool {
        self.unsettled.has_ended()
    }
}
