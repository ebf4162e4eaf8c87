//! Retention, role by role: each deletes the files that it alone may delete, by the rules of [`crate::retention`].
//!
//! Retention is not part of publishing, no work depends on it, and a crash in between leaves less to delete.

mod live_versions;
mod remove;
mod served;
mod snapshot;
mod sweep;
mod targets;
mod timestamp;
