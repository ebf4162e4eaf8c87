//! The end of a drop that its producer has to change: the reason, `REASON.json`, and the directory's last name.

mod reason;
mod reason_file;
mod rejected_dir;

pub use reason::RejectReason;
pub use reason_file::{REASON_FILE, is_ours, write_reason};
pub use rejected_dir::{rename_to_late, rename_to_rejected};
