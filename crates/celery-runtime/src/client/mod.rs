//! The client: sends tasks and waits for their results, as Celery's `send_task(...).get(timeout)` does over `rpc://`.

mod celery_client;
mod control;
mod event_stream;
mod pending_result;
mod send;
mod send_options;
mod workflow;

pub use celery_client::Client;
pub use celery_protocol::control::ControlReply;
pub use control::{Control, ControlFailure};
pub use event_stream::EventStream;
pub use pending_result::{CallError, PendingResult};
pub use send_options::SendOptions;
pub use workflow::{ApplyError, WorkflowResult};
