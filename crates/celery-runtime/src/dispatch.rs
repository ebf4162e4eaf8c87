//! Sending the tasks of a workflow: chords are announced first, then every task is published confirmed and mandatory.

use celery_protocol::{
    Message, Routes,
    canvas::{Outgoing, Plan},
};

use crate::{
    backend::{BackendError, ResultBackend},
    broker::{Broker, Guarantee, Publish, PublishError},
};

/// Why a workflow was not sent, or only in part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DispatchError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl DispatchError {
    /// Whether sending it again may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Publish(error) => BackendError::from(error.clone()).is_temporary(),
            Self::Backend(error) => error.is_temporary(),
        }
    }
}

pub(crate) async fn dispatch(
    broker: &dyn Broker,
    backend: &dyn ResultBackend,
    routes: &Routes,
    plan: Plan,
) -> Result<(), DispatchError> {
    // Everything is encoded before anything is sent: a task that cannot be encoded must not leave half a workflow.
    let mut publishes = Vec::with_capacity(plan.tasks.len());
    for out in &plan.tasks {
        publishes.push(publish(routes, out)?);
    }
    for (group, size) in &plan.chords {
        backend.start_chord(group, *size).await?;
    }
    for publish in publishes {
        broker.publish(publish).await?;
    }
    Ok(())
}

fn publish(routes: &Routes, out: &Outgoing) -> Result<Publish, PublishError> {
    let route = routes.resolve(&out.route, out.task.name());
    let guarantee = Guarantee::Confirmed { mandatory: true };
    let message = encode(out)?;
    Ok(Publish { exchange: route.exchange, routing_key: route.routing_key, message, guarantee })
}

fn encode(out: &Outgoing) -> Result<Message, PublishError> {
    let message = out.task.to_message().map_err(|error| PublishError::Invalid { reason: error.to_string() })?;
    match &out.compression {
        None => Ok(message),
        Some(name) => message.compressed(name).map_err(|error| PublishError::Invalid { reason: error.to_string() }),
    }
}
