//! The monitor worker of the fleet: takes releases out of the drop directory and drives the chain of signing roles.
//!
//! It has no keys and cannot see the repository. A release enters as `tuf_ready_X` and ends as exactly one of published or
//! rejected, with a receipt its producer can read; no crash in between loses one or leaves one that needs a reset.
//!
//! - [`run`] is the worker: tasks, loops and health around the state machine.
//! - [`Monitor`] is the state machine; [`Monitor::run_cycle`] runs one cycle over `&dyn` [`Chain`].
//! - [`drop_dir`], [`staging`], [`manifest`] and [`batch`] are the stations of a drop on its way in.
//! - [`receipt`] and [`rejection`] are its end.

pub mod batch;
mod celery_chain;
pub mod chain;
mod cycle;
mod done_name;
pub mod drop_dir;
mod file_work;
mod inbound_dir;
mod intake;
mod kept_survey;
mod late_files;
pub mod manifest;
mod memory;
mod monitor;
mod not_visible;
pub mod pause;
mod progress_hook;
mod read_mark;
pub mod receipt;
pub mod rejection;
mod service;
pub mod settings;
mod settle;
pub mod staging;
mod stored_format;
mod tidy;
mod unusable_dir;
mod visibility;
mod wait_reason;

pub use celery_chain::CeleryChain;
pub use chain::{Chain, ChainError};
pub use cycle::{CycleError, CycleReport};
pub use memory::MAX_NAMED_DROPS;
pub use monitor::Monitor;
pub use not_visible::NotVisible;
pub use read_mark::{ReadMark, TickPrint};
pub use service::{WORKER, run};
pub use settings::{BatchLimits, MonitorSettings};
pub use wait_reason::WaitReason;
