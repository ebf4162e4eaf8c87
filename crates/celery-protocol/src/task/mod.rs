//! Task messages: requests to run a task.

mod build;
mod decode;
mod encode;
mod error;
mod headers;
mod request;
mod signature;

pub use build::TaskBuilder;
pub use encode::EncodeError;
pub use error::{DecodeError, Rejection, TaskIdentity};
pub use headers::{TaskHeaders, TimeLimit};
pub use request::{Protocol, TaskRequest};
pub use signature::{Embed, Signature};
