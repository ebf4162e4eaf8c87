//! Remote control: a worker answers `celery inspect` and `celery control`.
//!
//! Requests are answered from a task of their own, so that no amount of work delays a `ping`; only handlers that block a
//! thread of the runtime can. A request counts only if it came through the exchange `celery.pidbox`, and answers go to the
//! exchange `reply.celery.pidbox` alone: where broker users may write to the default exchange, as every user of `rpc://`
//! results must, the permission to write to `celery.pidbox` decides who may steer a worker.

mod listen;
mod mingle;
mod panel;
mod remote_control;
mod show;

pub(super) use listen::run;
pub use remote_control::RemoteControl;
