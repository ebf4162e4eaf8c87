//! Registered handlers and the types they are stored as.

use std::{pin::Pin, sync::Arc};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::{context::TaskContext, options::TaskOptions};
use crate::{Arguments, TaskError};

pub(super) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Value, TaskError>> + Send>>;
pub(super) type TaskHandler = Box<dyn Fn(TaskContext, Arguments) -> HandlerFuture + Send + Sync>;
/// Called before each handler; an error is the result of the task.
pub(super) type TaskGuard = Box<dyn Fn(&TaskContext) -> Result<(), TaskError> + Send + Sync>;

/// A handler with the options of its task.
pub(super) struct RegisteredTask {
    pub handler: TaskHandler,
    /// Tasks that share a lane run one at a time, in the order they were delivered.
    pub lane: Option<Arc<Semaphore>>,
    pub options: TaskOptions,
}

/// Erases the type of a handler.
pub(super) fn boxed<F, Fut>(handler: F) -> TaskHandler
where
    F: Fn(TaskContext, Arguments) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
{
    Box::new(move |context, arguments| Box::pin(handler(context, arguments)))
}
